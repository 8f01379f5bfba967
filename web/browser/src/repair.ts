/** Repair of sampled candles, as Python's `kronos.forecasts.repair_candles`. */

import { CHANNELS } from "./candles";
import { DataError } from "./errors";

const [OPEN, HIGH, LOW, CLOSE, VOLUME] = [0, 1, 2, 3, 4] as const;
const RELATIVE_FLOOR = 1e-4; // of a path's highest price: allows a fall by 99.99 %, but not to zero or below
const ABSOLUTE_FLOOR = 1e-8; // if a path has no positive price; the smallest unit that exchanges quote
const TINY = 2.2250738585072014e-308;

/** Valid candles `[S, H, 6]`, and the share of candles that were changed. */
export interface RepairedPaths {
  readonly paths: Float64Array;
  readonly share: number;
}

/**
 * Make every sampled candle valid.
 *
 * Missing prices are replaced by the previous close of the path, prices below a ten-thousandth of its highest raised to
 * that, high and low widened to the others, and volume and amount below 0 or missing set to 0.
 *
 * @param raw Sampled candles `[S, H, 6]`, not modified.
 */
export function repairCandles(raw: Float64Array, samples: number): RepairedPaths {
  const paths = raw.slice();
  const size = paths.length / samples;
  for (let s = 0; s < samples; s++) raisePrices(paths.subarray(s * size, (s + 1) * size), s);
  let changed = 0;
  for (let row = 0; row < paths.length; row += CHANNELS) {
    const candle = paths.subarray(row, row + CHANNELS);
    const prices = [candle[OPEN]!, candle[HIGH]!, candle[LOW]!, candle[CLOSE]!];
    candle[HIGH] = Math.max(...prices);
    candle[LOW] = Math.min(...prices);
    for (let c = VOLUME; c < CHANNELS; c++) if (!Number.isFinite(candle[c]) || candle[c]! < 0) candle[c] = 0;
    if (candle.some((value, c) => value !== raw[row + c])) changed++;
  }
  return { paths, share: changed / (paths.length / CHANNELS) };
}

/** Fill missing prices of one path `[H, 6]`, and raise those below its floor, in place. */
function raisePrices(path: Float64Array, number: number): void {
  fillMissingPrices(path, number);
  let highest = -Infinity;
  forEachPrice(path, (price) => (highest = Math.max(highest, price)));
  const floor = highest > 0 ? Math.max(highest * RELATIVE_FLOOR, TINY) : ABSOLUTE_FLOOR;
  forEachPrice(path, (price, i) => (path[i] = Math.max(price, floor)));
}

function fillMissingPrices(path: Float64Array, number: number): void {
  let last = NaN;
  let complete = true;
  forEachPrice(path, (price) => {
    if (!Number.isFinite(price)) complete = false;
    else if (Number.isNaN(last)) last = price;
  });
  if (complete) return;
  if (Number.isNaN(last))
    throw new DataError(`Sample path ${number} has no finite price: the model's output is unusable.`);
  for (let row = 0; row < path.length; row += CHANNELS) {
    for (let c = OPEN; c < VOLUME; c++) if (!Number.isFinite(path[row + c])) path[row + c] = last;
    last = path[row + CLOSE]!;
  }
}

function forEachPrice(path: Float64Array, visit: (price: number, index: number) => void): void {
  for (let i = 0; i < path.length; i++) if (i % CHANNELS < VOLUME) visit(path[i]!, i);
}
