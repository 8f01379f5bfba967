import { describe, expect, it } from "vitest";

import shipped from "../../../src/kronos/zoo/bundled/kronos-nano/model/calibration.json";
import cases from "../../../tests/golden/browser/forecasts.json";
import { parseCalibration } from "../src/calibration";
import type { Candles } from "../src/candles";
import { readCandles } from "../src/csv/read";
import { forecast, type ForecastOptions } from "../src/forecast";
import { expectClose, flat } from "./golden";
import { StubSessions, type StubOptions } from "./stub";

const CALIBRATION = parseCalibration(shipped);
const [FIRST] = cases;

function stub(one: (typeof cases)[number]): StubSessions {
  return new StubSessions(one as StubOptions);
}

function candlesOf(one: (typeof cases)[number]): Candles {
  return readCandles(one.text, { symbol: one.symbol });
}

describe("forecasts", () => {
  it.each(cases)("of $samples paths by $normalisation are Python's", async (one) => {
    const sessions = stub(one);
    const options = { horizon: one.horizon, samples: one.samples, seed: one.seed };
    const raw = await forecast({ sessions, calibration: null }, candlesOf(one), options);
    expect(raw.timestamps).toEqual(one.timestamps);
    expect(raw.repaired).toBeCloseTo(one.repaired, 12);
    expectClose(flat(raw.quantiles(one.levels)), flat(one.raw));
    expectClose(raw.paths.slice(-6 * one.horizon), flat(one.rawPath));
    const corrected = await forecast({ sessions, calibration: CALIBRATION }, candlesOf(one), options);
    expect(corrected.metadata.calibration?.group).toBe(one.group);
    expectClose(flat(corrected.quantiles(one.levels)), flat(one.corrected));
    expectClose(corrected.paths.slice(-6 * one.horizon), flat(one.correctedPath));
  });

  it("read the history once, and pass each sample's own rows", async () => {
    const sessions = stub(FIRST!);
    const done: number[][] = [];
    await forecast({ sessions, calibration: null }, candlesOf(FIRST!), {
      horizon: 3,
      samples: 150,
      seed: 1,
      progress: (...counts) => done.push(counts),
    });
    expect(sessions.calls).toEqual([
      [1, 60, 0, 0],
      [128, 1, 60, 0],
      [128, 1, 60, 1],
      [22, 1, 60, 0],
      [22, 1, 60, 1],
    ]);
    expect(done.at(-1)).toEqual([450, 450]);
  });

  it("end between two steps when they are aborted", async () => {
    const controller = new AbortController();
    const sessions = stub(FIRST!);
    const options = { horizon: 200, samples: 5, seed: 1, signal: controller.signal };
    // Another task of the thread, as the message of a page is: it has to get its turn.
    setTimeout(() => controller.abort(), 0);
    await expect(forecast({ sessions, calibration: null }, candlesOf(FIRST!), options)).rejects.toThrow("abort");
    expect(sessions.calls.length).toBeLessThan(200);
  });

  it("summarise their last step and their middle", async () => {
    const result = await forecast({ sessions: stub(FIRST!), calibration: null }, candlesOf(FIRST!), {
      samples: 30,
      seed: 5,
    });
    const last = result.channel("close").filter((_, i) => i % 24 === 23);
    expect(result.upsideProbability().count).toBe(last.filter((close) => close > result.lastClose).length);
    expect(result.representative()).toBeLessThan(30);
  });

  it("keep the first paths when there are more", async () => {
    const model = { sessions: stub(FIRST!), calibration: null };
    const few = await forecast(model, candlesOf(FIRST!), { horizon: 2, samples: 3, seed: 5 });
    const many = await forecast(model, candlesOf(FIRST!), { horizon: 2, samples: 9, seed: 5 });
    expect(many.paths.slice(0, few.paths.length)).toEqual(few.paths);
  });

  it("without volume have none", async () => {
    const candles = { ...candlesOf(FIRST!), hasVolume: false };
    const result = await forecast({ sessions: stub(FIRST!), calibration: null }, candles, { horizon: 2, samples: 2 });
    expect([...result.channel("volume"), ...result.channel("amount")].every((value) => value === 0)).toBe(true);
  });

  it.each<[ForecastOptions, string]>([
    [{ horizon: 0 }, "Invalid horizon 0: choose at least 1 candle, as a whole number."],
    [{ horizon: 510 }, "Invalid horizon 510: with a context of 512 candles, of which the model needs at least 8"],
    [{ lookback: 3 }, "Invalid lookback 3: choose at least 8 candles, as a whole number."],
    [{ samples: 0 }, "Invalid samples 0"],
    [{ seed: 0.5 }, "Invalid seed 0.5"],
    [
      { calibration: true, sampling: { topP: 0.9 } },
      "The calibration was fitted for other forecasts: sampling differs",
    ],
    [{ calendar: "XNYS" }, "There is no calendar 'XNYS' in this package"],
    [{ timestamps: [1] }, "There are 1 timestamps for a horizon of 24: pass one per candle."],
  ])("refuse %o", async (options, message) => {
    const model = { sessions: stub(FIRST!), calibration: CALIBRATION };
    await expect(forecast(model, candlesOf(FIRST!), options)).rejects.toThrow(message);
  });

  it("need some history, in order", async () => {
    const model = { sessions: stub(FIRST!), calibration: null };
    const candles = candlesOf(FIRST!);
    const few = { ...candles, times: { wall: candles.times.wall.slice(0, 3), offset: null } };
    await expect(forecast(model, { ...few, values: candles.values.slice(0, 18) })).rejects.toThrow(
      "SIM has 3 candles: a forecast needs at least 8.",
    );
    await expect(forecast(model, few)).rejects.toThrow("Candles need 6 values for each of 3 times; got 360.");
    const wall = candles.times.wall.toReversed();
    await expect(forecast(model, { ...candles, times: { wall, offset: null } })).rejects.toThrow("strictly increasing");
  });
});
