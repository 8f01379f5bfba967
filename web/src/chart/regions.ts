/** Regions behind the candles, as a primitive of each pane: forecast starts, the window of the model, session breaks. */

import type {
  IChartApiBase,
  IPanePrimitive,
  IPanePrimitivePaneView,
  Logical,
  PaneAttachedParameter,
  Time,
} from "lightweight-charts";
import { indexOfTime, lowerBound } from "./candles";
import type { Scope } from "./drawing";
import type { ChartMessages, ChartPalette, ChartWindow, ForecastOverlay, TimeRange } from "./types";

/** Range of bars by logical index, both ends included. */
export interface BarRange {
  first: number;
  last: number;
}

/** The tinted future of the forecasts that start at one candle. */
export interface FutureRegion extends BarRange {
  colour: string;
  label: string;
}

/** The window of a forecast in bars. */
export interface WindowBars {
  history: BarRange;
  forecast: BarRange | null;
}

/** What the regions show, in logical indices of the time axis. The chart replaces it as a whole. */
export interface RegionDrawing {
  palette: ChartPalette;
  font: string;
  futures: FutureRegion[];
  window: WindowBars | null;
  sessions: number[];
}

const LABEL_SIZE = 11;
/** Session breaks closer than this on average are not drawn, in CSS pixels. */
const LEAST_SESSION_WIDTH = 48;

/** One region for each candle at which forecasts start, as far as the longest of them goes. */
export function futureRegions(
  overlays: readonly ForecastOverlay[],
  times: readonly number[],
  messages: Pick<ChartMessages, "dateTime" | "forecastStarts">,
): FutureRegion[] {
  const regions = new Map<number, FutureRegion>();
  for (const { origin, time, colour } of overlays) {
    const first = indexOfTime(times, origin.time);
    const last = indexOfTime(times, time.at(-1) ?? origin.time);
    const known = regions.get(first);
    if (known === undefined) {
      regions.set(first, { first, last, colour, label: messages.forecastStarts(messages.dateTime(origin.time)) });
    } else {
      known.last = Math.max(known.last, last);
    }
  }
  return [...regions.values()];
}

/** Bars of a range of times. Times after the last bar are counted in intervals: the axis has no bars there yet. */
export function barRange({ from, to }: TimeRange, times: readonly number[], interval: number): BarRange {
  const last = times.length - 1;
  const newest = times[last]!;
  const beyond = (time: number): number => last + Math.round((time - newest) / interval);
  const first = from > newest ? beyond(from) : lowerBound(times, from);
  const end = to > newest ? beyond(to) : lowerBound(times, to + 1) - 1;
  return { first, last: Math.max(first, end) };
}

/** Bars of a window; null while there are none. */
export function windowBars(window: ChartWindow, times: readonly number[], interval: number | null): WindowBars | null {
  if (times.length === 0) return null;
  const bars = (range: TimeRange): BarRange => barRange(range, times, interval ?? Infinity);
  return { history: bars(window.history), forecast: window.forecast && bars(window.forecast) };
}

/** Shading of one pane. Labels are drawn in the pane of the prices only, above the candles. */
export class Regions implements IPanePrimitive<Time> {
  private chart: IChartApiBase<Time> | null = null;
  private requestUpdate: (() => void) | null = null;
  private drawing: RegionDrawing | null = null;
  private readonly views: IPanePrimitivePaneView[];

  constructor(labelled: boolean, afterDrawing: (() => void) | null) {
    const shades: IPanePrimitivePaneView = {
      zOrder: () => "bottom",
      renderer: () => ({ draw: (target) => target.useBitmapCoordinateSpace((scope) => this.paintShades(scope)) }),
    };
    const labels: IPanePrimitivePaneView = {
      zOrder: () => "top",
      renderer: () => ({
        draw: (target) => {
          target.useBitmapCoordinateSpace((scope) => this.paintLabels(scope));
          afterDrawing?.();
        },
      }),
    };
    this.views = labelled ? [shades, labels] : [shades];
  }

  attached(parameters: PaneAttachedParameter<Time>): void {
    this.chart = parameters.chart;
    this.requestUpdate = parameters.requestUpdate;
  }

  detached(): void {
    this.chart = null;
    this.requestUpdate = null;
  }

  paneViews(): readonly IPanePrimitivePaneView[] {
    return this.views;
  }

  setDrawing(drawing: RegionDrawing): void {
    this.drawing = drawing;
    this.requestUpdate?.();
  }

  /** Everything below the candles. */
  paintShades(scope: Scope): void {
    this.paint(scope, () => this.drawShades(scope));
  }

  /** Everything above the candles. */
  paintLabels(scope: Scope): void {
    this.paint(scope, () => this.drawLabels(scope));
  }

  private paint(scope: Scope, draw: () => void): void {
    if (this.drawing === null || this.chart === null) return;
    scope.context.save();
    draw();
    scope.context.restore();
  }

  /** Device pixels of the middle of a bar, plus `bars` bar widths. */
  private x(scope: Scope, index: number, bars: number): number {
    const scale = this.chart!.timeScale();
    const left = scale.logicalToCoordinate(index as Logical) ?? NaN;
    const right = scale.logicalToCoordinate((index + 1) as Logical) ?? NaN;
    return (left + (right - left) * bars) * scope.horizontalPixelRatio;
  }

  private drawShades(scope: Scope): void {
    const { context, bitmapSize, horizontalPixelRatio } = scope;
    const { palette, futures, window, sessions } = this.drawing!;
    this.drawSessions(scope, sessions);
    for (const future of futures) {
      context.globalAlpha = 0.05;
      context.fillStyle = future.colour;
      const start = this.x(scope, future.first, 0);
      context.fillRect(start, 0, this.x(scope, future.last, 0.5) - start, bitmapSize.height);
      context.globalAlpha = 0.9;
      context.setLineDash([2 * horizontalPixelRatio, 3 * horizontalPixelRatio]);
      verticalLine(scope, start, palette.muted);
    }
    if (window === null) return;
    for (const [range, colour, alpha] of [
      [window.history, palette.muted, 0.1],
      [window.forecast, palette.forecast ?? palette.muted, 0.11],
    ] as const) {
      if (range === null) continue;
      const start = this.x(scope, range.first, -0.5);
      const end = this.x(scope, range.last, 0.5);
      context.globalAlpha = alpha;
      context.fillStyle = colour;
      context.fillRect(start, 0, end - start, bitmapSize.height);
      context.globalAlpha = 0.6;
      context.setLineDash([]);
      verticalLine(scope, start, colour);
      verticalLine(scope, end, colour);
    }
  }

  private drawSessions(scope: Scope, sessions: readonly number[]): void {
    const visible = this.chart!.timeScale().getVisibleLogicalRange();
    if (visible === null) return;
    const shown = sessions.filter((index) => index >= visible.from && index <= visible.to);
    if (shown.length * LEAST_SESSION_WIDTH > scope.mediaSize.width) return;
    const { context, horizontalPixelRatio } = scope;
    context.globalAlpha = 0.45;
    context.setLineDash([horizontalPixelRatio, 4 * horizontalPixelRatio]);
    for (const index of shown) verticalLine(scope, this.x(scope, index, -0.5), this.drawing!.palette.muted);
  }

  /** "Forecast starts …" at the foot of each start line, at its right, or at its left where there is no room. */
  private drawLabels(scope: Scope): void {
    const { context, bitmapSize, horizontalPixelRatio, verticalPixelRatio } = scope;
    const { palette, font, futures } = this.drawing!;
    context.font = `${LABEL_SIZE * verticalPixelRatio}px ${font}`;
    context.textBaseline = "middle";
    context.textAlign = "left";
    const height = 18 * verticalPixelRatio;
    const padding = 6 * horizontalPixelRatio;
    const gap = 4 * horizontalPixelRatio;
    futures.forEach((future, row) => {
      const line = this.x(scope, future.first, 0);
      if (line < 0 || line > bitmapSize.width) return;
      const width = context.measureText(future.label).width + 2 * padding;
      let left = line + gap;
      if (left + width > bitmapSize.width) left = Math.max(gap, Math.min(line - gap - width, bitmapSize.width - width));
      const top = bitmapSize.height - (row + 1) * (height + gap);
      context.globalAlpha = 0.88;
      context.fillStyle = palette.ground;
      context.beginPath();
      context.roundRect(left, top, width, height, 3 * horizontalPixelRatio);
      context.fill();
      context.globalAlpha = 1;
      context.fillStyle = palette.text;
      context.fillText(future.label, left + padding, top + height / 2);
    });
  }
}

function verticalLine(scope: Scope, x: number, colour: string): void {
  const { context, bitmapSize, horizontalPixelRatio } = scope;
  const width = Math.max(1, Math.floor(horizontalPixelRatio));
  const centre = Math.round(x) + (width % 2) / 2;
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.beginPath();
  context.moveTo(centre, 0);
  context.lineTo(centre, bitmapSize.height);
  context.stroke();
}
