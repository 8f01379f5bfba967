import { describe, expect, it } from "vitest";
import {
  bandAlphas,
  candleWidth,
  fastConverter,
  levelFormatter,
  spreadLabels,
  visiblePoints,
} from "../../src/chart/band_geometry";
import { isDark, mix, withAlpha } from "../../src/chart/colours";
import { readingAt } from "../../src/chart/crosshair";
import { forecastTimeline, quantilesAt, stepAt } from "../../src/chart/overlays";
import { barRange, futureRegions } from "../../src/chart/regions";
import { overlayProbes } from "../../src/chart/probes";
import { NO_CANDLES } from "../../src/chart/candles";
import type { ForecastOverlay } from "../../src/chart/types";

function overlay(changes: Partial<ForecastOverlay> = {}): ForecastOverlay {
  return {
    id: "nano",
    label: "kronos-nano",
    colour: "#5746d8",
    dash: [],
    origin: { time: 10, close: 100 },
    time: [20, 30],
    bands: [
      { level: 0.5, low: [99, 98], high: [101, 102] },
      { level: 0.95, low: [95, 90], high: [105, 110] },
    ],
    median: [100, 101],
    central: null,
    paths: [[100, 140]],
    ...changes,
  };
}

describe("timeline of overlays", () => {
  it("starts every line at the last close, with no width", () => {
    const { lines } = forecastTimeline([overlay()]);
    const line = lines[0]!;
    expect(line.positions).toEqual([0, 1, 2]);
    expect(line.bands.map((band) => band.level)).toEqual([0.95, 0.5]);
    expect(line.bands.map((band) => band.high[0]! - band.low[0]!)).toEqual([0, 0]);
    expect(line.median).toEqual([100, 100, 101]);
    expect(line.paths[0]).toEqual([100, 100, 140]);
  });

  it("spans the widest band and the central path, not single paths", () => {
    const central = { time: [20, 30], open: [1, 1], high: [120, 112], low: [99, 80], close: [1, 1], volume: null };
    const { rows } = forecastTimeline([overlay({ central })]);
    expect(rows.map(({ low, high }) => [low, high])).toEqual([
      [100, 100],
      [95, 120],
      [80, 112],
    ]);
    expect(forecastTimeline([overlay({ bands: [] })]).rows[2]).toEqual({ time: 30, low: 101, high: 140, value: 101 });
  });

  it("merges overlays that start at different times", () => {
    const earlier = overlay({
      id: "anchored",
      origin: { time: 0, close: 90 },
      time: [10, 20],
      median: [91, 92],
      bands: [],
      paths: [],
    });
    const { rows, lines } = forecastTimeline([overlay(), earlier]);
    expect(rows.map((row) => row.time)).toEqual([0, 10, 20, 30]);
    expect(lines.map((line) => line.positions)).toEqual([
      [1, 2, 3],
      [0, 1, 2],
    ]);
    expect(rows[1]).toEqual({ time: 10, low: 91, high: 100, value: 100 });
  });

  it("is empty without overlays", () => {
    expect(forecastTimeline([])).toEqual({ rows: [], lines: [] });
  });

  it("names quantiles by their probability", () => {
    expect(quantilesAt(overlay(), 1)).toEqual({ "0.025": 90, "0.25": 98, "0.5": 101, "0.75": 102, "0.975": 110 });
    expect(quantilesAt(overlay({ bands: [{ level: 0.8, low: [1, 2], high: [3, 4] }] }), 0)).toEqual({
      "0.1": 1,
      "0.5": 100,
      "0.9": 3,
    });
    expect(stepAt(overlay(), 30)).toBe(1);
    expect(readingAt(30, NO_CANDLES, [overlay()]).forecasts[0]!.id).toBe("nano");
    expect(readingAt(10, NO_CANDLES, [overlay()]).forecasts).toEqual([]);
  });
});

describe("geometry", () => {
  it("takes the visible points and one more on either side", () => {
    const indices = [10, 11, 12, 13, 14];
    expect(visiblePoints(indices, 11.5, 12.5)).toEqual({ start: 1, end: 4 });
    expect(visiblePoints(indices, 0, 20)).toEqual({ start: 0, end: 5 });
    expect(visiblePoints(indices, 10.2, 10.4)).toEqual({ start: 0, end: 2 });
    expect(visiblePoints(indices, 0, 9.9)).toEqual({ start: 0, end: 0 });
    expect(visiblePoints(indices, 15, 30)).toEqual({ start: 0, end: 0 });
  });

  it("shades inner bands darker", () => {
    const [outer, inner] = bandAlphas(2, 1);
    expect(inner).toBeGreaterThan(outer!);
    expect(bandAlphas(1, 3)[0]).toBeLessThan(outer!);
  });

  it("writes levels", () => {
    expect([0.5, 0.8, 0.975].map(levelFormatter("en"))).toEqual(["50%", "80%", "97.5%"]);
  });

  it("spreads labels without changing their order", () => {
    expect(spreadLabels([10, 50], 13, 0, 100)).toEqual([10, 50]);
    expect(spreadLabels([50, 40, 41], 10, 0, 100)).toEqual([
      53.666666666666664, 33.666666666666664, 43.666666666666664,
    ]);
    expect(spreadLabels([1, 2], 10, 0, 100)).toEqual([0, 10]);
    expect(spreadLabels([99, 98], 10, 0, 100)).toEqual([100, 90]);
  });

  it("converts prices linearly where the scale is linear", () => {
    let calls = 0;
    const linear = fastConverter((price) => (calls++, 200 - 2 * price), 10, 90)!;
    expect([10, 33, 120].map(linear)).toEqual([180, 134, -40]);
    expect(calls).toBe(3);
    const log = fastConverter((price) => -Math.log(price), 1, 100)!;
    expect(log(50)).toBeCloseTo(-Math.log(50));
    expect(fastConverter(() => null, 1, 2)).toBeNull();
  });

  it("sizes candles as the library does", () => {
    expect(candleWidth(3, 1)).toBe(3);
    expect(candleWidth(0.5, 2)).toBe(2);
    expect(candleWidth(20, 1)).toBeGreaterThan(14);
  });
});

describe("regions", () => {
  const messages = { dateTime: String, forecastStarts: (time: string) => `starts ${time}` };

  it("are one for each start of forecasts", () => {
    const short = overlay({ id: "short", time: [20] });
    const earlier = overlay({ id: "anchored", origin: { time: 0, close: 90 }, time: [10, 20] });
    expect(futureRegions([short, overlay(), earlier], [0, 10, 20, 30], messages)).toEqual([
      { first: 1, last: 3, colour: "#5746d8", label: "starts 10" },
      { first: 0, last: 2, colour: "#5746d8", label: "starts 0" },
    ]);
  });

  it("count bars beyond the axis in intervals", () => {
    const times = [0, 10, 20, 30];
    expect(barRange({ from: 5, to: 20 }, times, 10)).toEqual({ first: 1, last: 2 });
    expect(barRange({ from: 40, to: 70 }, times, 10)).toEqual({ first: 4, last: 7 });
    expect(barRange({ from: 20, to: 50 }, times, 10)).toEqual({ first: 2, last: 5 });
    expect(barRange({ from: 11, to: 12 }, times, 10)).toEqual({ first: 2, last: 2 });
  });
});

describe("probes", () => {
  it("name points of the last step", () => {
    const scale = { x: (time: number) => time, y: (price: number) => 200 - price };
    const probes = overlayProbes(forecastTimeline([overlay(), overlay({ id: "mini" })]).lines, scale);
    const find = (name: string) => probes.find((point) => point.name === name);
    expect(find("origin")).toEqual({ name: "origin", x: 10, y: 100 });
    expect(find("median-last")).toEqual({ name: "median-last", x: 30, y: 99 });
    expect(find("band-95-low-last")).toEqual({ name: "band-95-low-last", x: 30, y: 110 });
    expect(find("band-50-mid-last")).toEqual({ name: "band-50-mid-last", x: 30, y: 100 });
    expect(find("band-95-shade")).toEqual({ name: "band-95-shade", x: 25, y: 95.5 });
    expect(find("mini/origin")).toBeDefined();
  });

  it("leave out what is not drawn", () => {
    expect(overlayProbes(forecastTimeline([overlay()]).lines, { x: () => null, y: () => 1 })).toEqual([]);
  });
});

describe("colours", () => {
  it("are mixed and made translucent", () => {
    expect(withAlpha("#0f8", 0.5)).toBe("rgba(0, 255, 136, 0.5)");
    expect(mix("#000000", "#ffffff", 0.5)).toBe("rgb(128, 128, 128)");
    expect([isDark("#131722"), isDark("#ffffff")]).toEqual([true, false]);
  });
});
