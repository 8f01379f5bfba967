/** Inference of the interval of times with nights, weekends, holidays and gaps, as Python's `kronos.candles.gaps`. */

import { DataError, ParameterError } from "../errors";
import { general } from "../formatting";
import { formatInterval, intervalFromSeconds, intervalSeconds, type Interval } from "../intervals";
import { maximum, mean, median, minimum } from "../statistics";
import { modulo } from "../times";

const DAY = 86_400; // seconds
const LEAST_DIFFERENCES = 8; // from which on one of them equals the interval, even if idle candles are left out
const MAX_SHORT = 0.2; // share of differences that may be shorter than the interval
const REGULAR = 0.9; // share of days
const FIX = "pass interval=, or a series with a single interval";

/** Infer the interval of strictly increasing times in milliseconds. */
export function inferInterval(wall: Float64Array): Interval {
  const steps = stepsOf(wall);
  const mode = modeOf(steps);
  if (mode >= 27 * DAY) return inferMonths(steps);
  checkMode(wall, steps, mode);
  return intervalFromSeconds(Math.round(mode));
}

/** Throws a `ParameterError` if times contradict the caller's interval. */
export function checkInterval(wall: Float64Array, interval: Interval, name: string): void {
  const steps = stepsOf(wall);
  const seconds = intervalSeconds(interval);
  const closer = steps.filter((step) => step < 0.85 * seconds).length / steps.length;
  const close = steps.length < LEAST_DIFFERENCES || minimum(steps) < 1.5 * seconds;
  if (closer <= 0.5 && close) return;
  throw new ParameterError(
    `interval=${formatInterval(interval)} contradicts ${name}, whose times are mostly ${formatSpacing(median(steps))} ` +
      "apart; correct or omit it.",
  );
}

/** Whether the last time comes before its turn, at a time of day or weekday where no other candle is. */
export function isOffGrid(wall: Float64Array): boolean {
  if (wall.length < LEAST_DIFFERENCES + 2) return false;
  const stamps = wall.map((stamp) => Math.floor(stamp / 1000));
  const steps = Float64Array.from(stamps.subarray(1), (stamp, i) => stamp - stamps[i]!);
  const before = steps.subarray(0, -1);
  const last = steps[steps.length - 1]!;
  const usual = Math.floor(modeOf(before));
  if (usual < 60 || last >= usual || before.filter((step) => step < usual).length / before.length > 0.02) return false;
  // Days begin on Thursday 1970-01-01; the phase of months is not fixed.
  const phase = stamps.map((stamp) => modulo(stamp, usual <= 7 * DAY ? usual : DAY));
  return !phase.subarray(0, -1).includes(phase[phase.length - 1]!) || (usual > 7 * DAY && last < 27 * DAY);
}

function stepsOf(wall: Float64Array): Float64Array {
  return Float64Array.from(wall.subarray(1), (stamp, i) => (stamp - wall[i]!) / 1000);
}

/** The most frequent difference, the shortest of several: the others are breaks between sessions. */
function modeOf(steps: Float64Array): number {
  const counts = new Map<number, number>();
  for (const step of steps) {
    const rounded = Math.round(step * 1000) / 1000;
    counts.set(rounded, (counts.get(rounded) ?? 0) + 1);
  }
  const most = maximum(counts.values());
  return minimum([...counts].flatMap(([step, count]) => (count === most ? [step] : [])));
}

function inferMonths(steps: Float64Array): Interval {
  const days = steps.map((step) => step / DAY);
  const count = Math.max(1, Math.round(median(days) / 30.44));
  const fits = days.filter((day) => Math.abs(day - count * 30.44) <= 4 + 0.6 * count).length;
  const longer = days.filter((day) => day > count * 30.44 + 4 + 0.6 * count).length;
  if ((fits + longer) / days.length < 1 - MAX_SHORT || fits / days.length < 0.3) {
    throw new DataError(
      `The times are ${minimum(days).toFixed(0)} to ${maximum(days).toFixed(0)} days apart, not a single interval; ${FIX}.`,
    );
  }
  return { count, unit: "mo" };
}

function checkMode(wall: Float64Array, steps: Float64Array, mode: number): void {
  if (mode < 1 || Math.abs(mode - Math.round(mode)) > 1e-3) {
    throw new DataError(`The times are ${general(mode)} seconds apart, but candles last whole seconds; ${FIX}.`);
  }
  const share = (test: (step: number) => boolean): number => steps.filter(test).length / steps.length;
  const seconds = Math.round(mode);
  const whole = DAY % seconds === 0 || seconds % DAY === 0 || restartsDaily(wall, mode);
  if (
    !whole ||
    share((step) => step < mode * 0.999) > MAX_SHORT ||
    share((step) => Math.abs(step - mode) < 1e-3) < 0.15
  ) {
    const [low, high, usual] = [minimum(steps), maximum(steps), mode].map(formatSpacing);
    throw new DataError(
      `The times have no single interval (from ${low} to ${high} apart, most often ${usual}); ${FIX}.`,
    );
  }
  if (steps.length < 16) return;
  const modes = splitEvenly(steps, Math.min(8, Math.floor(steps.length / 8))).map(modeOf);
  const other = modes.filter((one) => Math.abs(one - mode) > 1e-3);
  if (other.length > modes.length / 4) {
    throw new DataError(`The times mix the intervals ${formatSpacing(mode)} and ${formatSpacing(other[0]!)}; ${FIX}.`);
  }
}

/** Parts of nearly equal length, the longer ones first. */
function splitEvenly(values: Float64Array, parts: number): Float64Array[] {
  const size = Math.floor(values.length / parts);
  const longer = values.length % parts;
  return Array.from({ length: parts }, (_, i) => {
    const start = i * size + Math.min(i, longer);
    return values.subarray(start, start + size + (i < longer ? 1 : 0));
  });
}

/** Whether candles begin anew each day: then their length need not divide the day, as 130 minutes of US stocks. */
function restartsDaily(wall: Float64Array, mode: number): boolean {
  const stamps = [...wall].map((stamp) => Math.floor(stamp / 1000));
  const day = (stamp: number): number => Math.floor(stamp / DAY);
  const within = stamps.flatMap((stamp, i) =>
    i && day(stamp) === day(stamps[i - 1]!) ? [stamp - stamps[i - 1]!] : [],
  );
  const first = stamps
    .filter((stamp, i) => !i || day(stamp) !== day(stamps[i - 1]!))
    .map((stamp) => modulo(stamp, DAY));
  if (first.length < 3 || within.length < 1.5 * first.length) return false; // two candles a day do not show a length
  const counts = [...new Set(first)].map((time) => first.filter((other) => other === time).length);
  const usual = counts.sort((a, b) => b - a).slice(0, 3); // daylight saving time moves the first time by an hour
  const regular = mean(within.map((step) => (Math.abs(step - mode) < 1e-3 ? 1 : 0)));
  return regular >= REGULAR && usual.reduce((sum, count) => sum + count, 0) >= REGULAR * first.length;
}

function formatSpacing(seconds: number): string {
  return seconds >= 1 ? formatInterval(intervalFromSeconds(Math.round(seconds))) : `${general(seconds)}s`;
}
