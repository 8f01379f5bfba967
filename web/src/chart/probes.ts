/** Named points of the drawing, for tests that look at pixels. */

import type { OverlayLines } from "./overlays";
import type { CandleColumns, PixelProbe } from "./types";

/** Converters of the chart; null for what is not drawn. */
export interface ProbeScale {
  x(time: number): number | null;
  y(price: number): number | null;
}

/** Points of the overlays, and "last-candle": the middle of the last candle's body. */
export function chartProbes(
  lines: readonly OverlayLines[],
  { time, open, close }: CandleColumns,
  scale: ProbeScale,
): PixelProbe[] {
  const probes = overlayProbes(lines, scale);
  const last = time.length - 1;
  const point = last < 0 ? null : probe(scale, "last-candle", time[last]!, (open[last]! + close[last]!) / 2);
  return point === null ? probes : [...probes, point];
}

/**
 * Points of the overlays. Those of the first one are named "origin", "median-last", and for each band "band-80-low-last",
 * "band-80-high-last", "band-80-mid-last" and "band-80-shade": a place between the last two steps where nothing but this
 * band, and those around it, is shaded. The names of later overlays start with their id and a slash.
 */
export function overlayProbes(lines: readonly OverlayLines[], scale: ProbeScale): PixelProbe[] {
  return lines.flatMap((line, index) => {
    const { overlay, bands, median } = line;
    const prefix = index === 0 ? "" : `${overlay.id}/`;
    const last = overlay.time.at(-1);
    if (last === undefined) return [];
    const points: (PixelProbe | null)[] = [
      probe(scale, `${prefix}origin`, overlay.origin.time, overlay.origin.close),
      probe(scale, `${prefix}median-last`, last, median.at(-1)!),
    ];
    bands.forEach((band, nested) => {
      const name = `${prefix}band-${Number((band.level * 100).toFixed(1))}`;
      const low = band.low.at(-1)!;
      const high = band.high.at(-1)!;
      points.push(probe(scale, `${name}-low-last`, last, low), probe(scale, `${name}-high-last`, last, high));
      points.push(probe(scale, `${name}-mid-last`, last, (low + high) / 2));
      const inner = bands[nested + 1]?.high ?? median;
      const before = overlay.time.at(-2) ?? overlay.origin.time;
      const shade = (at: number): PixelProbe | null =>
        probe(scale, `${name}-shade`, at === -1 ? last : before, (band.high.at(at)! + inner.at(at)!) / 2);
      points.push(middle(shade(-2), shade(-1)));
    });
    return points.filter((point) => point !== null);
  });
}

function probe(scale: ProbeScale, name: string, time: number, price: number): PixelProbe | null {
  const x = scale.x(time);
  const y = scale.y(price);
  return x === null || y === null ? null : { name, x: round(x), y: round(y) };
}

function middle(first: PixelProbe | null, second: PixelProbe | null): PixelProbe | null {
  if (first === null || second === null) return null;
  return { name: first.name, x: round((first.x + second.x) / 2), y: round((first.y + second.y) / 2) };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
