/** Candles in a longer interval, for the eye: what is forecast from is resampled by the server, under stricter rules. */

import type { CandleColumns } from "./types";
import type { ZoneClock } from "./time_zone";

const HOUR = 3600;
const DAY = 86_400;
const WEEK = 7 * DAY;
/** 1970-01-05: weeks begin on Mondays. */
const MONDAY = 4 * DAY;

/** Whether candles of one interval fill those of a longer one, which lie on a grid from midnight or from Monday. */
export function canResample(short: number, long: number): boolean {
  if (short <= 0 || long <= short || long % short !== 0) return false;
  if (DAY % short !== 0 && short % DAY !== 0) return false;
  return long <= DAY ? DAY % long === 0 : long % DAY === 0;
}

/**
 * Aggregates candles to `seconds` on the grid of a wall clock. Each long candle opens when the first of its candles does,
 * so that a session that begins within the grid keeps its time; the last one may still be forming. With `started`, a
 * first one whose beginning is not among the candles is left out. Candles with missing prices count for none.
 */
export function resample(candles: CandleColumns, seconds: number, clock: ZoneClock, started = false): CandleColumns {
  const long: CandleColumns = { time: [], open: [], high: [], low: [], close: [], volume: candles.volume && [] };
  const { time, open, high, low, close, volume } = candles;
  let period = NaN;
  let at = -1;
  for (let index = 0; index < time.length; index++) {
    if (!Number.isFinite(close[index]!)) continue;
    const next = periodStart(time[index]!, seconds, clock);
    if (next !== period) {
      period = next;
      at++;
      long.time.push(time[index]!);
      long.open.push(open[index]!);
      long.high.push(high[index]!);
      long.low.push(low[index]!);
      long.close.push(close[index]!);
      long.volume?.push(volume![index]!);
      continue;
    }
    long.high[at] = Math.max(long.high[at]!, high[index]!);
    long.low[at] = Math.min(long.low[at]!, low[index]!);
    long.close[at] = close[index]!;
    if (volume !== null) long.volume![at] = sum(long.volume![at]!, volume[index]!);
  }
  return started && at > 0 && !beginsPeriod(time[0]!, seconds, clock) ? withoutFirst(long) : long;
}

/** Start of the period on the wall clock. In the hour that is repeated in autumn, hours and shorter periods are two. */
function periodStart(time: number, seconds: number, clock: ZoneClock): number {
  const origin = seconds % WEEK === 0 ? MONDAY : 0;
  const wall = clock.wall(time);
  const start = Math.floor((wall - origin) / seconds) * seconds + origin;
  return seconds <= HOUR ? start - (wall - time) : start;
}

function beginsPeriod(time: number, seconds: number, clock: ZoneClock): boolean {
  return periodStart(time, seconds, clock) !== periodStart(time - 1, seconds, clock);
}

/** Sum of volumes where some may be missing. */
function sum(first: number, second: number): number {
  if (Number.isNaN(first)) return second;
  return Number.isNaN(second) ? first : first + second;
}

function withoutFirst(candles: CandleColumns): CandleColumns {
  for (const column of Object.values(candles) as (number[] | null)[]) column?.shift();
  return candles;
}
