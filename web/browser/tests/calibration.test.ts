import { describe, expect, it } from "vitest";

import shipped from "../../../src/kronos/zoo/bundled/kronos-nano/model/calibration.json";
import cases from "../../../tests/golden/browser/calibration.json";
import other from "../../../tests/golden/browser/other_calibration.json";
import { applyCalibration, differenceFrom, parseCalibration } from "../src/calibration";
import { CHANNELS, CLOSE } from "../src/candles";
import { DEFAULT_SAMPLING } from "../src/sampling";
import { sortedQuantile } from "../src/statistics";
import { expectClose, flat } from "./golden";

const CALIBRATIONS = { shipped: parseCalibration(shipped), other: parseCalibration(other) };
const LEVELS = [0.025, 0.1, 0.5, 0.9, 0.975];

describe("calibration", () => {
  it.each(cases)("$calibration moves $samples paths of group $group as Python does", (one) => {
    const calibration = CALIBRATIONS[one.calibration as keyof typeof CALIBRATIONS];
    const raw = { ...one, paths: flat(one.raw) };
    const corrected = applyCalibration(calibration, raw, one.group);
    expectClose(corrected, flat(one.corrected));
    const horizon = corrected.length / (one.samples * CHANNELS);
    const quantiles = LEVELS.map((level) =>
      Array.from({ length: horizon }, (_, step) => {
        const closes = Float64Array.from(
          { length: one.samples },
          (_, s) => corrected[(s * horizon + step) * CHANNELS + CLOSE]!,
        );
        return sortedQuantile(closes.sort(), level);
      }),
    );
    expectClose(flat(quantiles), flat(one.quantiles));
  });

  it("is for one model and sampling", () => {
    const { weights } = CALIBRATIONS.shipped;
    expect(differenceFrom(CALIBRATIONS.shipped, weights, DEFAULT_SAMPLING)).toBe("");
    expect(differenceFrom(CALIBRATIONS.shipped, { model: "other", tokenizer: null }, DEFAULT_SAMPLING)).toBe(
      "weights differ",
    );
    expect(differenceFrom(CALIBRATIONS.shipped, weights, { ...DEFAULT_SAMPLING, topP: 0.9 })).toBe(
      "sampling differs (temperature 1, top_k 0, top_p 1; temperature 1, top_k 0, top_p 0.9)",
    );
  });

  it.each([
    ["another file", { kind: "forecast" }, "This is not a saved calibration"],
    ["a newer format", { ...shipped, format: 2 }, "This has calibration format 2; this version reads format 1"],
    ["a missing curve", { ...shipped, curves: { ...shipped.curves, drift: undefined } }, "or it is damaged"],
    ["pooling", { ...shipped, parts: ["pooling"] }, "The calibration pools with a baseline"],
  ])("refuses %s", (_, content, message) => {
    expect(() => parseCalibration(content)).toThrow(message);
  });
});
