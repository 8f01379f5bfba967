import { describe, expect, it } from "vitest";

import { canResample, resample } from "../../src/chart/resampling";
import { ZoneClock } from "../../src/chart/time_zone";
import type { CandleColumns } from "../../src/chart/types";

const HOUR = 3600;
const DAY = 86_400;
const UTC = new ZoneClock("UTC");

/** Candles from a start, one each `seconds`: the close of candle i is 100 + i, its volume 1. */
function candles(start: string, seconds: number, count: number): CandleColumns {
  const time = Array.from({ length: count }, (_, index) => Date.parse(start) / 1000 + index * seconds);
  return {
    time,
    open: time.map((_, index) => 99 + index),
    high: time.map((_, index) => 101 + index),
    low: time.map((_, index) => 98 + index),
    close: time.map((_, index) => 100 + index),
    volume: time.map(() => 1),
  };
}

function starts(columns: CandleColumns): string[] {
  return columns.time.map((time) => new Date(time * 1000).toISOString().slice(0, 16));
}

describe("intervals", () => {
  it("are whole multiples that lie on the grid of days or weeks", () => {
    const longer = (short: number) =>
      [60, 300, 900, HOUR, 4 * HOUR, DAY, 7 * DAY].filter((one) => canResample(short, one));
    expect(longer(300)).toEqual([900, HOUR, 4 * HOUR, DAY, 7 * DAY]);
    expect(longer(3 * HOUR)).toEqual([DAY, 7 * DAY]);
    expect(longer(7 * HOUR)).toEqual([]);
    expect(longer(DAY)).toEqual([7 * DAY]);
    expect(longer(2 * DAY)).toEqual([]);
    expect(longer(0)).toEqual([]);
  });
});

describe("longer candles", () => {
  it("have the first open, the extremes, the last close and the sum of volume", () => {
    const long = resample(candles("2026-01-05T00:00Z", HOUR, 10), 4 * HOUR, UTC);
    expect(starts(long)).toEqual(["2026-01-05T00:00", "2026-01-05T04:00", "2026-01-05T08:00"]);
    expect(long.open).toEqual([99, 103, 107]);
    expect(long.high).toEqual([104, 108, 110]);
    expect(long.low).toEqual([98, 102, 106]);
    expect(long.close).toEqual([103, 107, 109]);
    expect(long.volume).toEqual([4, 4, 2]);
  });

  it("are weeks from Monday", () => {
    const long = resample(candles("2026-01-01T00:00Z", DAY, 14), 7 * DAY, UTC);
    expect(starts(long)).toEqual(["2026-01-01T00:00", "2026-01-05T00:00", "2026-01-12T00:00"]);
  });

  it("are days of the zone, also where its clock is changed", () => {
    const newYork = new ZoneClock("America/New_York");
    const long = resample(candles("2026-10-31T04:00Z", HOUR, 24 + 25 + 24), DAY, newYork);
    expect(starts(long)).toEqual(["2026-10-31T04:00", "2026-11-01T04:00", "2026-11-02T05:00"]);
    expect(long.volume).toEqual([24, 25, 24]);
  });

  it("keep the two hours that are called the same in autumn apart", () => {
    const newYork = new ZoneClock("America/New_York");
    const long = resample(candles("2026-11-01T05:00Z", 1800, 4), HOUR, newYork);
    expect(starts(long)).toEqual(["2026-11-01T05:00", "2026-11-01T06:00"]);
  });

  it("open when their session does", () => {
    const newYork = new ZoneClock("America/New_York");
    const long = resample(candles("2026-06-01T13:30Z", 1800, 13), 4 * HOUR, newYork);
    expect(starts(long)).toEqual(["2026-06-01T13:30", "2026-06-01T16:00"]);
  });

  it("leave out a first one that began before the candles, and candles without prices", () => {
    const part = candles("2026-01-05T02:00Z", HOUR, 8);
    part.close[3] = NaN;
    part.volume![4] = NaN;
    expect(starts(resample(part, 4 * HOUR, UTC))).toEqual(["2026-01-05T02:00", "2026-01-05T04:00", "2026-01-05T08:00"]);
    const long = resample(part, 4 * HOUR, UTC, true);
    expect(starts(long)).toEqual(["2026-01-05T04:00", "2026-01-05T08:00"]);
    expect(long.volume).toEqual([2, 2]);
    expect(resample({ ...part, volume: null }, 4 * HOUR, UTC).volume).toBeNull();
  });
});
