/** Forecast overlays on the common time axis: which bar each step belongs to, and its extremes and quantiles. */

import type { AutoscaleInfo } from "lightweight-charts";
import { indexOfTime, unionTimes } from "./candles";
import type { Band, ForecastOverlay } from "./types";

/** Lines of one overlay from its origin on: value 0 is the last close, so that bands start there with zero width. */
export interface OverlayLines {
  overlay: ForecastOverlay;
  /** Index into the timeline for each value. */
  positions: number[];
  /** The widest first. */
  bands: Band[];
  median: number[];
  paths: number[][];
}

/** Values of all overlays at one time, for the price scale. */
export interface TimelineRow {
  time: number;
  low: number;
  high: number;
  /** Median of the first overlay that has this time, or the last close before it. */
  value: number;
}

/** All overlays on one sorted list of times. */
export interface ForecastTimeline {
  rows: TimelineRow[];
  lines: OverlayLines[];
}

export function forecastTimeline(overlays: readonly ForecastOverlay[]): ForecastTimeline {
  let times: number[] = [];
  for (const overlay of overlays) times = unionTimes(times, [overlay.origin.time, ...overlay.time]);
  const rows = times.map((time): TimelineRow => ({ time, low: Infinity, high: -Infinity, value: NaN }));
  const lines = overlays.map((overlay): OverlayLines => {
    const start = overlay.origin.close;
    const positions = [overlay.origin.time, ...overlay.time].map((time) => indexOfTime(times, time));
    const lines: OverlayLines = {
      overlay,
      positions,
      bands: [...overlay.bands]
        .sort((a, b) => b.level - a.level)
        .map((band) => ({ level: band.level, low: [start, ...band.low], high: [start, ...band.high] })),
      median: [start, ...overlay.median],
      paths: overlay.paths.map((path) => [start, ...path]),
    };
    extendRows(rows, lines);
    return lines;
  });
  return { rows, lines };
}

/**
 * Widens the rows to what must be visible: the widest band and the central path. Single paths may leave the bands far
 * behind, and would flatten the candles; they count only where there are no bands.
 */
function extendRows(rows: TimelineRow[], lines: OverlayLines): void {
  const { overlay, positions, bands, median, paths } = lines;
  const widest = bands[0];
  positions.forEach((position, step) => {
    const row = rows[position]!;
    const values = [median[step]!];
    if (widest !== undefined) values.push(widest.low[step]!, widest.high[step]!);
    else for (const path of paths) if (path[step] !== undefined) values.push(path[step]);
    if (overlay.central !== null && step > 0) {
      const low = overlay.central.low[step - 1];
      const high = overlay.central.high[step - 1];
      if (low !== undefined && high !== undefined) values.push(low, high);
    }
    row.low = Math.min(row.low, ...values);
    row.high = Math.max(row.high, ...values);
    if (Number.isNaN(row.value)) row.value = median[step]!;
  });
}

/** A price range, widened to the rows that are in sight. */
export function rangeWithRows(
  base: AutoscaleInfo | null,
  rows: readonly TimelineRow[],
  inSight: (row: number) => boolean,
): AutoscaleInfo | null {
  let { minValue, maxValue } = base?.priceRange ?? { minValue: Infinity, maxValue: -Infinity };
  rows.forEach((row, index) => {
    if (!inSight(index)) return;
    minValue = Math.min(minValue, row.low);
    maxValue = Math.max(maxValue, row.high);
  });
  return minValue > maxValue ? base : { ...base, priceRange: { minValue, maxValue } };
}

/** Quantiles of the close at one step of an overlay, by probability as the server's documents name them: "0.025". */
export function quantilesAt(overlay: ForecastOverlay, step: number): Record<string, number> {
  const quantiles: [number, number][] = [[0.5, overlay.median[step]!]];
  for (const band of overlay.bands) {
    quantiles.push([(1 - band.level) / 2, band.low[step]!], [(1 + band.level) / 2, band.high[step]!]);
  }
  quantiles.sort((a, b) => a[0] - b[0]);
  return Object.fromEntries(quantiles.map(([probability, value]) => [String(Number(probability.toFixed(6))), value]));
}

/** Step of an overlay at a time, or -1. */
export function stepAt(overlay: ForecastOverlay, time: number): number {
  return indexOfTime(overlay.time, time);
}
