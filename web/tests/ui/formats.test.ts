import { describe, expect, it } from "vitest";

import {
  candleTime,
  change,
  compact,
  dateTime,
  duration,
  intervalSeconds,
  isoTime,
  parseTime,
  percent,
  price,
} from "../../src/formats";

describe("numbers", () => {
  it("have the digits of the tick size and the groups of the language", () => {
    expect(price(66829, 1, "en")).toBe("66,829.0");
    expect(price(0.00001234, 8, "zh")).toBe("0.00001234");
  });

  it("are short as K, M, B in English and 万, 亿 in Chinese", () => {
    expect([1234, 1.5e6, 2.25e9].map((value) => compact(value, "en"))).toEqual(["1.23K", "1.5M", "2.25B"]);
    expect([1234, 1.5e6, 2.25e9].map((value) => compact(value, "zh"))).toEqual(["1234", "150万", "22.5亿"]);
  });

  it("carry an arrow and a sign with a change", () => {
    expect(change(0.0123, "en")).toBe("▲ +1.23%");
    expect(change(-0.0123, "en")).toBe("▼ −1.23%");
    expect(change(0, "en")).toBe("■ 0.00%");
    expect(percent(0.4975, 0, "en")).toBe("50%");
  });
});

describe("times", () => {
  // 2026-11-01 05:30 UTC and an hour later are both 01:30 in New York: the hour repeats.
  const first = Date.UTC(2026, 10, 1, 5, 30) / 1000;

  it("are ISO in the zone shown, also across the end of daylight saving", () => {
    expect(dateTime(first, "America/New_York")).toBe("2026-11-01 01:30");
    expect(dateTime(first + 3600, "America/New_York")).toBe("2026-11-01 01:30");
    expect(dateTime(first + 7200, "America/New_York")).toBe("2026-11-01 02:30");
    expect(dateTime(first, "UTC")).toBe("2026-11-01 05:30");
  });

  it("show the date alone for candles of a day", () => {
    expect(candleTime(Date.UTC(2026, 0, 2) / 1000, "UTC", 86_400)).toBe("2026-01-02");
    expect(candleTime(Date.UTC(2026, 0, 2) / 1000, "UTC", 3600)).toBe("2026-01-02 00:00");
  });

  it("go to the server and back, with and without a zone", () => {
    expect(isoTime(first, false)).toBe("2026-11-01T05:30:00Z");
    expect(isoTime(first, true)).toBe("2026-11-01T05:30:00");
    for (const text of [
      "2026-11-01T05:30:00Z",
      "2026-11-01T05:30:00",
      "2026-11-01 05:30:00",
      "2026-11-01T00:30:00-05:00",
    ])
      expect(parseTime(text)).toBe(first);
    expect(parseTime("2026-11-01")).toBe(Date.UTC(2026, 10, 1) / 1000);
  });

  it("count intervals and countdowns", () => {
    expect(["1m", "15min", "1h", "4h", "1d", "1w", "x"].map(intervalSeconds)).toEqual([
      60, 900, 3600, 14_400, 86_400, 604_800, 0,
    ]);
    expect([5, 65, 3905, 273_600].map(duration)).toEqual(["0:05", "1:05", "1:05:05", "3 d 4 h"]);
  });
});
