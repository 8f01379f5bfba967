/** Geometry of the forecast drawing, without a canvas. */

/** Half-open range of indices. */
export interface IndexRange {
  start: number;
  end: number;
}

/** Points whose logical index lies in the visible range, and one more on either side, so that lines reach the edges. */
export function visiblePoints(indices: ArrayLike<number>, from: number, to: number): IndexRange {
  let start = 0;
  while (start < indices.length && indices[start]! < from) start++;
  let end = start;
  while (end < indices.length && indices[end]! <= to) end++;
  start = Math.max(0, start - 1);
  end = Math.min(indices.length, end + 1);
  return end - start < 2 ? { start: 0, end: 0 } : { start, end };
}

/** Opacity of each of `count` nested bands, the widest first. Inner bands are drawn over outer ones and so come out darker. */
export function bandAlphas(count: number, overlays: number): number[] {
  const base = overlays > 1 ? 0.09 : 0.13;
  return Array.from({ length: count }, (_, index) => base * (1 + 0.35 * index));
}

/** Level of a band as text: "80 %", with a no-break space. */
export function levelFormatter(locale: string): (level: number) => string {
  const percent = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
  return (level) => `${percent.format(level * 100)}%`;
}

/** Changes in percent for the price axis. */
export function percentFormatter(locale: string): (value: number) => string {
  const percent = new Intl.NumberFormat(locale, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  return (value) => `${percent.format(value)}%`;
}

/**
 * Moves labels apart to at least `distance`, keeping their order and staying as near to their places as possible:
 * neighbours that collide share the space around their common middle.
 */
export function spreadLabels(places: readonly number[], distance: number, top: number, bottom: number): number[] {
  const order = places.map((_, index) => index).sort((a, b) => places[a]! - places[b]!);
  const groups: { first: number; count: number; sum: number }[] = [];
  for (const index of order) {
    let group = { first: groups.reduce((total, other) => total + other.count, 0), count: 1, sum: places[index]! };
    for (let last = groups.at(-1); last !== undefined && overlap(last, group, distance); last = groups.at(-1)) {
      groups.pop();
      group = { first: last.first, count: last.count + group.count, sum: last.sum + group.sum };
    }
    groups.push(group);
  }
  const spread: number[] = new Array(places.length);
  for (const group of groups) {
    const half = ((group.count - 1) * distance) / 2;
    const middle = Math.max(top + half, Math.min(bottom - half, group.sum / group.count));
    for (let place = 0; place < group.count; place++) {
      spread[order[group.first + place]!] = middle - half + place * distance;
    }
  }
  return spread;
}

function overlap(
  above: { count: number; sum: number },
  below: { count: number; sum: number },
  distance: number,
): boolean {
  const bottom = above.sum / above.count + ((above.count - 1) * distance) / 2;
  const top = below.sum / below.count - ((below.count - 1) * distance) / 2;
  return top - bottom < distance;
}

/**
 * Price to vertical coordinate, cheaper than the library's converter where the scale is linear: that one searches the
 * visible bars at every call. `low` and `high` are prices that occur. Null while nothing can be converted.
 */
export function fastConverter(
  convert: (price: number) => number | null,
  low: number,
  high: number,
): ((price: number) => number) | null {
  const bottom = convert(low);
  const top = convert(high);
  const middle = convert((low + high) / 2);
  if (bottom === null || top === null || middle === null) return null;
  if (high > low && Math.abs(middle - (bottom + top) / 2) < 1e-3) {
    const slope = (top - bottom) / (high - low);
    return (price) => bottom + (price - low) * slope;
  }
  return (price) => convert(price) ?? NaN;
}

/** Width of candle bodies in device pixels, as the drawing library chooses it for its own candles. */
export function candleWidth(barSpacing: number, pixelRatio: number): number {
  if (barSpacing >= 2.5 && barSpacing <= 4) return Math.floor(3 * pixelRatio);
  const share = 1 - (0.2 * Math.atan(Math.max(4, barSpacing) - 4)) / (Math.PI * 0.5);
  const width = Math.min(Math.floor(barSpacing * share * pixelRatio), Math.floor(barSpacing * pixelRatio));
  return Math.max(Math.floor(pixelRatio), width);
}
