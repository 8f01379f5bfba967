/** Which candles are in sight: the standing views (all, or the newest), and the one that the user has moved to. */

import type { IChartApiBase, Time } from "lightweight-charts";
import { lowerBound } from "./candles";

/** What the views refer to, in indices of the time axis. */
export interface AxisExtent {
  /** All times of the axis: candles and forecasts. */
  times: readonly number[];
  /** Last candle before the earliest forecast, or the last one. */
  lastCandle: number;
  /** Last bar to show, beyond the last time while a forecast is only planned. */
  end: number;
  /** Room at the right of the last bar in CSS pixels, for labels. */
  room: number;
}

type View = { kind: "all" } | { kind: "last"; count: number } | { kind: "moved" };

interface LogicalSpan {
  from: number;
  to: number;
}

export class Viewport {
  private view: View = { kind: "last", count: 250 };
  private standing: View = this.view;
  private extent: AxisExtent = { times: [], lastCandle: -1, end: -1, room: 0 };
  /** Range that was set and is not drawn yet; the library still reports the one before. */
  private pending: LogicalSpan | null = null;

  constructor(private readonly chart: IChartApiBase<Time>) {}

  /** Called after each drawing: a range that was set is in force now. */
  drawn(): void {
    this.pending = null;
  }

  /** The user has panned or zoomed: changes of data keep what is in sight from here on. */
  moved(): void {
    this.view = { kind: "moved" };
  }

  showAll(): void {
    this.stand({ kind: "all" });
  }

  showLast(count: number): void {
    this.stand({ kind: "last", count: Math.max(1, count) });
  }

  /** Back to the standing view that was chosen last. */
  reset(): void {
    this.stand(this.standing);
  }

  /** Moves to the newest candle and the forecasts after it, at the present zoom. */
  showNewest(): void {
    const span = this.span();
    if (span === null) return;
    const to = this.extent.end + (this.extent.room * (span.to - span.from)) / Math.max(1, this.width());
    this.set({ from: to - (span.to - span.from), to });
  }

  /**
   * Changes the axis by `change`, which returns its new extent. A standing view applies to the new data; otherwise, and
   * always with `still`, the candles in sight stay where they are.
   */
  change(change: () => AxisExtent, still = false): void {
    const before = this.span();
    const { times } = this.extent;
    this.extent = change();
    this.limitZoom();
    if (before === null || times.length === 0 || (this.view.kind !== "moved" && !still)) {
      this.apply();
      return;
    }
    const middle = Math.max(0, Math.min(times.length - 1, Math.round((before.from + before.to) / 2)));
    const shift = lowerBound(this.extent.times, times[middle]!) - middle;
    this.set({ from: before.from + shift, to: before.to + shift });
  }

  /** The chart has a new width: a standing view keeps its candles. */
  resized(): void {
    this.limitZoom();
    if (this.view.kind !== "moved") this.apply();
  }

  /** Zooms around a bar, the last candle if it is in sight, or the middle; above 1 shows fewer candles. */
  zoom(factor: number, around: number | null): void {
    const span = this.span();
    if (span === null) return;
    const { lastCandle } = this.extent;
    const newest = lastCandle >= span.from && lastCandle <= span.to ? lastCandle : null;
    const centre = around ?? newest ?? (span.from + span.to) / 2;
    this.moved();
    this.set({ from: centre - (centre - span.from) / factor, to: centre + (span.to - centre) / factor });
  }

  /** Pans as little as necessary to bring a bar into sight. Returns whether it had to. */
  reveal(index: number): boolean {
    const span = this.span();
    if (span === null) return false;
    const margin = Math.min(2, (span.to - span.from) / 4);
    const shift = Math.min(0, index - margin - span.from) + Math.max(0, index + margin - span.to);
    if (shift === 0) return false;
    this.moved();
    this.set({ from: span.from + shift, to: span.to + shift });
    return true;
  }

  private stand(view: View): void {
    this.view = view;
    this.standing = view;
    this.apply();
  }

  private apply(): void {
    const { times, lastCandle, end, room } = this.extent;
    const width = this.width();
    if (times.length === 0 || width <= 0 || this.view.kind === "moved") return;
    const first = this.view.kind === "all" ? 0 : Math.max(0, lastCandle - this.view.count + 1);
    const bars = end + 1 - first;
    const spacing = Math.max(1, width - room) / bars;
    this.set({ from: first - 0.5, to: end + 0.5 + room / spacing });
  }

  private span(): LogicalSpan | null {
    return this.pending ?? this.chart.timeScale().getVisibleLogicalRange();
  }

  private set(span: LogicalSpan): void {
    const shown = this.pending === null ? this.chart.timeScale().getVisibleLogicalRange() : null;
    // Older candles in front leave the view alone by themselves; setting it anyway would end a drag in progress.
    if (shown !== null && Math.abs(shown.from - span.from) < 1e-6 && Math.abs(shown.to - span.to) < 1e-6) return;
    this.pending = span;
    this.chart.timeScale().setVisibleLogicalRange(span);
  }

  /** Zooming out ends where all candles take half of the width. */
  private limitZoom(): void {
    const least = this.width() / (2 * Math.max(1, this.extent.times.length));
    this.chart.timeScale().applyOptions({ minBarSpacing: Math.max(0.005, Math.min(2, least)) });
  }

  private width(): number {
    return this.chart.timeScale().width();
  }
}
