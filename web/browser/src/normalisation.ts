/** Normalisation of candles by statistics of their history, and the way back, as Python's `kronos.normalisation`. */

import { AMOUNT, CHANNELS, CLOSE, HIGH, LOW, OPEN, VOLUME, columnOf } from "./candles";
import { DataError } from "./errors";
import { general } from "./formatting";
import { clamp, mean, median } from "./statistics";

/** `spread`: every column by mean and standard deviation; `changes`: every candle by what is new in it. */
export type Normalisation = "spread" | "changes";

/** Statistics of a history, and the transformations that use them. */
export interface Scaler {
  /** Normalise candles `[T, 6]` that begin with the history, not yet clipped. */
  transform(values: Float64Array): Float64Array;
  /** One path of candles `[H, 6]` of normalised ones that follow the history. */
  inverse(x: Float64Array): Float64Array;
  /** The history's last candle `[6]` from its normalised form. */
  inverseLast(x: Float64Array): Float64Array;
}

const LEAST_PRICE = 1e-30; // the spread of smaller or larger prices has no float32 number
const LARGEST_PRICE = 1e30;

/** Normalise a history `[T, 6]` by its own statistics and clip it. */
export function normalise(
  values: Float64Array,
  clip: number,
  normalisation: Normalisation,
): { x: Float32Array; scaler: Scaler } {
  let highest = 0;
  values.forEach((value, i) => (highest = i % CHANNELS < VOLUME ? Math.max(highest, Math.abs(value)) : highest));
  if (highest > 0 && !(highest >= LEAST_PRICE && highest <= LARGEST_PRICE)) {
    throw new DataError(
      `Prices near ${general(highest, 1)} are too ${highest < 1 ? "small" : "large"} to be normalised: multiply them ` +
        `by a power of ten, so that they lie between ${general(LEAST_PRICE)} and ${general(LARGEST_PRICE)}.`,
    );
  }
  const scaler = fitScaler(values, normalisation);
  return { x: Float32Array.from(scaler.transform(values), (value) => clamp(value, -clip, clip)), scaler };
}

/** Compute the statistics of a history `[T, 6]`. */
export function fitScaler(history: Float64Array, normalisation: Normalisation): Scaler {
  return normalisation === "changes" ? ChangeScaler.fit(history) : SpreadScaler.fit(history);
}

const EPSILON = 1e-5; // added to every standard deviation
const FLOAT32_TINY = 2 ** -126;

class SpreadScaler implements Scaler {
  private constructor(
    private readonly location: readonly number[],
    private readonly scale: readonly number[],
  ) {}

  static fit(history: Float64Array): SpreadScaler {
    const columns = Array.from({ length: CHANNELS }, (_, c) => columnOf(history, c));
    const location = columns.map(mean);
    const scale = columns.map((column, c) => {
      const centre = location[c]!;
      const deviation = Math.sqrt(mean(column.map((value) => (value - centre) ** 2)));
      return unitFreeScale(deviation, centre);
    });
    return new SpreadScaler(location, scale);
  }

  transform(values: Float64Array): Float64Array {
    return values.map((value, i) => (value - this.location[i % CHANNELS]!) / this.scale[i % CHANNELS]!);
  }

  inverse(x: Float64Array): Float64Array {
    return x.map((value, i) => value * this.scale[i % CHANNELS]! + this.location[i % CHANNELS]!);
  }

  inverseLast(x: Float64Array): Float64Array {
    return this.inverse(x);
  }
}

/** The standard deviation plus 1e-5 if it is 0.01 or more, and a proportional addition below. */
function unitFreeScale(deviation: number, centre: number): number {
  const size = 1e-9 * Math.abs(centre);
  const scale = deviation > size ? deviation + Math.min(EPSILON, 1e-3 * deviation) : Math.min(EPSILON, size);
  return Math.max(scale, FLOAT32_TINY);
}

const NO_VOLUME = -5; // normalised volume of a candle without trades
const LEAST_NORMAL_VOLUME = 0.75 * NO_VOLUME;
// Values are compressed by asinh(value / bend): linear below the bend, logarithmic above.
const RETURN_BEND = 0.4; // volatilities
const GAP_BEND = 0.15; // median gaps
const GAP_FACTOR = 0.65;
const WICK_BEND = 0.03; // volatilities
const WICK_FACTOR = 0.8;
const LEAST_VOLATILITY = 1e-9; // of a history without any change
const LEAST_GAP = 0.02; // volatilities; the unit of gaps in a history without any
const SMALLEST_GAP = 1e-9;
const MOST_LOG_CHANGE = 25; // of a path's prices, so that they remain finite
const RANGE_OFFSET = 0.25; // volatilities; added to ranges before their logarithm, since a range can be 0
// Volume is compared with a regression on the range whose slope and spread are shrunk to these by so many candles.
const PRIOR_SLOPE = 0.5;
const PRIOR_SPREAD = 0.7;
const PRIOR_CANDLES = 4;
const LEAST_SPREAD = 0.05;

/** Log gaps, wicks, returns and ranges of candles, one of each per candle. */
interface Changes {
  readonly gaps: Float64Array;
  readonly upper: Float64Array;
  readonly lower: Float64Array;
  readonly returns: Float64Array;
  readonly ranges: Float64Array;
}

interface VolumeRegression {
  /** Expected log volume of a candle whose log range is 0; null without volume. */
  readonly level: number | null;
  readonly slope: number;
  readonly spread: number;
}

class ChangeScaler implements Scaler {
  private constructor(
    private readonly previous: number,
    private readonly close: number,
    private readonly volatility: number,
    private readonly gap: number,
    private readonly volume: VolumeRegression,
    private readonly multiple: number,
  ) {}

  static fit(history: Float64Array): ChangeScaler {
    const rows = history.length / CHANNELS;
    const { gaps, returns, ranges } = changesOf(history);
    const square = (values: Float64Array): number => mean(values.map((value) => value * value));
    const variance = (square(returns) + square(ranges) / (4 * Math.log(2)) + square(gaps)) / 2;
    const volatility = Math.max(Math.sqrt(variance), LEAST_VOLATILITY);
    const sizes = gaps
      .slice(1)
      .map(Math.abs)
      .filter((size) => size > SMALLEST_GAP);
    const gap = sizes.length ? Math.max(median(sizes), 1e-4 * volatility) : LEAST_GAP * volatility;
    const last = history.subarray((rows - 1) * CHANNELS);
    return new ChangeScaler(
      rows > 1 ? history[(rows - 2) * CHANNELS + CLOSE]! : last[OPEN]!,
      last[CLOSE]!,
      volatility,
      gap,
      volumeRegression(
        columnOf(history, VOLUME),
        ranges.map((range) => range / volatility),
      ),
      amountMultiple(history),
    );
  }

  transform(values: Float64Array): Float64Array {
    const { gaps, upper, lower, returns, ranges } = changesOf(values);
    const x = new Float64Array(values.length);
    ranges.forEach((range, i) => {
      const row = i * CHANNELS;
      x[row + OPEN] = Math.asinh(gaps[i]! / (GAP_BEND * this.gap)) * GAP_FACTOR;
      x[row + HIGH] = Math.asinh(upper[i]! / (WICK_BEND * this.volatility)) * WICK_FACTOR;
      x[row + LOW] = Math.asinh(lower[i]! / (WICK_BEND * this.volatility)) * WICK_FACTOR;
      x[row + CLOSE] = Math.asinh(returns[i]! / (RETURN_BEND * this.volatility));
      const volume = values[row + VOLUME]!;
      const surprise = (Math.log(volume) - this.expectedLogVolume(range)) / this.volume.spread;
      x[row + VOLUME] = volume > 0 && this.volume.level !== null ? Math.max(surprise, LEAST_NORMAL_VOLUME) : NO_VOLUME;
    });
    return x;
  }

  inverse(x: Float64Array): Float64Array {
    return this.continueFrom(this.close, x);
  }

  inverseLast(x: Float64Array): Float64Array {
    return this.continueFrom(this.previous, x);
  }

  private continueFrom(start: number, x: Float64Array): Float64Array {
    const values = new Float64Array(x.length);
    const price = (level: number): number => start * Math.exp(clamp(level, -2 * MOST_LOG_CHANGE, 2 * MOST_LOG_CHANGE));
    let total = 0;
    let before = 0;
    for (let row = 0; row < x.length; row += CHANNELS) {
      const wick = (value: number): number => this.volatility * WICK_BEND * Math.sinh(Math.max(value, 0) / WICK_FACTOR);
      total += this.volatility * RETURN_BEND * Math.sinh(x[row + CLOSE]!);
      const level = clamp(total, -MOST_LOG_CHANGE, MOST_LOG_CHANGE);
      const open = before + this.gap * GAP_BEND * Math.sinh(x[row + OPEN]! / GAP_FACTOR);
      const high = Math.max(open, level) + wick(x[row + HIGH]!);
      const low = Math.min(open, level) - wick(x[row + LOW]!);
      const prices = [open, high, low, level].map(price);
      values.set(prices, row);
      values[row + VOLUME] = this.volumeOf(x[row + VOLUME]!, high - low);
      values[row + AMOUNT] = values[row + VOLUME]! * mean(prices) * this.multiple;
      before = level;
    }
    return values;
  }

  private volumeOf(x: number, range: number): number {
    if (this.volume.level === null || !(x > (NO_VOLUME + LEAST_NORMAL_VOLUME) / 2)) return 0;
    return Math.exp(Math.min(this.expectedLogVolume(range) + this.volume.spread * x, 700));
  }

  /** Log volume that candles of this log range usually have. */
  private expectedLogVolume(range: number): number {
    return (this.volume.level ?? 0) + this.volume.slope * Math.log(range / this.volatility + RANGE_OFFSET);
  }
}

function changesOf(values: Float64Array): Changes {
  const rows = values.length / CHANNELS;
  const [gaps, upper, lower, returns, ranges] = Array.from({ length: 5 }, () => new Float64Array(rows)) as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  let before = NaN;
  for (let i = 0; i < rows; i++) {
    const candle = values.subarray(i * CHANNELS, i * CHANNELS + VOLUME);
    if (!candle.every((price) => price > 0)) {
      throw new DataError("A price is not above 0: this model reads logarithms of prices. Drop such candles.");
    }
    const [open, high, low, close] = [...candle].map(Math.log) as [number, number, number, number];
    if (i === 0) before = open;
    gaps[i] = open - before;
    upper[i] = Math.max(high - Math.max(open, close), 0);
    lower[i] = Math.max(Math.min(open, close) - low, 0);
    returns[i] = close - before;
    ranges[i] = Math.abs(returns[i]! - gaps[i]!) + upper[i]! + lower[i]!;
    before = close;
  }
  return { gaps, upper, lower, returns, ranges };
}

/** Level, slope and residual spread of log volume, given ranges in volatilities. */
function volumeRegression(volume: Float64Array, ranges: Float64Array): VolumeRegression {
  const traded = [...volume.keys()].filter((i) => volume[i]! > 0);
  if (!traded.length) return { level: null, slope: PRIOR_SLOPE, spread: PRIOR_SPREAD };
  const y = traded.map((i) => Math.log(volume[i]!));
  const z = traded.map((i) => Math.log(ranges[i]! + RANGE_OFFSET));
  const [meanY, meanZ] = [mean(y), mean(z)];
  const prior = PRIOR_CANDLES * 0.5; // candles times the usual variance of the log range
  let products = 0;
  let squares = 0;
  z.forEach((value, i) => {
    products += (value - meanZ) * (y[i]! - meanY);
    squares += (value - meanZ) ** 2;
  });
  const slope = clamp((products + prior * PRIOR_SLOPE) / (squares + prior), 0, 2);
  let residuals = 0;
  y.forEach((value, i) => (residuals += (value - meanY - slope * (z[i]! - meanZ)) ** 2));
  const variance = (residuals + PRIOR_CANDLES * PRIOR_SPREAD ** 2) / (traded.length + PRIOR_CANDLES);
  return { level: meanY - slope * meanZ, slope, spread: Math.max(Math.sqrt(variance), LEAST_SPREAD) };
}

/** Median of amount divided by volume and mean price; 0 without either. */
function amountMultiple(values: Float64Array): number {
  const ratios: number[] = [];
  for (let row = 0; row < values.length; row += CHANNELS) {
    const product = values[row + VOLUME]! * mean(values.subarray(row, row + VOLUME));
    if (product > 0) ratios.push(values[row + AMOUNT]! / product);
  }
  return ratios.length ? median(ratios) : 0;
}
