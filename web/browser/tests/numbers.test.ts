import { describe, expect, it } from "vitest";

import normalisationCases from "../../../tests/golden/browser/normalisation.json";
import randomCases from "../../../tests/golden/browser/random.json";
import repairCases from "../../../tests/golden/browser/repair.json";
import samplingCases from "../../../tests/golden/browser/sampling.json";
import { fitScaler, normalise, type Normalisation } from "../src/normalisation";
import { blake2b, keyedUniforms } from "../src/random";
import { repairCandles } from "../src/repair";
import { checkSampling, sampleTokens, type SamplingParams } from "../src/sampling";
import { estimateProbability, medoid } from "../src/statistics";
import { expectClose, flat, type Nested } from "./golden";

describe("random numbers", () => {
  it.each(randomCases)(
    "of seed $seed are Python's, bit for bit",
    ({ seed, series, first, count, horizon, uniforms }) => {
      expect([...keyedUniforms(BigInt(seed), series, { first, count }, horizon)]).toEqual(uniforms);
    },
  );

  it("hash the example of RFC 7693", () => {
    const digest = blake2b(new TextEncoder().encode("abc"), 64);
    const text = [...digest.slice(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    expect(text).toBe("ba80a53f981c4d0d");
  });
});

describe("sampling", () => {
  it.each(samplingCases)("with temperature $temperature, top-k $topK and top-p $topP draws Python's tokens", (one) => {
    const tokens = sampleTokens(
      Float32Array.from(one.logits),
      one.vocabulary,
      Float64Array.from(one.uniforms),
      one as SamplingParams,
    );
    expect([...tokens].map(Number)).toEqual(one.tokens);
  });

  it.each([
    [{ temperature: 0, topK: 0, topP: 1 }, 10, "Invalid temperature 0: choose a number above 0 (at least 1e-30)"],
    [{ temperature: 1, topK: -1, topP: 1 }, 10, "Invalid topK -1: choose 1 or more, or 0 for no limit."],
    [{ temperature: 1, topK: 0, topP: 0 }, 10, "Invalid topP 0"],
    [{ temperature: 1, topK: 0, topP: 1 }, 0, "Invalid samples 0: choose a whole number, 1–100000."],
  ])("refuses %o with %d samples", (params, samples, message) => {
    expect(() => checkSampling(params, samples)).toThrow(message);
  });
});

describe("normalisation", () => {
  it.each(normalisationCases)("of $name by $normalisation is Python's", (one) => {
    const values = flat(one.values);
    const scaler = fitScaler(values, one.normalisation as Normalisation);
    expectClose(scaler.transform(values), flat(one.transformed), { size: 1 });
    expectClose(scaler.inverse(flat(one.after)), flat(one.restored));
    expectClose(scaler.inverseLast(flat(one.after[0]!)), flat(one.last));
    // Rounded to float32, numbers that differ in the last digit of float64 may differ in the last digit of float32.
    expectClose(normalise(values, one.clip, one.normalisation as Normalisation).x, flat(one.x), { relative: 1.2e-7 });
  });

  it("refuses prices without a spread in float32, and those below 0", () => {
    const candle = (price: number): Float64Array => Float64Array.of(price, price, price, price, 1, 1);
    expect(() => normalise(candle(1e-40), 5, "spread")).toThrow("Prices near 1e-40 are too small to be normalised");
    expect(() => normalise(candle(-1), 5, "changes")).toThrow("A price is not above 0");
  });
});

describe("repair", () => {
  it.each(repairCases)("of $name paths is Python's", ({ raw, repaired, share }) => {
    const result = repairCandles(flat(raw as Nested), raw.length);
    expect([...result.paths]).toEqual([...flat(repaired)]);
    expect(result.share).toBe(share);
  });

  it("refuses a path without any price", () => {
    const path = Float64Array.of(NaN, NaN, NaN, NaN, 1, 1);
    expect(() => repairCandles(path, 1)).toThrow("Sample path 0 has no finite price");
  });
});

describe("statistics", () => {
  it.each([
    [0, 30, 0.016129032258064516, 0, 0.11351339317396876],
    [17, 30, 0.5645161290322581, 0.3919730700081361, 0.7262251442353347],
    [30, 30, 0.9838709677419355, 0.8864866068260312, 1],
  ])("estimate the probability of %i of %i paths as Python does", (count, paths, value, low, high) => {
    expectClose([estimateProbability(count, paths)].map((one) => [one.value, one.low, one.high]).flat(), [
      value,
      low,
      high,
    ]);
  });

  it("find the path that is nearest to the others", () => {
    expect(medoid(Float64Array.of(100, 101, 103, 100, 99, 98, 101, 102, 102.5, 99, 101, 100.5), 4)).toBe(3);
  });
});
