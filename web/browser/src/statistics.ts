/** Statistics on plain arrays, as NumPy and `kronos.forecasts.statistics` compute them. */

import { ParameterError } from "./errors";

export function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum / values.length;
}

export function median(values: ArrayLike<number>): number {
  const sorted = Float64Array.from(values).sort();
  const size = sorted.length;
  return size ? (sorted[(size - 1) >> 1]! + sorted[size >> 1]!) / 2 : NaN;
}

export function minimum(values: Iterable<number>): number {
  let lowest = Infinity;
  for (const value of values) if (value < lowest) lowest = value;
  return lowest;
}

export function maximum(values: Iterable<number>): number {
  let highest = -Infinity;
  for (const value of values) if (value > highest) highest = value;
  return highest;
}

export function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}

/** The median of values in increasing order. */
export function sortedMedian(values: Float64Array): number {
  const size = values.length;
  return 0.5 * (values[(size - 1) >> 1]! + values[size >> 1]!);
}

/** A quantile of values in increasing order, at k / (S + 1): type 6 of Hyndman & Fan 1996. */
export function sortedQuantile(values: Float64Array, level: number): number {
  const size = values.length;
  const position = clamp(level * (size + 1) - 1, 0, size - 1);
  const low = Math.floor(position);
  const high = Math.min(low + 1, size - 1);
  return values[low]! + (position - low) * (values[high]! - values[low]!);
}

/** Throws a `ParameterError` if there is no level, or one is not strictly between 0 and 1. */
export function checkLevels(levels: readonly number[]): void {
  if (!levels.length || !levels.every((level) => level > 0 && level < 1)) {
    throw new ParameterError(
      `Invalid levels [${levels.join(", ")}]: choose numbers between 0 and 1, for example 0.05.`,
    );
  }
}

/** Lower and upper quantile level of a central band: 0.1 and 0.9 for 0.8. */
export function bandLevels(level: number): [number, number] {
  const tail = Number(((1 - level) / 2).toFixed(12));
  return [tail, Number((1 - tail).toFixed(12))];
}

/** Values of a piecewise linear function, constant beyond its ends. */
export function interpolate(x: number, knots: readonly number[], values: readonly number[]): number {
  const last = knots.length - 1;
  if (x <= knots[0]!) return values[0]!;
  if (x >= knots[last]!) return values[last]!;
  const i = knots.findIndex((knot) => knot > x) - 1;
  const slope = (values[i + 1]! - values[i]!) / (knots[i + 1]! - knots[i]!);
  return slope * (x - knots[i]!) + values[i]!;
}

/** The probability of an event, estimated from sample paths. */
export interface Probability {
  /** (k + ½) / (n + 1) for an event on k of n paths: the posterior mean under Jeffreys' prior. */
  readonly value: number;
  /** Ends of Wilson's 95 % score interval. */
  readonly low: number;
  readonly high: number;
  readonly count: number;
  readonly paths: number;
}

const Z95 = 1.959963984540054; // the normal distribution's 97.5 % quantile

/** A probability from the number of paths with the event. */
export function estimateProbability(count: number, paths: number): Probability {
  const share = count / paths;
  const square = Z95 ** 2;
  const centre = (share + square / (2 * paths)) / (1 + square / paths);
  const half = (Z95 / (1 + square / paths)) * Math.sqrt((share * (1 - share)) / paths + square / (4 * paths ** 2));
  return {
    value: (count + 0.5) / (paths + 1),
    low: count === 0 ? 0 : Math.max(0, centre - half),
    high: count === paths ? 1 : Math.min(1, centre + half),
    count,
    paths,
  };
}

/** Index of the path with the smallest sum of Euclidean distances to the others, in logs of closes `[S, H]`. */
export function medoid(closes: Float64Array, samples: number): number {
  const horizon = closes.length / samples;
  const logs = closes.map(Math.log);
  const totals = new Float64Array(samples);
  for (let a = 0; a < samples; a++) {
    for (let b = a + 1; b < samples; b++) {
      let square = 0;
      for (let step = 0; step < horizon; step++) square += (logs[a * horizon + step]! - logs[b * horizon + step]!) ** 2;
      totals[a]! += Math.sqrt(square);
      totals[b]! += Math.sqrt(square);
    }
  }
  return totals.indexOf(Math.min(...totals));
}
