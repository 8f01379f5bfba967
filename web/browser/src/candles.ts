/** Candles of one instrument. */

import { DataError } from "./errors";
import type { Finding } from "./csv/findings";
import type { Interval } from "./intervals";
import type { Times } from "./times";

export const COLUMNS = ["open", "high", "low", "close", "volume", "amount"] as const;
export type Column = (typeof COLUMNS)[number];
export const CHANNELS = COLUMNS.length;
export const PRICES = COLUMNS.slice(0, 4);
export const [OPEN, HIGH, LOW, CLOSE, VOLUME, AMOUNT] = [0, 1, 2, 3, 4, 5] as const;

/** Clean candles; `readCandles` makes them of a text. */
export interface Candles {
  /** Name of the instrument, on which random numbers depend; empty if unknown. */
  readonly symbol: string;
  readonly interval: Interval;
  readonly times: Times;
  /** Open, high, low, close, volume and amount of each candle, prices above 0. `[n, 6]` */
  readonly values: Float64Array;
  /** Whether the source has volume; otherwise volume and amount are 0. */
  readonly hasVolume: boolean;
  /** What reading noticed or changed. */
  readonly findings: readonly Finding[];
}

export function countCandles(candles: Candles): number {
  return candles.times.wall.length;
}

/** One column. `[n]` */
export function columnOf(values: Float64Array, column: number): Float64Array {
  return Float64Array.from({ length: values.length / CHANNELS }, (_, i) => values[i * CHANNELS + column]!);
}

/** Values of the last candles. `[n, 6]` */
export function lastValues(candles: Candles, count: number): Float64Array {
  return candles.values.subarray(Math.max(0, countCandles(candles) - count) * CHANNELS);
}

/** Throws a `DataError` unless times increase, and prices are finite and above 0. */
export function checkCandles({ times, values }: Candles): void {
  if (values.length !== times.wall.length * CHANNELS) {
    throw new DataError(
      `Candles need ${CHANNELS} values for each of ${times.wall.length} times; got ${values.length}.`,
    );
  }
  if (times.wall.some((stamp, i) => i > 0 && !(stamp > times.wall[i - 1]!))) {
    throw new DataError("Candles need strictly increasing times.");
  }
  if (values.some((value, i) => i % CHANNELS < VOLUME && !(value > 0 && value < Infinity))) {
    throw new DataError("Candles need finite prices above 0.");
  }
}
