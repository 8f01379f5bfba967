import { describe, expect, it } from "vitest";

import cases from "../../../tests/golden/browser/calendars.json";
import { futureTimes, marketFeatures } from "../src/calendar/future";
import { CalendarError } from "../src/errors";
import type { Interval } from "../src/intervals";

const HOURLY = { count: 1, unit: "h" } as const;
const HOURS = { wall: Float64Array.from({ length: 200 }, (_, i) => Date.UTC(2024, 0, 1) + i * 3_600_000), offset: 0 };

describe("calendars", () => {
  it.each(cases.filter(({ refused }) => !refused))("continue $name as Python does", (one) => {
    const history = { wall: Float64Array.from(one.wall), offset: one.offset };
    const future = futureTimes(history, one.interval as Interval, one.future.length, one.given);
    expect([...future.times.wall]).toEqual(one.future);
    expect(future.calendar).toBe(one.calendar);
    expect(future.basis).toBe(one.basis);
    expect(future.note).toBe(one.note);
    expect(future.clock.note).toBe(one.clockNote);
    expect(future.market).toBe(one.market);
    const recent = { wall: history.wall.slice(-5), offset: one.offset };
    expect([...marketFeatures(recent, future.clock)].map(Number)).toEqual(one.known);
    expect([...marketFeatures(future.times, future.clock)].map(Number)).toEqual(one.ahead);
  });

  it.each(cases.filter(({ refused }) => refused))("of $name are refused", (one) => {
    const history = { wall: Float64Array.from(one.wall), offset: one.offset };
    expect(() => futureTimes(history, one.interval as Interval, 3, null)).toThrow(CalendarError);
  });

  it("of exchanges are not known by name", () => {
    expect(() => futureTimes(HOURS, HOURLY, 3, "XNYS")).toThrow("There is no calendar 'XNYS' in this package");
  });

  it("are replaced by given times, which must follow the history", () => {
    const end = HOURS.wall[199]!;
    const given = Float64Array.of(end + 1000, end + 9000);
    const future = futureTimes(HOURS, HOURLY, 2, null, given);
    expect([future.times.wall, future.basis, future.market]).toEqual([given, "given", "crypto"]);
    expect(() => futureTimes(HOURS, HOURLY, 2, null, given.slice(1))).toThrow("pass one per candle");
    expect(() =>
      futureTimes(
        HOURS,
        HOURLY,
        2,
        null,
        given.map((stamp) => stamp - 5000),
      ),
    ).toThrow("must increase and begin after 2024-01-09 07:00:00+00:00");
  });

  it("end in 2200", () => {
    const years = { wall: HOURS.wall.map((stamp) => stamp + 175.9 * 365.25 * 86_400_000), offset: 0 };
    expect(() => futureTimes(years, HOURLY, 10_000, null)).toThrow("reaches beyond 2200");
  });
});
