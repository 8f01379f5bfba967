import { describe, expect, it } from "vitest";
import {
  barsOf,
  concatenate,
  indexOfTime,
  lowerBound,
  NO_CANDLES,
  sessionStarts,
  tickSize,
  unionTimes,
  usualInterval,
  withActual,
} from "../../src/chart/candles";
import { candleItems } from "../../src/chart/price_series";
import { volumeBars } from "../../src/chart/volume_series";
import { readingAt, spokenReading } from "../../src/chart/crosshair";
import type { CandleColumns, ForecastOverlay } from "../../src/chart/types";

function candles(times: number[], start = 100, volume = true): CandleColumns {
  return {
    time: times,
    open: times.map((_, index) => start + index),
    high: times.map((_, index) => start + index + 2),
    low: times.map((_, index) => start + index - 1),
    close: times.map((_, index) => start + index + 1),
    volume: volume ? times.map((_, index) => 10 * (index + 1)) : null,
  };
}

describe("columns", () => {
  it("searches times", () => {
    expect(lowerBound([1, 3, 5], 4)).toBe(2);
    expect(lowerBound([1, 3, 5], 6)).toBe(3);
    expect(indexOfTime([1, 3, 5], 3)).toBe(1);
    expect(indexOfTime([1, 3, 5], 4)).toBe(-1);
  });

  it("joins times", () => {
    expect(unionTimes([1, 3, 5], [3, 4, 9])).toEqual([1, 3, 4, 5, 9]);
    expect(unionTimes([], [2])).toEqual([2]);
  });

  it("concatenates, with a volume that only one part has", () => {
    const joined = concatenate(candles([1, 2], 100, false), candles([3]));
    expect(joined.time).toEqual([1, 2, 3]);
    expect(joined.volume).toEqual([NaN, NaN, 10]);
    expect(concatenate(NO_CANDLES, candles([3]))).toEqual(candles([3]));
    expect(concatenate(candles([1], 100, false), candles([2], 100, false)).volume).toBeNull();
  });

  it("continues the history with the actual candles of a replay", () => {
    const shown = withActual(candles([1, 2, 3, 4]), candles([3, 4, 5], 500));
    expect(shown.time).toEqual([1, 2, 3, 4, 5]);
    expect(shown.open).toEqual([100, 101, 500, 501, 502]);
    const history = candles([1, 2]);
    expect(withActual(history, null)).toBe(history);
    expect(withActual(history, NO_CANDLES)).toBe(history);
  });

  it("finds the usual interval past gaps", () => {
    expect(usualInterval([0, 60, 120, 180, 9000, 9060])).toBe(60);
    expect(usualInterval([5])).toBeNull();
  });

  it.each([
    [[101.25, 99.5], 0.01],
    [[Math.fround(1.23), Math.fround(1.5)], 0.01],
    [[60000.12], 0.01],
    [[7, 8], 1],
  ])("takes the price step of %j as %d", (close, step) => {
    expect(tickSize({ ...candles(close.map((_, index) => index)), close })).toBeCloseTo(step, 10);
  });

  it("finds session breaks at new days only", () => {
    const wall = (time: number): number => time;
    const day = 86_400;
    const lunch = [0, 1800, 3600, 9000, 10_800];
    expect(sessionStarts([...lunch, day, day + 1800], 1800, wall)).toEqual([day]);
    expect(sessionStarts([0, day, 4 * day], day, wall)).toEqual([]);
  });
});

describe("bars of volume", () => {
  it("have a gap between them, and leave out what is missing", () => {
    const bars = volumeBars([1, NaN, 3], 0, 3, 10, (candle) => 5 + 10 * candle);
    expect(bars).toEqual([
      { left: 0, width: 9, candle: 0 },
      { left: 20, width: 9, candle: 2 },
    ]);
  });

  it("show the largest volume of the candles that share a pixel", () => {
    const bars = volumeBars([1, 7, 3, 2, 2, 5], 0, 6, 1 / 3, (candle) => (candle + 0.5) / 3);
    expect(bars).toEqual([
      { left: 0, width: 1, candle: 1 },
      { left: 1, width: 1, candle: 5 },
    ]);
  });

  it("follow the axis where forecasts have times between the candles", () => {
    expect(barsOf([1, 2, 4], [1, 2, 4, 5])).toBeNull();
    expect(barsOf([1, 2, 4], [1, 2, 3, 4, 5])).toEqual([0, 1, 3]);
  });
});

describe("items of the series", () => {
  it("leave holes where a price is missing", () => {
    const holed = candles([1, 2]);
    holed.close[1] = NaN;
    expect(candleItems(holed)[1]).toEqual({ time: 2 });
  });
});

describe("readings", () => {
  it("have the candle and the close before it", () => {
    const reading = readingAt(2, candles([1, 2]), []);
    expect(reading).toEqual({
      time: 2,
      candle: { open: 101, high: 103, low: 100, close: 102, volume: 20 },
      previousClose: 101,
      forecasts: [],
    });
    expect(readingAt(1, candles([1, 2]), []).previousClose).toBeNull();
  });

  it("are spoken as sentences", () => {
    const messages = {
      candleSentence: () => "candle.",
      forecastSentence: () => "forecast.",
      dateTime: (time: number) => `at ${time}`,
    };
    const overlay: ForecastOverlay = {
      id: "nano",
      label: "kronos-nano",
      colour: "#000",
      dash: [],
      origin: { time: 1, close: 101 },
      time: [2, 3],
      bands: [],
      median: [1, 2],
      central: null,
      paths: [],
    };
    const spoken = (time: number) => spokenReading(readingAt(time, candles([1, 2]), [overlay]), [overlay], messages);
    expect([1, 2, 3, 4].map(spoken)).toEqual(["candle.", "candle. forecast.", "forecast.", "at 4"]);
  });

  it("skip holes", () => {
    const holed = candles([1, 2, 3]);
    holed.close[1] = NaN;
    expect(readingAt(2, holed, []).candle).toBeNull();
    expect(readingAt(3, holed, []).previousClose).toBe(101);
  });
});
