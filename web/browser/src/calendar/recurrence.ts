/** Recurrences: the next stamps of a market after a given one, on its wall clock. */

import { isFxHoliday } from "./clocks";
import { CalendarError } from "../errors";
import { DAY, WEEK, dayOf, modulo, weekday } from "../times";

const MONDAY = 4 * DAY; // 1970-01-05
const LIMIT = Date.UTC(2200, 11, 31);

/** The next `count` stamps after `last`. */
export type Recurrence = (last: number, count: number) => Float64Array;

function checkReach(last: number, count: number, step: number): void {
  if (last + count * step > LIMIT) {
    throw new CalendarError(`The horizon of ${count} steps reaches beyond 2200; choose fewer steps.`);
  }
}

/** A stamp every `step` milliseconds. */
export function everyStep(step: number): Recurrence {
  return (last, count) => {
    checkReach(last, count, step);
    return Float64Array.from({ length: count }, (_, i) => last + (i + 1) * step);
  };
}

/** Every `every`-th day of some weekdays at one time of day, without the holidays of FX if it closes on them. */
export function everyDay(
  every: number,
  clock: number,
  weekdays: readonly number[],
  closesOnHolidays = false,
): Recurrence {
  return (last, count) => {
    const found: number[] = [];
    let passed = 0;
    for (let midnight = (dayOf(last) + 1) * DAY; found.length < count; midnight += DAY) {
      checkReach(midnight, 1, 0);
      const open = weekdays.includes(weekday(midnight)) && !(closesOnHolidays && isFxHoliday(midnight + clock));
      if (open && ++passed % every === 0) found.push(midnight + clock);
    }
    return Float64Array.from(found);
  };
}

/** Times of the week, in milliseconds after Monday's midnight, increasing. */
export function everyWeek(slots: readonly number[]): Recurrence {
  return (last, count) => {
    const weeks = Math.floor(count / slots.length) + 3;
    checkReach(last, weeks, WEEK);
    const monday = Math.floor((last - MONDAY) / WEEK) * WEEK + MONDAY;
    const stamps = Array.from({ length: weeks }, (_, week) => slots.map((slot) => monday + week * WEEK + slot)).flat();
    return Float64Array.from(stamps.filter((stamp) => stamp > last).slice(0, count));
  };
}

/** Milliseconds after Monday's midnight. */
export function weekSlot(wall: number): number {
  return modulo(wall - MONDAY, WEEK);
}

/** A weekday, or a day of the month, of every `every`-th week or month at one time of day. */
export function everyPeriod(unit: "w" | "mo", every: number, day: number, clock: number): Recurrence {
  return (last, count) => {
    checkReach(last, (count + 6) * every, unit === "w" ? WEEK : 31 * DAY);
    const period = periodOf(last, unit);
    const stamps = Array.from({ length: count + 5 }, (_, i) => periodStamp(period + (i + 1) * every, unit, day, clock));
    return Float64Array.from(stamps.filter((stamp) => stamp > last).slice(0, count));
  };
}

/** Number of weeks (from Monday) or months since 1970. */
export function periodOf(wall: number, unit: "w" | "mo"): number {
  if (unit === "w") return Math.floor((wall - MONDAY) / WEEK);
  const date = new Date(wall);
  return (date.getUTCFullYear() - 1970) * 12 + date.getUTCMonth();
}

/** Stamp of a period; a day that its month does not have is the last one of the month. */
export function periodStamp(period: number, unit: "w" | "mo", day: number, clock: number): number {
  if (unit === "w") return period * WEEK + MONDAY + day * DAY + clock;
  const first = Date.UTC(1970, period, 1);
  const last = Date.UTC(1970, period + 1, 1) - DAY;
  return Math.min(first + (day - 1) * DAY, last) + clock;
}
