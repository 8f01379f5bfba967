/** The time axis: ticks fall on the round times of the chart's time zone, while the candles keep their UTC times. */

import {
  defaultHorzScaleBehavior,
  type IHorzScaleBehavior,
  type Mutable,
  type TickMark,
  type TickMarkWeightValue,
  type Time,
  type TimeScalePoint,
} from "lightweight-charts";
import { ZoneClock } from "./time_zone";

const DAY = 86_400;

/** Weights of the drawing library: marks of a greater weight are placed first, and those from a day on are bold. */
export const WEIGHT = { none: 0, second: 10, minute: 20, hour: 30, day: 50, month: 60, year: 70 } as const;

/** Periods in seconds with the weight of a mark that starts one, the longest first. */
const PERIODS: readonly (readonly [seconds: number, weight: number])[] = [
  [12 * 3600, 33],
  [6 * 3600, 32],
  [3 * 3600, 31],
  [3600, WEIGHT.hour],
  [1800, 22],
  [300, 21],
  [60, WEIGHT.minute],
  [1, WEIGHT.second],
];

/** Weight of the tick at `time` after the candle at `previous`: the longest period of the zone's clock that begins between. */
export function tickWeight(previous: number, time: number, clock: ZoneClock): number {
  const before = clock.wall(previous);
  const now = clock.wall(time);
  if (Math.floor(before / DAY) !== Math.floor(now / DAY)) {
    const old = new Date(before * 1000);
    const date = new Date(now * 1000);
    if (old.getUTCFullYear() !== date.getUTCFullYear()) return WEIGHT.year;
    return old.getUTCMonth() !== date.getUTCMonth() ? WEIGHT.month : WEIGHT.day;
  }
  const weight = periodWeight(before, now);
  if (now - before === time - previous) return weight;
  // The clock was changed between the two candles. In the repeated hour it shows the same times again: count UTC hours.
  return Math.max(weight, Math.min(periodWeight(previous, time), WEIGHT.hour));
}

function periodWeight(before: number, now: number): number {
  for (const [seconds, weight] of PERIODS) {
    if (Math.floor(before / seconds) !== Math.floor(now / seconds)) return weight;
  }
  return WEIGHT.none;
}

const UtcTimeScale = defaultHorzScaleBehavior();

/** Horizontal scale of the library with ticks in a time zone. Times are UTC epoch seconds. */
export class ZonedTimeScale extends UtcTimeScale implements IHorzScaleBehavior<Time> {
  private clock = new ZoneClock("UTC");
  private label = tickLabels(this.clock, "en");

  /** For points that come after this call: the axis does not weigh again those that it has. */
  setZone(clock: ZoneClock, locale: string): void {
    this.clock = clock;
    this.label = tickLabels(clock, locale);
  }

  override formatTickmark(mark: TickMark): string {
    return this.label(mark.originalTime as number, mark.weight);
  }

  override fillWeightsForPoints(points: readonly Mutable<TimeScalePoint>[], startIndex: number): void {
    const first = points[0];
    const last = points.at(-1);
    if (first === undefined || last === undefined) return;
    // `time` of a point is internal to the library and renamed in its production build; `originalTime` is public.
    for (let index = Math.max(startIndex, 1); index < points.length; index++) {
      const point = points[index]!;
      const previous = points[index - 1]!.originalTime as number;
      point.timeWeight = tickWeight(previous, point.originalTime as number, this.clock) as TickMarkWeightValue;
    }
    if (startIndex === 0) {
      const start = first.originalTime as number;
      const step = points.length > 1 ? ((last.originalTime as number) - start) / (points.length - 1) : DAY;
      first.timeWeight = tickWeight(start - Math.ceil(step), start, this.clock) as TickMarkWeightValue;
    }
  }
}

/** Texts of the ticks in a language and time zone, by time and weight. */
export function tickLabels(clock: ZoneClock, locale: string): (time: number, weight: number) => string {
  // Wall clocks are formatted as if they were UTC, which is what `ZoneClock.wall` returns.
  const format = (options: Intl.DateTimeFormatOptions) =>
    new Intl.DateTimeFormat(locale, { ...options, timeZone: "UTC" });
  const month = format({ month: "short" });
  const clockTime = format({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const clockSeconds = format({ hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const zoneName = new Intl.DateTimeFormat(locale, { timeZone: clock.zone, timeZoneName: "short" });
  return (time, weight) => {
    const wall = new Date(clock.wall(time) * 1000);
    if (weight >= WEIGHT.year) return String(wall.getUTCFullYear());
    if (weight >= WEIGHT.month) return month.format(wall);
    if (weight >= WEIGHT.day) return String(wall.getUTCDate());
    const text = (weight >= WEIGHT.minute ? clockTime : clockSeconds).format(wall);
    if (!clock.repeated(time)) return text;
    const name = zoneName.formatToParts(time * 1000).find((part) => part.type === "timeZoneName");
    return name === undefined ? text : `${text} ${name.value}`;
  };
}

/** Short name of a zone for the corner of the axis: the place, such as "New York". */
export function zonePlace(zone: string): string {
  return (zone.split("/").at(-1) ?? zone).replaceAll("_", " ");
}
