/**
 * Times of candles: a wall clock in milliseconds, with or without an offset from UTC.
 *
 * A wall clock is counted as if it were UTC, so that its days and times of day follow by division. Times without offset
 * are of an unknown clock, as those of a pandas index without timezone.
 */

export const SECOND = 1000;
export const HOUR = 3_600_000;
export const DAY = 86_400_000;
export const WEEK = 7 * DAY;
const MINUTE = 60_000;

export interface Times {
  /** Strictly increasing milliseconds since 1970 of the clock that the times are written in. */
  readonly wall: Float64Array;
  /** Minutes that this clock is ahead of UTC; null if it is unknown. */
  readonly offset: number | null;
}

/** Remainder that is never negative. */
export function modulo(value: number, divisor: number): number {
  return ((value % divisor) + divisor) % divisor;
}

/** Days since 1970. */
export function dayOf(wall: number): number {
  return Math.floor(wall / DAY);
}

/** Weekday, Monday being 0. */
export function weekday(wall: number): number {
  return modulo(dayOf(wall) + 3, 7); // 1970-01-01 was a Thursday
}

/** Calendar features `[T, 5]`: minute, hour, weekday (Monday 0), day, month. */
export function timeFeatures(wall: Float64Array): BigInt64Array {
  const features = new BigInt64Array(5 * wall.length);
  wall.forEach((stamp, i) => {
    const date = new Date(stamp);
    const parts = [date.getUTCMinutes(), date.getUTCHours(), weekday(stamp), date.getUTCDate(), date.getUTCMonth() + 1];
    features.set(parts.map(BigInt), 5 * i);
  });
  return features;
}

/** Milliseconds since 1970 in UTC; times without offset count as UTC. */
export function toUtc({ wall, offset }: Times): Float64Array {
  return offset ? wall.map((stamp) => stamp - offset * MINUTE) : wall;
}

/** A wall clock of UTC times. */
export function fromUtc(utc: Float64Array, offset: number | null): Float64Array {
  return offset ? utc.map((stamp) => stamp + offset * MINUTE) : utc;
}

/** A time as Python prints it: `2024-01-31 09:30:00+00:00`. */
export function formatTime(wall: number, offset: number | null): string {
  const text = new Date(wall).toISOString().replace("T", " ").replace("Z", "");
  const fraction = text.slice(20);
  const time = fraction === "000" ? text.slice(0, 19) : `${text}000`;
  return offset === null ? time : `${time}${formatOffset(offset)}`;
}

/** An offset such as `+05:30`. */
export function formatOffset(offset: number): string {
  const size = Math.abs(offset);
  const digits = [Math.floor(size / 60), size % 60].map((part) => String(part).padStart(2, "0"));
  return `${offset < 0 ? "-" : "+"}${digits.join(":")}`;
}

/** Name of the timezone as pandas prints it: `UTC` or `UTC+05:30`. */
export function zoneName(offset: number | null): string | null {
  if (offset === null) return null;
  return offset === 0 ? "UTC" : `UTC${formatOffset(offset)}`;
}
