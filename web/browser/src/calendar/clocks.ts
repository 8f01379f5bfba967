/** Wall clocks that the times of candles may be read by: their own, UTC, or that of a timezone. */

import { modulo, toUtc, fromUtc, weekday, DAY, HOUR, type Times } from "../times";

/** `null`: the clock that the times are written in; else an IANA name. Times without offset count as UTC there. */
export type ClockZone = string | null;

/** Stamps of a clock. */
export function toWall(times: Times, zone: ClockZone): Float64Array {
  if (zone === null) return times.wall;
  const utc = toUtc(times);
  return zone === "UTC" ? utc : utc.map((stamp) => stamp + zoneOffset(stamp, zone));
}

/** Stamps of a clock on the clock that the times are written in; the inverse of `toWall`. */
export function fromWall(wall: Float64Array, zone: ClockZone, offset: number | null): Float64Array {
  if (zone === null) return wall;
  return fromUtc(zone === "UTC" ? wall : wall.map((stamp) => zoneToUtc(stamp, zone)), offset);
}

const formats = new Map<string, Intl.DateTimeFormat>();

/** Milliseconds that the clock of a timezone is ahead of UTC. */
function zoneOffset(utc: number, zone: string): number {
  let format = formats.get(zone);
  if (!format) {
    format = new Intl.DateTimeFormat("en-US", {
      timeZone: zone,
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
    formats.set(zone, format);
  }
  const parts = new Map(format.formatToParts(utc).map(({ type, value }) => [type, Number(value)]));
  const part = (name: Intl.DateTimeFormatPartTypes): number => parts.get(name) ?? 0;
  const local = Date.UTC(part("year"), part("month") - 1, part("day"), part("hour"), part("minute"), part("second"));
  return local - Math.floor(utc / 1000) * 1000;
}

/** The first instant that a clock shows a time; of times that it skips, the instant at which it skips them. */
function zoneToUtc(wall: number, zone: string): number {
  const before = zoneOffset(wall - DAY, zone);
  const after = zoneOffset(wall + DAY, zone);
  const shown = [wall - before, wall - after].filter((utc) => utc + zoneOffset(utc, zone) === wall);
  if (shown.length) return Math.min(...shown);
  let low = wall - after;
  let high = wall - before;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (zoneOffset(middle, zone) === after) high = middle;
    else low = middle;
  }
  return high;
}

/** Time of day of the last two bars if they agree, else the most frequent recent one. */
export function usualTimeOfDay(wall: Float64Array): number {
  const last = wall[wall.length - 1]!;
  if (wall.length > 1 && modulo(last - wall[wall.length - 2]!, DAY) === 0) return modulo(last, DAY);
  const counts = new Map<number, number>();
  for (const stamp of wall
    .slice(-60)
    .map((value) => modulo(value, DAY))
    .sort()) {
    counts.set(stamp, (counts.get(stamp) ?? 0) + 1);
  }
  const most = Math.max(...counts.values());
  return [...counts].find(([, count]) => count === most)![0];
}

/** Share of bars at the usual time of day. */
export function stability(wall: Float64Array): number {
  const usual = usualTimeOfDay(wall);
  return wall.filter((stamp) => modulo(stamp, DAY) === usual).length / wall.length;
}

/** The times' own clock, or UTC if days begin at UTC's midnight. */
export function localOrUtc(times: Times): ClockZone {
  if (times.offset === null) return null;
  const rank = (zone: ClockZone): [number, boolean] => {
    const wall = toWall(times, zone);
    return [stability(wall), usualTimeOfDay(wall) !== 0];
  };
  const [own, utc] = [rank(null), rank("UTC")];
  return utc[0] > own[0] || (utc[0] === own[0] && own[1] && !utc[1]) ? "UTC" : null;
}

/** Timezones of exchanges, in which candles of a day may be stamped at midnight. */
const EXCHANGE_ZONES = [
  "America/New_York",
  "Asia/Shanghai",
  "Asia/Hong_Kong",
  "Asia/Tokyo",
  "Europe/London",
  "Europe/Paris",
  "Europe/Berlin",
  "Asia/Seoul",
  "Asia/Taipei",
  "Asia/Kolkata",
  "Asia/Singapore",
  "Australia/Sydney",
  "America/Toronto",
  "America/Sao_Paulo",
  "Europe/Zurich",
];
const RECENT_DAYS = 400; // more than a year, so that changes of daylight saving time show

/** The clock by which all candles of a day or longer are stamped at midnight; undefined if there is none. */
export function datedClock(times: Times): ClockZone | undefined {
  const recent = { wall: times.wall.slice(-RECENT_DAYS), offset: times.offset };
  const zones = times.offset === null ? [null] : [null, "UTC", ...EXCHANGE_ZONES];
  return zones.find((zone) => toWall(recent, zone).every((stamp) => modulo(stamp, DAY) === 0));
}

/** Share of stamps on Saturdays. */
export function saturdayShare(wall: Float64Array): number {
  return wall.filter((stamp) => weekday(stamp) === 5).length / wall.length;
}

/** Whether a trading day of FX is a holiday: the first of January and Christmas Day. */
export function isFxHoliday(wall: number): boolean {
  const date = new Date(Math.floor((wall + 12 * HOUR) / DAY) * DAY); // stamps in the afternoon open the next day
  const [month, day] = [date.getUTCMonth() + 1, date.getUTCDate()];
  return (month === 1 && day === 1) || (month === 12 && day === 25);
}
