import { describe, expect, it } from "vitest";

import type { PredictRequest } from "../../src/api/types";
import { command, curl, python, shellQuote, type SnippetContext } from "../../src/snippets";

const REQUEST: PredictRequest = {
  file_path: "sample:simulated_btc_1h",
  lookback: 400,
  pred_len: 120,
  temperature: 1,
  top_p: 1,
  sample_count: 100,
  seed: null,
  calibrate: true,
  as_of: null,
};
const CONTEXT: SnippetContext = {
  fileName: "btc 1h.csv",
  model: "kronos-nano",
  interval: "1h",
  server: "http://127.0.0.1:5000",
  withKey: false,
};

describe("command", () => {
  it("states no more than differs from the defaults", () => {
    expect(command(REQUEST, CONTEXT)).toBe("kronos forecast --demo --horizon 120 --lookback 400 --plot forecast.png");
  });

  it("quotes names, and repeats reading options, sampling and the replay", () => {
    const request: PredictRequest = {
      ...REQUEST,
      file_path: "upload:abc",
      decimal: ",",
      thousands: "",
      columns: { close: "Last Price" },
      sample_count: 50,
      temperature: 0.8,
      top_p: 0.9,
      seed: 7,
      calibrate: false,
      as_of: "2025-01-30T12:00:00Z",
    };
    expect(command(request, { ...CONTEXT, model: "kronos-small" })).toBe(
      "kronos forecast 'btc 1h.csv' --decimal , --thousands '' --column 'close=Last Price' --horizon 120 --lookback 400 " +
        "--samples 50 --temperature 0.8 --top-p 0.9 --seed 7 --no-calibrate --as-of 2025-01-30T12:00:00Z --model kronos-small --plot forecast.png",
    );
  });

  it("fetches the candles of an exchange first", () => {
    const [fetch, forecast] = command({ ...REQUEST, file_path: "asset:BTC" }, CONTEXT).split("\n");
    expect(fetch).toBe("kronos data fetch BTC --interval 1h --output btc_1h.csv");
    expect(forecast).toContain("kronos forecast btc_1h.csv ");
  });

  it("does not take a file name for an option, nor run what is in it", () => {
    expect(command({ ...REQUEST, file_path: "upload:a" }, { ...CONTEXT, fileName: "-rf.csv" })).toContain(
      "forecast ./-rf.csv ",
    );
    expect(shellQuote("a'; rm x; 'b")).toBe("'a'\\''; rm x; '\\''b'");
    expect(shellQuote("")).toBe("''");
  });
});

describe("python", () => {
  it("reads, cuts for a replay, and forecasts", () => {
    const text = python(
      { ...REQUEST, file_path: "btc.csv", seed: 7, as_of: "2025-01-30T12:00:00" },
      { ...CONTEXT, fileName: "btc.csv" },
    );
    expect(text).toContain('candles = kronos.read_candles("btc.csv")');
    expect(text).toContain(
      'model.forecast(candles.until("2025-01-30T12:00:00"), horizon=120, lookback=400, samples=100, seed=7)',
    );
  });

  it("leaves the calibration out where bands are raw", () => {
    expect(python({ ...REQUEST, calibrate: false, top_p: 0.9 }, CONTEXT)).toContain(
      "sampling=kronos.SamplingParams(temperature=1, top_p=0.9), calibration=False)",
    );
  });
});

describe("curl", () => {
  it("sends the request as the page does, with a key from the environment", () => {
    const text = curl({ ...REQUEST, columns: {} }, { ...CONTEXT, withKey: true });
    expect(text.split("\n")[0]).toBe("curl http://127.0.0.1:5000/api/predict \\");
    expect(text).toContain('-H "X-API-Key: $KRONOS_KEY"');
    const body = JSON.parse(/-d '(.*)'$/.exec(text)![1]!) as Record<string, unknown>;
    expect(body).toEqual({
      file_path: "sample:simulated_btc_1h",
      lookback: 400,
      pred_len: 120,
      temperature: 1,
      top_p: 1,
      sample_count: 100,
      calibrate: true,
    });
  });
});
