import { describe, expect, it } from "vitest";

import { snippet } from "../src/snippet";

const FILE = {
  number: 1,
  symbol: "btc",
  named: false,
  interval: "1h",
  offset: null,
  candles: { time: [], open: [], high: [], low: [], close: [], volume: null },
  findings: [],
};
const RESULT = {
  answer: { metadata: { model: "kronos-nano", lookback: 232 } },
  settings: {
    horizon: 24,
    samples: 30,
    seed: 7,
    temperature: 1,
    topP: 1,
    calendar: null,
    calibrate: true,
    market: null,
  },
  source: { name: "btc.csv", content: new Blob(), simulated: false },
  file: FILE,
  reading: {},
};

describe("the same numbers with Python", () => {
  it("take the file's name in the command, and its symbol in Python", () => {
    expect(snippet("command", RESULT)).toBe(
      "kronos forecast btc.csv --horizon 24 --lookback 232 --samples 30 --seed 7 --plot forecast.png",
    );
    expect(snippet("python", RESULT)).toContain('kronos.read_candles("btc.csv", symbol="btc")');
    expect(snippet("python", { ...RESULT, file: { ...FILE, named: true } })).toContain('read_candles("btc.csv")');
  });

  it("repeat options, calendar, market and raw bands", () => {
    const changed = {
      ...RESULT,
      settings: { ...RESULT.settings, calendar: "inferred", market: "us_equity", calibrate: false },
      reading: { columns: { close: "Last Price" }, decimal: "." as const },
    };
    const command = snippet("command", changed);
    for (const part of ["--calendar inferred", "--decimal .", "--no-calibrate", "--column 'close=Last Price'"]) {
      expect(command).toContain(part);
    }
    expect(snippet("python", { ...RESULT, settings: { ...RESULT.settings, market: "fx" } })).toContain('market="fx"');
  });

  it("of the sample need no file", () => {
    const sample = { ...RESULT, source: { ...RESULT.source, simulated: true } };
    expect(snippet("command", sample)).toContain("kronos forecast --demo");
    expect(snippet("python", sample)).toContain('symbol="BTC simulated"');
  });
});
