/** Future timestamps of a history, the clock that a model reads, and the market that a calibration has factors for. */

import { datedClock, fromWall, saturdayShare, toWall, type ClockZone } from "./clocks";
import { detectCalendar, fitCalendar, type CalendarCandidate, type CalendarName } from "./detection";
import { CalendarError, ParameterError } from "../errors";
import { isIntraday, type Interval } from "../intervals";
import { formatTime, timeFeatures, zoneName, type Times } from "../times";

/** `inferred`: the times repeat the history's own pattern; `given`: the caller passed them. */
export type Basis = "calendar" | "inferred" | "given";

export interface FutureTimes {
  readonly times: Times;
  readonly calendar: CalendarName | "given";
  readonly basis: Basis;
  /** One sentence for people. */
  readonly note: string;
  readonly clock: MarketClock;
  /** Market of the calibration's groups; null if the calendar belongs to none. */
  readonly market: string | null;
}

/** What a model reads minutes, hours, weekdays and dates from. */
export interface MarketClock {
  readonly zone: ClockZone;
  /** One sentence if the clock is uncertain, else empty. */
  readonly note: string;
}

const UNKNOWN_ZONE = [
  "The exchange's timezone is unknown, so times of day are read as they are written",
  ": if its clock is another, give its timezone, for example --timezone America/New_York (timezone= in Python).",
] as const;
const WEEKENDS = 0.05; // share of candles on Saturdays, from which on a market does not close at weekends

/**
 * The times that follow a history.
 *
 * @param calendar `24/7` or `inferred`; null to detect it.
 * @param given Milliseconds of the clock of the history's times, one per step; null to compute them.
 */
export function futureTimes(
  history: Times,
  interval: Interval,
  horizon: number,
  calendar: string | null,
  given: Float64Array | null = null,
): FutureTimes {
  const candidate = calendar === null ? detectCalendar(history, interval) : fitCalendar(calendar, history, interval);
  const inferred = candidate.name === "inferred" || (candidate.name === "24/7" && candidate.note !== "");
  const clock = clockOf(candidate, history, interval);
  const market = inferred ? null : candidate.name === "FX" ? "fx" : "crypto";
  if (given) {
    checkGiven(given, history, horizon);
    const times = { wall: given, offset: history.offset };
    const name = calendar === null ? "given" : candidate.name;
    return { times, calendar: name, basis: "given", note: "Timestamps as given by the caller.", clock, market };
  }
  return {
    times: { wall: nextTimes(candidate, history, horizon), offset: history.offset },
    calendar: candidate.name,
    basis: inferred ? "inferred" : "calendar",
    note: describe(candidate, calendar === null),
    clock,
    market,
  };
}

/** Calendar features of times on a market's clock. `[T, 5]` */
export function marketFeatures(times: Times, clock: MarketClock): BigInt64Array {
  return timeFeatures(toWall(times, clock.zone));
}

function checkGiven(given: Float64Array, history: Times, horizon: number): void {
  if (given.length !== horizon) {
    throw new ParameterError(`There are ${given.length} timestamps for a horizon of ${horizon}: pass one per candle.`);
  }
  const end = history.wall[history.wall.length - 1]!;
  if (!given.every((stamp, i) => stamp > (i ? given[i - 1]! : end))) {
    throw new ParameterError(`The timestamps must increase and begin after ${formatTime(end, history.offset)}.`);
  }
}

/** The next times on the history's clock. */
function nextTimes({ after, zone }: CalendarCandidate, history: Times, horizon: number): Float64Array {
  const end = history.wall[history.wall.length - 1]!;
  const start = toWall({ wall: Float64Array.of(end), offset: history.offset }, zone)[0]!;
  for (let extra = 0; extra <= horizon + 10_000; extra = 2 * extra + 8) {
    // Changes of daylight saving time can merge two stamps into one.
    const stamps = fromWall(after(start, horizon + extra), zone, history.offset);
    let highest = end;
    const times = stamps.filter((stamp) => stamp > highest && ((highest = stamp), true));
    if (times.length >= horizon) return times.slice(0, horizon);
  }
  throw new CalendarError(`No ${horizon} times follow ${formatTime(end, history.offset)} in this calendar.`);
}

function describe({ name, note }: CalendarCandidate, detected: boolean): string {
  const details = note ? ` (${note})` : "";
  if (name === "inferred") {
    return `Future times repeat the history's own pattern${details}; holidays are not known.`;
  }
  return `Future times follow the calendar ${name}, ${detected ? "detected from the history" : "as given"}${details}.`;
}

function clockOf(candidate: CalendarCandidate, history: Times, interval: Interval): MarketClock {
  const dated = isIntraday(interval) ? undefined : datedClock(history);
  if (dated !== undefined) return { zone: dated, note: "" };
  const aware = history.offset !== null;
  if (candidate.name !== "inferred") return { zone: aware ? "UTC" : null, note: "" };
  if (!isIntraday(interval)) return { zone: null, note: "" };
  if (saturdayShare(history.wall) > WEEKENDS) return { zone: aware ? "UTC" : null, note: "" };
  return { zone: null, note: UNKNOWN_ZONE.join(aware ? ` (${zoneName(history.offset)})` : "") };
}
