/** Candles in columns: search, concatenation and the spacing of their times. */

import type { CandleColumns } from "./types";

export const NO_CANDLES: CandleColumns = { time: [], open: [], high: [], low: [], close: [], volume: null };

/** Index of the first time that is not before `time`; the length if all are. */
export function lowerBound(times: ArrayLike<number>, time: number): number {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (times[middle]! < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Index of `time`, or -1. */
export function indexOfTime(times: ArrayLike<number>, time: number): number {
  const index = lowerBound(times, time);
  return times[index] === time ? index : -1;
}

/** Candles of `first`, and then those of `second`. A missing volume beside a known one becomes NaN, which is not drawn. */
export function concatenate(first: CandleColumns, second: CandleColumns): CandleColumns {
  if (first.time.length === 0) return second;
  if (second.time.length === 0) return first;
  const volumeOf = (candles: CandleColumns): number[] => candles.volume ?? candles.time.map(() => NaN);
  return {
    time: first.time.concat(second.time),
    open: first.open.concat(second.open),
    high: first.high.concat(second.high),
    low: first.low.concat(second.low),
    close: first.close.concat(second.close),
    volume: first.volume === null && second.volume === null ? null : volumeOf(first).concat(volumeOf(second)),
  };
}

export function slice(candles: CandleColumns, start: number, end: number): CandleColumns {
  return {
    time: candles.time.slice(start, end),
    open: candles.open.slice(start, end),
    high: candles.high.slice(start, end),
    low: candles.low.slice(start, end),
    close: candles.close.slice(start, end),
    volume: candles.volume === null ? null : candles.volume.slice(start, end),
  };
}

/** The history with the actual candles of a replay after it; these replace what the history has from their start on. */
export function withActual(history: CandleColumns, actual: CandleColumns | null): CandleColumns {
  const start = actual?.time[0];
  if (actual === null || start === undefined) return history;
  const end = lowerBound(history.time, start);
  return concatenate(end === history.time.length ? history : slice(history, 0, end), actual);
}

/** Sorted union of two strictly increasing lists of times. */
export function unionTimes(first: readonly number[], second: readonly number[]): number[] {
  const times: number[] = [];
  let left = 0;
  let right = 0;
  while (left < first.length || right < second.length) {
    const a = first[left] ?? Infinity;
    const b = second[right] ?? Infinity;
    times.push(Math.min(a, b));
    if (a <= b) left++;
    if (b <= a) right++;
  }
  return times;
}

/** Bar of each candle on an axis of all times; null where bar and candle have the same number. */
export function barsOf(candles: readonly number[], times: readonly number[]): number[] | null {
  const last = candles.length - 1;
  return candles[last] === times[last] ? null : candles.map((time) => lowerBound(times, time));
}

/** Usual distance of two candles in seconds: the median of the newest ones; null below two candles. */
export function usualInterval(times: readonly number[]): number | null {
  const newest = times.slice(-500);
  const distances = newest.slice(1).map((time, index) => time - newest[index]!);
  distances.sort((a, b) => a - b);
  return distances[Math.floor(distances.length / 2)] ?? null;
}

/** Of prices: 1e-10 with six digits has 15; from 16 on, a step has no exact inverse. */
const MOST_DECIMALS = 15;

/** Smallest price step of the newest candles, as a power of ten: 0.01 for prices with two decimals. */
export function tickSize(candles: CandleColumns): number {
  let decimals = 0;
  for (const price of candles.close.slice(-200)) {
    while (
      decimals < MOST_DECIMALS &&
      Math.abs(price * 10 ** decimals - Math.round(price * 10 ** decimals)) > 1e-7 * 10 ** decimals * Math.abs(price)
    ) {
      decimals++;
    }
  }
  return 10 ** -decimals;
}

/** Times at which a new session begins: after a gap, on another day of the exchange. None for daily or longer candles. */
export function sessionStarts(
  times: readonly number[],
  interval: number | null,
  wall: (time: number) => number,
): number[] {
  if (interval === null || interval >= 86_400) return [];
  const starts: number[] = [];
  for (let index = 1; index < times.length; index++) {
    const time = times[index]!;
    const previous = times[index - 1]!;
    if (time - previous <= 1.5 * interval) continue;
    if (Math.floor(wall(time) / 86_400) !== Math.floor(wall(previous) / 86_400)) starts.push(time);
  }
  return starts;
}
