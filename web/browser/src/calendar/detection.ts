/**
 * Detection of the calendar that a history follows, from its times alone, as Python's `kronos.calendars`.
 *
 * Only what needs no exchange's trading days is detected: markets that never close, weekdays without a missing one, and
 * weeks or months. For other histories, whose holidays and breaks Python compares with those of exchanges, the caller
 * has to name `24/7` or `inferred` (the history's own weekdays and times of day, in both packages).
 */

import { isFxHoliday, localOrUtc, stability, toWall, usualTimeOfDay, type ClockZone } from "./clocks";
import {
  everyDay,
  everyPeriod,
  everyStep,
  everyWeek,
  periodOf,
  periodStamp,
  weekSlot,
  type Recurrence,
} from "./recurrence";
import { CalendarError } from "../errors";
import { intervalSeconds, isIntraday, type Interval } from "../intervals";
import { DAY, HOUR, SECOND, WEEK, dayOf, modulo, weekday, type Times } from "../times";

export type CalendarName = "24/7" | "FX" | "inferred";

/** An explanation of a history's times. */
export interface CalendarCandidate {
  readonly name: CalendarName;
  readonly zone: ClockZone;
  readonly after: Recurrence;
  readonly note: string;
}

const RECENT = 4_000; // stamps of a history that are examined
const RECENT_DAYS = 120; // days of an intraday history that are examined
const NEW_YORK = "America/New_York";
const WEEKDAYS = ["Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays"];
const ALIASES: Readonly<Record<string, CalendarName>> = {
  "24/7": "24/7",
  CRYPTO: "24/7",
  "24X7": "24/7",
  "247": "24/7",
  ALWAYS: "24/7",
  INFERRED: "inferred",
  INFER: "inferred",
  AUTO: "inferred",
};

/** The calendar that a history follows; throws a `CalendarError` if only the Python package could tell. */
export function detectCalendar(history: Times, interval: Interval): CalendarCandidate {
  const recent = recentTimes(history, interval);
  if (interval.unit === "w" || interval.unit === "mo") return fixedPeriods(recent, interval, interval.unit, "inferred");
  if (tradesRoundTheClock(recent, interval)) return alwaysOpen(recent, interval);
  if (!isIntraday(interval) && isEveryWeekday(recent, interval)) return everyWeekday(recent, interval);
  throw new CalendarError(
    "The times have breaks, which may be those of an exchange: give calendar '24/7' or 'inferred' (the history's own " +
      "weekdays and times of day), or use the Python package, which knows trading hours and holidays.",
  );
}

/** One calendar, with what the history shows of it. */
export function fitCalendar(name: string, history: Times, interval: Interval): CalendarCandidate {
  const canonical = ALIASES[name.trim().toUpperCase()];
  if (!canonical) {
    throw new CalendarError(`There is no calendar '${name}' in this package; choose 24/7 or inferred.`);
  }
  const recent = recentTimes(history, interval);
  if (interval.unit === "w" || interval.unit === "mo") return fixedPeriods(recent, interval, interval.unit, canonical);
  if (canonical === "24/7") return { ...alwaysOpen(recent, interval), note: "" };
  return isIntraday(interval) ? weeklyPattern(recent) : usualWeekdaysOf(recent, interval);
}

function recentTimes({ wall, offset }: Times, interval: Interval): Times {
  const recent = wall.slice(-RECENT);
  const since = recent[recent.length - 1]! - RECENT_DAYS * DAY;
  return { wall: isIntraday(interval) ? recent.filter((stamp) => stamp > since) : recent, offset };
}

function last(wall: Float64Array): number {
  return wall[wall.length - 1]!;
}

/** Whether most possible stamps exist, including a weekend if the history is long enough to have one. */
function tradesRoundTheClock({ wall }: Times, interval: Interval): boolean {
  const step = intervalSeconds(interval) * SECOND;
  const first = wall[0]!;
  const possible = Math.floor((last(wall) - first) / step) + 1;
  if (possible === wall.length && isIntraday(interval)) return true; // no break at all
  if (possible < 2 || wall.length < 0.6 * possible) return false;
  let saturdays = 0;
  for (let i = 0; i < possible; i++) if (weekday(first + i * step) === 5) saturdays++;
  if (saturdays * step >= 12 * HOUR) {
    return wall.filter((stamp) => weekday(stamp) === 5).length > 0.5 * saturdays;
  }
  // Shorter than to the weekend: an unbroken run that is longer than any session.
  return isIntraday(interval) && possible * step > 20 * HOUR && wall.length > 0.9 * possible;
}

/** A market that never closes. */
function alwaysOpen(recent: Times, interval: Interval): CalendarCandidate {
  if (!isIntraday(interval)) {
    const zone = localOrUtc(recent);
    const clock = usualTimeOfDay(toWall(recent, zone));
    return { name: "24/7", zone, after: everyDay(interval.count, clock, [0, 1, 2, 3, 4, 5, 6]), note: "" };
  }
  const { wall, offset } = recent;
  const weekend = wall.some((stamp) => weekday(stamp) === 5) || last(wall) - wall[0]! > 7 * DAY;
  return {
    name: "24/7",
    zone: offset === null ? null : "UTC",
    after: everyStep(intervalSeconds(interval) * SECOND),
    note: weekend ? "" : "no weekend in the history",
  };
}

/** Whether a daily history has every weekday of its span and no weekend: no exchange is open that often. */
function isEveryWeekday({ wall }: Times, interval: Interval): boolean {
  if (interval.count !== 1 || wall.some((stamp) => weekday(stamp) > 4)) return false;
  return wall.every((stamp, i) => {
    if (i === 0) return true;
    const before = wall[i - 1]!;
    return dayOf(stamp) - dayOf(before) === (weekday(before) === 4 ? 3 : 1);
  });
}

/** Weekdays; those of FX if they fill most of a year. */
function everyWeekday(recent: Times, interval: Interval): CalendarCandidate {
  const { wall } = recent;
  if (last(wall) - wall[0]! <= 300 * DAY) return usualWeekdaysOf(recent, interval);
  if (stability(wall) < 1) {
    throw new CalendarError(
      "The times of day vary, so the timezone of these days is unclear: give calendar 'inferred', or times at midnight.",
    );
  }
  const closed = !wall.some(isFxHoliday);
  const after = everyDay(interval.count, usualTimeOfDay(wall), [0, 1, 2, 3, 4], closed);
  return { name: "FX", zone: null, after, note: "" };
}

/** The weekdays of a daily history. */
function usualWeekdaysOf({ wall }: Times, interval: Interval): CalendarCandidate {
  const usual = usualWeekdays(wall);
  let days = usual.length ? usual : [...new Set([...wall].map(weekday))].sort();
  if (wall.length < 5 && !days.some((day) => day > 4)) days = [0, 1, 2, 3, 4];
  const after = everyDay(interval.count, usualTimeOfDay(wall), days);
  return { name: "inferred", zone: null, after, note: "weekdays of the history" };
}

/** Weekdays that a daily history has in at least half of its recent weeks. */
function usualWeekdays(wall: Float64Array): number[] {
  const recent = wall.filter((stamp) => stamp > last(wall) - 52 * WEEK);
  const possible = new Array<number>(7).fill(0);
  for (let day = dayOf(recent[0]!); day <= dayOf(last(recent)); day++) possible[weekday(day * DAY)]!++;
  const present = new Array<number>(7).fill(0);
  for (const stamp of recent) present[weekday(stamp)]!++;
  return possible.flatMap((count, day) => (count && present[day]! >= 0.5 * count ? [day] : []));
}

/** The weekdays and times of day of an intraday history, by its own clock or New York's. */
function weeklyPattern(recent: Times): CalendarCandidate {
  const candidates = ([null, NEW_YORK] as const).map((zone) => {
    const wall = toWall(recent, zone);
    const slots = activeSlots(wall.filter((stamp) => stamp > last(wall) - 8 * WEEK));
    return { zone, slots, score: patternScore(wall, new Set(slots)) };
  });
  const [own, other] = candidates as [(typeof candidates)[0], (typeof candidates)[0]];
  const { zone, slots } = other.score > own.score ? other : own;
  const asUtc = zone !== null && recent.offset === null ? ", times read as UTC" : "";
  const note = `weekdays and times of day of the history${asUtc}`;
  return { name: "inferred", zone, after: everyWeek(slots), note };
}

/** Share of the history's stamps in the pattern, times the share of the pattern's stamps in the history. */
function patternScore(wall: Float64Array, slots: ReadonlySet<number>): number {
  const hits = wall.filter((stamp) => slots.has(weekSlot(stamp))).length;
  let expected = 0;
  for (let week = Math.floor(wall[0]! / WEEK) - 1; week <= Math.floor(last(wall) / WEEK) + 1; week++) {
    for (const slot of slots) {
      const stamp = week * WEEK + 4 * DAY + slot;
      if (stamp >= wall[0]! && stamp <= last(wall)) expected++;
    }
  }
  return expected ? (hits / wall.length) * (hits / expected) : 0;
}

/** Times of the week that occur in at least half of the weeks; weekdays not covered get the times of the others. */
function activeSlots(wall: Float64Array): number[] {
  const counts = new Map<number, number>();
  for (const stamp of wall) counts.set(weekSlot(stamp), (counts.get(weekSlot(stamp)) ?? 0) + 1);
  const slots = [...counts.keys()].sort((a, b) => a - b);
  const first = wall[0]!;
  const active = slots.filter((slot) => {
    const earliest = first + modulo(slot - weekSlot(first), WEEK);
    const possible = Math.max(1, Math.floor((last(wall) - earliest) / WEEK) + 1);
    return counts.get(slot)! >= 0.5 * possible;
  });
  if (!active.length) return slots;
  const covered = new Set<number>();
  for (let day = dayOf(first) + 1; day < dayOf(last(wall)); day++) covered.add(weekday(day * DAY));
  const clocks = new Set(active.filter((slot) => slot < 5 * DAY).map((slot) => slot % DAY));
  const others = [0, 1, 2, 3, 4].filter((day) => !covered.has(day));
  const added = others.flatMap((day) => [...clocks].map((clock) => day * DAY + clock));
  return [...new Set([...active, ...added])].sort((a, b) => a - b);
}

/** Weeks or months stamped on one weekday or day of the month throughout. */
function fixedPeriods(recent: Times, interval: Interval, unit: "w" | "mo", name: CalendarName): CalendarCandidate {
  const zone = localOrUtc(recent);
  const wall = toWall(recent, zone).slice(-260);
  const days = [...wall].map((stamp) => (unit === "w" ? weekday(stamp) : new Date(stamp).getUTCDate()));
  const count = (day: number): number => days.filter((other) => other === day).length;
  const day = days.reduce((best, one) => {
    const difference = count(one) - count(best);
    return difference > 0 || (difference === 0 && one < best) ? one : best;
  });
  const clock = usualTimeOfDay(wall);
  if (!wall.every((stamp) => dayOf(periodStamp(periodOf(stamp, unit), unit, day, clock)) === dayOf(stamp))) {
    throw new CalendarError(
      `The candles are not stamped on one day of their ${unit === "w" ? "weeks" : "months"}, as by an exchange's ` +
        "first or last session: use the Python package, which knows trading days.",
    );
  }
  const note = `stamped at ${unit === "w" ? WEEKDAYS[day]! : `day ${day} of the month`}`;
  return { name, zone, after: everyPeriod(unit, interval.count, day, clock), note };
}
