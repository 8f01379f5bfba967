import type { Mutable, TickMark, TimeScalePoint } from "lightweight-charts";
import { describe, expect, it, vi } from "vitest";
import { tickLabels, tickWeight, WEIGHT, ZonedTimeScale, zonePlace } from "../../src/chart/time_scale";
import { ZoneClock } from "../../src/chart/time_zone";

const HOUR = 3600;
const utc = (...parts: [number, number, number, number?, number?]): number => {
  const [year, month, day, hour = 0, minute = 0] = parts;
  return Date.UTC(year, month - 1, day, hour, minute) / 1000;
};
const newYork = new ZoneClock("America/New_York");

/** Offset by the plain way: the zone's clock read field by field. */
function plainOffset(zone: string): (time: number) => number {
  const numeric = "numeric" as const;
  const date = { year: numeric, month: numeric, day: numeric };
  const clock = { hour: numeric, minute: numeric, second: numeric, hourCycle: "h23" as const };
  const format = new Intl.DateTimeFormat("en-US", { timeZone: zone, ...date, ...clock });
  return (time) => {
    const [month, day, year, hour, minute, second] = format
      .format(time * 1000)
      .match(/\d+/g)!
      .map(Number);
    return Date.UTC(year!, month! - 1, day, hour, minute, second) / 1000 - time;
  };
}

describe("ZoneClock", () => {
  it.each([
    "America/New_York",
    "Europe/London",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Asia/Shanghai",
    "Africa/Casablanca",
    "UTC",
  ])("agrees with the zone's clock in %s", (zone) => {
    const clock = new ZoneClock(zone);
    const offset = plainOffset(zone);
    for (let time = utc(2023, 1, 1); time < utc(2027, 1, 1); time += 11 * HOUR + 1800) {
      expect(clock.offset(time)).toBe(offset(time));
    }
  });

  it("changes at the very second", () => {
    const end = utc(2026, 11, 1, 6);
    expect(newYork.offset(end - 1)).toBe(-4 * HOUR);
    expect(newYork.offset(end)).toBe(-5 * HOUR);
  });

  it("knows the repeated hour", () => {
    const hours = [4, 5, 6, 7].map((hour) => newYork.repeated(utc(2026, 11, 1, hour)));
    expect(hours).toEqual([false, false, true, false]);
    expect(newYork.repeated(utc(2026, 3, 8, 7))).toBe(false);
  });

  it("refuses an unknown zone", () => {
    expect(() => new ZoneClock("Mars/Olympus")).toThrow(RangeError);
  });

  it("formats rarely: once a week, and about twenty times per change", () => {
    const format = vi.spyOn(Intl.DateTimeFormat.prototype as { format: unknown }, "format", "get");
    const clock = new ZoneClock("Europe/Berlin");
    for (let hour = 0; hour < 50_000; hour++) clock.offset(utc(2020, 1, 1) + hour * HOUR);
    expect(format.mock.calls.length).toBeLessThan(300 + 12 * 20);
    format.mockRestore();
  });
});

describe("tick weights", () => {
  const weights = (clock: ZoneClock, start: number, hours: number): number[] =>
    Array.from({ length: hours }, (_, hour) => tickWeight(start + (hour - 1) * HOUR, start + hour * HOUR, clock));

  it("begin days at the zone's midnight", () => {
    const found = weights(newYork, utc(2026, 10, 30, 4), 25);
    expect(found[0]).toBe(WEIGHT.day);
    expect(found[24]).toBe(WEIGHT.day);
    expect(found.slice(1, 24)).not.toContain(WEIGHT.day);
    expect(found[12]).toBe(33);
  });

  it("give every hour of the day on which the clock is put back a tick", () => {
    const found = weights(newYork, utc(2026, 11, 1, 4), 26);
    expect(found[0]).toBe(WEIGHT.month);
    expect(found.every((weight) => weight >= WEIGHT.hour)).toBe(true);
    expect(found[2]).toBe(WEIGHT.hour);
    expect(found[25]).toBe(WEIGHT.day);
  });

  it("begin the day 23 hours later when the clock is put forward", () => {
    const found = weights(newYork, utc(2026, 3, 8, 5), 24);
    expect(found[0]).toBe(WEIGHT.day);
    expect(found[23]).toBe(WEIGHT.day);
    expect(found[2]).toBe(31);
  });

  it("follow zones of half hours", () => {
    const kolkata = new ZoneClock("Asia/Kolkata");
    expect(tickWeight(utc(2026, 5, 3, 18), utc(2026, 5, 3, 18, 30), kolkata)).toBe(WEIGHT.day);
    expect(tickWeight(utc(2026, 5, 3, 18, 30), utc(2026, 5, 3, 19), kolkata)).toBe(22);
  });

  it("mark years and months", () => {
    const clock = new ZoneClock("UTC");
    expect(tickWeight(utc(2025, 12, 31), utc(2026, 1, 1), clock)).toBe(WEIGHT.year);
    expect(tickWeight(utc(2026, 1, 31), utc(2026, 2, 2), clock)).toBe(WEIGHT.month);
  });
});

describe("ZonedTimeScale", () => {
  const points = (times: number[]): Mutable<TimeScalePoint>[] =>
    times.map((originalTime) => ({ originalTime, timeWeight: -1 }) as unknown as Mutable<TimeScalePoint>);

  it("weighs all points, and later only the new ones", () => {
    const scale = new ZonedTimeScale();
    scale.setZone(newYork, "en");
    const axis = points([0, 1, 2].map((hour) => utc(2026, 10, 30, 3 + hour)));
    scale.fillWeightsForPoints(axis, 0);
    expect(axis.map((point) => point.timeWeight)).toEqual([WEIGHT.hour, WEIGHT.day, WEIGHT.hour]);
    axis[0]!.timeWeight = -1 as never;
    scale.fillWeightsForPoints(axis, 2);
    expect(axis[0]!.timeWeight).toBe(-1);
    expect(() => scale.fillWeightsForPoints([], 0)).not.toThrow();
  });

  it("labels ticks in the zone, and names the zone in the repeated hour", () => {
    const scale = new ZonedTimeScale();
    scale.setZone(newYork, "en-US");
    const label = (time: number, weight: number): string =>
      scale.formatTickmark({ originalTime: time, weight } as unknown as TickMark);
    expect(label(utc(2026, 11, 1, 5), WEIGHT.hour)).toBe("01:00");
    expect(label(utc(2026, 11, 1, 6), WEIGHT.hour)).toBe("01:00 EST");
    expect(label(utc(2026, 11, 1, 4), WEIGHT.month)).toBe("Nov");
    expect(label(utc(2026, 11, 2, 5), WEIGHT.day)).toBe("2");
    expect(label(utc(2026, 11, 2, 5), WEIGHT.year)).toBe("2026");
  });
});

it("labels months in the language", () => {
  expect(tickLabels(newYork, "zh-CN")(utc(2026, 11, 1, 4), WEIGHT.month)).toBe("11月");
});

it("shortens zones to their place", () => {
  expect(zonePlace("America/Argentina/Buenos_Aires")).toBe("Buenos Aires");
  expect(zonePlace("UTC")).toBe("UTC");
});
