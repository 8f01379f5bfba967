/**
 * Sampling of tokens by inverting the distribution function at given uniform numbers, as Python's
 * `kronos.inference.sampling.CounterBasedSampler`.
 *
 * Probabilities are rounded to float32 where Python rounds them, and cumulated in float64. Exponentials are rounded
 * correctly here, and to within one unit in the last place there: a token differs only if its uniform number lies within
 * about 1e-7 of the border between two tokens.
 */

import { ParameterError } from "./errors";
import { general } from "./formatting";

export const MAX_SAMPLES = 100_000;
const LEAST_TEMPERATURE = 1e-30; // logits divided by less could exceed float32
const BELOW_ONE = 1 - 2 ** -53;
const round = Math.fround;

/** How sample paths are drawn from the model's distribution. */
export interface SamplingParams {
  /** Divisor of the logits, > 0; 1 leaves the learnt distribution unchanged. */
  readonly temperature: number;
  /** If above 0, keep only logits not below the k-th largest, and ignore `topP`. */
  readonly topK: number;
  /** If below 1, drop tokens once more probable ones exceed this probability mass. */
  readonly topP: number;
}

export const DEFAULT_SAMPLING: SamplingParams = { temperature: 1, topK: 0, topP: 1 };

/** Throws a `ParameterError` if a value is out of range. */
export function checkSampling({ temperature, topK, topP }: SamplingParams, samples: number): void {
  if (!(temperature >= LEAST_TEMPERATURE && temperature < Infinity)) {
    throw new ParameterError(
      `Invalid temperature ${temperature}: choose a number above 0 (at least ${general(LEAST_TEMPERATURE)}), ` +
        "or topK: 1 for the most probable tokens.",
    );
  }
  if (!Number.isInteger(topK) || topK < 0) {
    throw new ParameterError(`Invalid topK ${topK}: choose 1 or more, or 0 for no limit.`);
  }
  if (!(topP > 0 && topP <= 1)) {
    throw new ParameterError(`Invalid topP ${topP}: choose a number above 0 and at most 1 (1: no filter).`);
  }
  if (!Number.isInteger(samples) || samples < 1 || samples > MAX_SAMPLES) {
    throw new ParameterError(`Invalid samples ${samples}: choose a whole number, 1–${MAX_SAMPLES}.`);
  }
}

/**
 * One token per sample.
 *
 * @param logits `[1, vocabulary]` while samples share them, `[samples, vocabulary]` afterwards.
 * @param uniforms In [0, 1). `[samples]`
 */
export function sampleTokens(
  logits: Float32Array,
  vocabulary: number,
  uniforms: Float64Array,
  params: SamplingParams,
): BigInt64Array {
  const tokens = new BigInt64Array(uniforms.length);
  const shared = logits.length === vocabulary;
  let cdf = shared ? distribution(logits, params) : new Float64Array();
  uniforms.forEach((uniform, s) => {
    if (!shared) cdf = distribution(logits.subarray(s * vocabulary, (s + 1) * vocabulary), params);
    tokens[s] = BigInt(firstAbove(cdf, Math.min(round(uniform), BELOW_ONE) * cdf[vocabulary - 1]!));
  });
  return tokens;
}

/** The distribution function over the tokens, not necessarily ending at exactly 1. */
function distribution(logits: Float32Array, params: SamplingParams): Float64Array {
  const filtered = filterLogits(logits, params);
  const highest = maximum(filtered);
  const size = filtered.length;
  const cdf = new Float64Array(size);
  let sum = 0;
  // Plain loops: a forecast takes millions of exponentials, and callbacks would cost more than these.
  for (let i = 0; i < size; i++) {
    const weight = round(Math.exp(round(filtered[i]! - highest)));
    cdf[i] = weight;
    sum += weight;
  }
  const total = round(sum);
  let mass = 0;
  for (let i = 0; i < size; i++) {
    mass += round(cdf[i]! / total);
    cdf[i] = mass;
  }
  return cdf;
}

/** Logits divided by the temperature, −∞ where a token is filtered out. */
function filterLogits(logits: Float32Array, { temperature, topK, topP }: SamplingParams): Float32Array {
  const divisor = round(temperature);
  const scaled = temperature === 1 ? logits : logits.map((logit) => logit / divisor);
  if (topK === 0 && topP === 1) return scaled;
  const descending = scaled.slice().sort().reverse();
  const threshold = topK > 0 ? descending[Math.min(topK, scaled.length) - 1]! : nucleusThreshold(descending, topP);
  return scaled.map((logit) => (logit < threshold ? -Infinity : logit));
}

/** The smallest logit that top-p keeps: the last one whose predecessors' mass does not exceed it. */
function nucleusThreshold(descending: Float32Array, topP: number): number {
  const highest = descending[0]!;
  let sum = 0;
  for (const logit of descending) sum += round(Math.exp(round(logit - highest)));
  const total = round(highest + round(Math.log(round(sum))));
  let mass = 0;
  let kept = 1;
  for (; kept < descending.length; kept++) {
    mass += round(Math.exp(round(descending[kept - 1]! - total)));
    if (round(mass) > round(topP)) break;
  }
  return descending[kept - 1]!;
}

function maximum(values: Float32Array): number {
  let highest = -Infinity;
  for (let i = 0; i < values.length; i++) if (values[i]! > highest) highest = values[i]!;
  return highest;
}

/** Index of the first value above a number, in increasing values. */
function firstAbove(values: Float64Array, number: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle]! > number) high = middle;
    else low = middle + 1;
  }
  return low;
}
