/**
 * Times in text: ISO dates, also with `/` or `.` after the year, and epoch seconds or milliseconds.
 *
 * Without offset they stay without; epoch numbers are UTC. Other notations, which Python reads or refuses by comparing
 * all cells, are refused.
 */

import { toWall } from "../calendar/clocks";
import { DataError } from "../errors";
import { general, joinNames, truncate } from "../formatting";
import { median } from "../statistics";
import { DAY, SECOND } from "../times";
import type { Severity } from "./findings";

export interface ParsedTimes {
  /** Milliseconds of the clock that the times are written in, NaN if unreadable. */
  readonly wall: Float64Array;
  readonly offset: number | null;
  readonly notes: readonly TimeNote[];
}

export interface TimeNote {
  readonly code: string;
  readonly severity: Severity;
  readonly message: string;
}

const NUMBER = /^-?\d{5,19}(?:\.\d*)?$/;
const SHORT = /^(?:\d{4}|\d{6})$/;
const SCIENTIFIC = /^\d(?:[.,]\d+)?[eE]\+?\d{1,2}$/;
const YEAR_FIRST =
  /^(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?:[T ]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?\s?(Z|[+-]\d{2}(?::?\d{2})?)?$/;
const YEAR_LAST = /^(\d{1,2})[-/.](\d{1,2})[-/.](\d{1,4})(?![\d:])/;
const OLDEST = Date.UTC(1800, 0, 1);
const NEWEST = Date.UTC(2200, 0, 1);
const MINUTE = 60_000;
const FUTURE_EPOCH = 31 * DAY;
const FUTURE_DATE = 2 * DAY; // time zones, and candles stamped at their close
const EXCHANGE_ZONES = ["America/New_York", "America/Chicago", "Europe/London", "Europe/Berlin", "Australia/Sydney"];

/** Parse a column of times; `now` is what dates cannot exceed. */
export function parseTimestamps(cells: readonly string[], name: string, now: number): ParsedTimes {
  const filled = cells.filter(Boolean);
  const share = (pattern: RegExp, some: readonly string[]): number =>
    some.filter((cell) => pattern.test(cell)).length / some.length;
  if (filled.length) {
    if (share(SHORT, filled) === 1) throw refuseNumbers(filled[0]!, name);
    if (share(NUMBER, filled) > 0.5) return parseNumbers(cells, name, now);
    if (share(SCIENTIFIC, filled.slice(0, 20)) > 0.5) {
      throw new DataError(
        `The times of ${name} are rounded numbers such as ${filled[0]!}, so their last digits are lost; write them with ` +
          "all digits, or as dates.",
      );
    }
  }
  const other = filled.find((cell) => /\d/.test(cell) && !YEAR_FIRST.test(cell));
  if (other !== undefined) throw refuseDates(filled, other, name, now);
  return withOffsets(cells.map(parseYearFirst), name);
}

/** Join a column of dates with one of times of day, unless the latter holds both. */
export function joinClock(dates: readonly string[], clocks: readonly string[], name: string): readonly string[] {
  const filled = clocks.filter(Boolean);
  const whole = filled.filter((cell) => /^\d{12,19}$|\d{4}[-/.年]\d{1,2}/.test(cell)).length;
  if (filled.length && whole / filled.length > 0.5) return clocks;
  const other = filled.find((cell) => !/^\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?$/.test(cell));
  if (other !== undefined) {
    throw new DataError(`The times of day of ${name} ('${truncate(other)}') are not read here: write them like 09:30.`);
  }
  return dates.map((date, i) => {
    const day = date.replace(/[T ]00:00(:00(\.0+)?)?$/, "").replace(/^(\d{4})(\d{2})(\d{2})$/, "$1-$2-$3");
    return `${day} ${clocks[i]!}`.trim();
  });
}

interface WrittenTime {
  readonly wall: number;
  /** Minutes ahead of UTC; null if none is written. */
  readonly offset: number | null;
}

function parseYearFirst(cell: string): WrittenTime {
  const match = YEAR_FIRST.exec(cell);
  if (!match) return { wall: NaN, offset: null };
  const [year, , month, day, hour, minute, second] = match.slice(1).map((part) => Number(part ?? 0)) as number[];
  const midnight = Date.UTC(year!, month! - 1, day);
  const date = new Date(midnight);
  const exists = date.getUTCMonth() === month! - 1 && date.getUTCDate() === day;
  const clock = hour! < 24 ? minute! < 60 && second! < 60 : hour === 24 && !minute && !second;
  const fraction = Number(`0.${match[8] ?? 0}`);
  const wall = midnight + ((hour! * 60 + minute!) * 60 + second!) * SECOND + Math.round(fraction * 1e9) / 1e6;
  return { wall: exists && clock && inRange(wall) ? wall : NaN, offset: parseOffset(match[9]) };
}

function inRange(wall: number): boolean {
  return wall > OLDEST && wall < NEWEST;
}

function parseOffset(text: string | undefined): number | null {
  if (!text) return null;
  const digits = text.replace(":", "").replace("Z", "+00");
  return Number(`${digits[0]}1`) * (Number(digits.slice(1, 3)) * 60 + Number(digits.slice(3) || 0));
}

/** Keep the clock of a single offset, and dates of local midnights; other times become UTC. */
function withOffsets(times: readonly WrittenTime[], name: string): ParsedTimes {
  const wall = Float64Array.from(times, (time) => time.wall);
  const offsets = [...new Set(times.flatMap(({ offset }) => (offset === null ? [] : [offset])))];
  if (!offsets.length) return { wall, offset: null, notes: [] };
  // Times without an offset among others are in UTC, as pandas reads them.
  const utc = wall.map((stamp, i) => stamp - (times[i]!.offset ?? 0) * MINUTE);
  if (offsets.length === 1) {
    const offset = offsets[0]!;
    return { wall: utc.map((stamp) => stamp + offset * MINUTE), offset, notes: [] };
  }
  const known = times.filter((time) => !Number.isNaN(time.wall));
  if (known.length && known.every((time) => time.offset !== null && time.wall % DAY === 0)) {
    const message =
      `The times of ${name} are midnights with several UTC offsets, and were read as the dates of their own clock; pass ` +
      "timezone= for a timezone.";
    return { wall, offset: null, notes: [{ code: "local-midnights", severity: "info", message }] };
  }
  const aware = [...times.keys()].filter((i) => times[i]!.offset !== null && !Number.isNaN(wall[i]!));
  const instants = { wall: Float64Array.from(aware, (i) => utc[i]!), offset: 0 };
  const zone = EXCHANGE_ZONES.find((one) => toWall(instants, one).every((stamp, k) => stamp === wall[aware[k]!]));
  const option = zone ? `timezone='${zone}' (its offsets agree)` : "timezone=";
  const message = `The times of ${name} have several UTC offsets and were converted to UTC; pass ${option} for a wall clock.`;
  return { wall: utc, offset: 0, notes: [{ code: "several-offsets", severity: "warning", message }] };
}

/** Epoch seconds or milliseconds. */
function parseNumbers(cells: readonly string[], name: string, now: number): ParsedTimes {
  const numbers = Float64Array.from(cells, (cell) => (NUMBER.test(cell) ? Number(cell) : NaN));
  const finite = numbers.filter(Number.isFinite);
  const example = cells.find((cell) => NUMBER.test(cell))!;
  const typical = median(finite.map(Math.abs));
  if (finite.every(Number.isInteger) && isCalendarNumber(typical)) throw refuseNumbers(example, name);
  const units = new Set([...finite].map(unitOf).filter((unit) => unit !== null));
  const unit = unitOf(typical);
  if (unit === null) {
    const hint = typical > 20_000 && typical < 80_000 ? " (day numbers of a spreadsheet? format them as dates)" : "";
    throw new DataError(
      `The time column of ${name} holds numbers such as ${general(finite[0]!, 12)} that are not times${hint}; use ISO ` +
        "dates such as 2024-01-31 09:30, or epoch milliseconds.",
    );
  }
  if (units.size > 1 || (unit !== "s" && unit !== "ms")) throw refuseNumbers(example, name);
  const factor = unit === "s" ? SECOND : 1;
  const utc = numbers.map((number) => {
    const stamp = Math.round(number * factor * 1e6) / 1e6;
    return inRange(stamp) ? stamp : NaN;
  });
  const known = utc.filter((stamp) => !Number.isNaN(stamp)).sort();
  const middle = known[known.length >> 1];
  if (middle !== undefined && middle > now + FUTURE_EPOCH) {
    const steps = known.slice(1).map((stamp, i) => stamp - known[i]!);
    const first = new Date(known[0]!).toISOString();
    throw new DataError(
      `The times of ${name} are not ${unit} since 1970: read as such, the first is ${first.slice(0, 10)} ` +
        `${first.slice(11, 16)} and they are ${general(steps.length ? median(steps) / SECOND : 0)} s apart. Other clocks, ` +
        "such as .NET ticks, count from another date: convert the column with pd.to_datetime(…, unit=…, origin=…), or " +
        "write dates.",
    );
  }
  const message = `The times of ${name} are epoch numbers (${unit}) and were read as UTC.`;
  return { wall: utc, offset: 0, notes: [{ code: "epoch-times", severity: "info", message }] };
}

function unitOf(number: number): "s" | "ms" | "us" | "ns" | null {
  const units = ["s", "ms", "us", "ns"] as const;
  return units.find((_, i) => number >= 1e8 * 1000 ** i && number < 1e11 * 1000 ** i) ?? null;
}

/** Whether a number is a date such as 20240131, with or without its time of day, or shorter. */
function isCalendarNumber(number: number): boolean {
  const digits = number.toFixed(0);
  if ([4, 6, 7].includes(digits.length)) return true;
  if (![8, 12, 14, 17].includes(digits.length)) return false;
  const [year, month, day] = [digits.slice(0, 4), digits.slice(4, 6), digits.slice(6, 8)].map(Number) as number[];
  return year! >= 1900 && year! < 2100 && month! >= 1 && month! <= 12 && day! >= 1 && day! <= 31;
}

function refuseNumbers(example: string, name: string): DataError {
  return new DataError(
    `The times of ${name} are numbers such as ${truncate(example)}, which are not read here: write ISO dates such as ` +
      "2024-01-31 09:30, or epoch seconds or milliseconds.",
  );
}

/** The refusal of dates in another notation; in Python's words if their order is open. */
function refuseDates(filled: readonly string[], other: string, name: string, now: number): DataError {
  const parts = filled.map((cell) => YEAR_LAST.exec(cell)?.slice(1, 4));
  const dates = parts.flatMap((part) => (part ? [part] : []));
  if (dates.length < filled.length || !dates.length) {
    return new DataError(
      `The times of ${name} are in a notation that is not read here ('${truncate(other)}'): write them like ` +
        "2024-01-31 09:30, or as epoch seconds or milliseconds.",
    );
  }
  const long = dates.every((part) => part[2]!.length === 4);
  const example = dates[0]!.map(Number).join("/");
  const orders = long ? (["dmy", "mdy"] as const) : (["mdy", "dmy", "ymd"] as const);
  const found = orders.map((order) => ({ order, days: dates.map((part) => dayIn(part.map(Number), order, now)) }));
  const valid = (days: readonly number[]): number => days.filter((day) => !Number.isNaN(day)).length;
  const best = Math.max(...found.map(({ days }) => valid(days)));
  if (best < 0.95 * dates.length) {
    const named = joinNames(
      orders.map((order) => ORDER_NAMES[order]),
      4,
      "or",
    );
    return new DataError(
      `The dates of ${name} mix ${named} ('${example}'); write them as YYYY-MM-DD, or give date_format=.`,
    );
  }
  const complete = found.filter(({ days }) => valid(days) === best);
  const past = complete.filter(({ days }) => !days.some((day) => day > now + FUTURE_DATE));
  const possible = (past.length ? past : complete).map(({ order }) => order);
  const named = possible.map((order) => ORDER_NAMES[order]).join(" or ");
  if (possible.length === 1) {
    return new DataError(
      `The dates of ${name} are ${named} ('${example}'), which are not read here: write them as YYYY-MM-DD.`,
    );
  }
  const options = possible.map((order) => {
    const format = ORDER_FORMATS[order];
    return `date_format='${long ? format : format.replace("%Y", "%y")}'`;
  });
  return new DataError(
    `The dates of ${name} can be read as ${named} ('${example}'): write them as YYYY-MM-DD, or give ` +
      `${options.join(" or ")}.`,
  );
}

type Order = "dmy" | "mdy" | "ymd";
const ORDER_NAMES: Readonly<Record<Order, string>> = { dmy: "day-first", mdy: "month-first", ymd: "year-first" };
const ORDER_FORMATS: Readonly<Record<Order, string>> = { dmy: "%d/%m/%Y", mdy: "%m/%d/%Y", ymd: "%Y/%m/%d" };

/** Midnight of a date in an order, NaN if there is none; years of two digits do not lie in the future. */
function dayIn(parts: readonly number[], order: Order, now: number): number {
  const [year, month, day] = (["y", "m", "d"] as const).map((unit) => parts[order.indexOf(unit)]!) as number[];
  const at = (full: number): number => {
    const date = new Date(Date.UTC(full, month! - 1, day));
    return date.getUTCMonth() === month! - 1 && date.getUTCDate() === day ? date.getTime() : NaN;
  };
  if (year! >= 100) return at(year!);
  const latest = at(year! + 2000);
  return latest > now + FUTURE_DATE ? at(year! + 1900) : latest;
}
