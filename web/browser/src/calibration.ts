/**
 * Application of the calibration that ships with a model, as Python's `kronos.calibration`.
 *
 * Its file is fitted and validated by the Python package; a calibration that pools with a baseline is not applied here.
 */

import { AMOUNT, CHANNELS, CLOSE, HIGH, LOW, OPEN, VOLUME } from "./candles";
import { DataError, ParameterError } from "./errors";
import type { SamplingParams } from "./sampling";
import { clamp, interpolate, mean, median } from "./statistics";
import { CENTRE, LOWER, UPPER, rescale, shiftBands, shrinkDrift } from "./transforms";

const KIND = "kronos calibration";
const FORMAT = 1;
const PARTS = ["anchor", "drift", "dispersion", "conformal"] as const;
type Part = (typeof PARTS)[number];
const CANDLE_SCALES = [1 / 8, 8] as const; // limits of the scaling of a candle's gaps and wicks

/** A factor at some steps, for all groups together and for each group. */
interface Curve {
  readonly knots: readonly number[];
  readonly pooled: readonly number[];
  readonly groups: Readonly<Record<string, readonly number[]>>;
}

/** A calibration as `calibration.json` holds it. */
export interface Calibration {
  readonly parts: readonly Part[];
  readonly curves: Readonly<Record<string, Curve>>;
  readonly sampling: Readonly<Record<string, unknown>> | null;
  /** SHA-256 of the weights of the model and of its tokenizer; null if unknown. */
  readonly weights: { readonly model: string | null; readonly tokenizer: string | null };
  /** Groups of the fit, such as `crypto 1h`. */
  readonly fittedGroups: readonly string[];
}

/** Read the content of a `calibration.json`. */
export function parseCalibration(content: unknown): Calibration {
  const invalid = new DataError("This is not a saved calibration, or it is damaged: save it again.");
  if (!isRecord(content) || content.kind !== KIND) throw invalid;
  if (content.format !== FORMAT) {
    throw new DataError(
      `This has calibration format ${String(content.format)}; this version reads format ${FORMAT}: update kronos, or ` +
        "fit the calibration again with 'kronos calibrate'.",
    );
  }
  const { parts, curves, identity, fitted_on: fittedOn } = content;
  if (!Array.isArray(parts) || !isRecord(curves) || !isRecord(identity) || !isRecord(fittedOn)) throw invalid;
  if (parts.includes("pooling")) {
    throw new ParameterError("The calibration pools with a baseline, which is only available in the Python package.");
  }
  const needed = PARTS.filter((part) => parts.includes(part));
  const names = needed.flatMap((part) => (part === "conformal" ? [...LOWER, ...UPPER] : [part]));
  if (needed.length !== parts.length || !names.every((name) => name in curves)) throw invalid;
  if (!Object.values(curves).every(isCurve) || !isRecord(fittedOn.groups)) throw invalid;
  return {
    parts: needed,
    curves: curves as Record<string, Curve>,
    sampling: isRecord(identity.sampling) ? identity.sampling : null,
    weights: { model: textOrNull(identity.sha256), tokenizer: textOrNull(identity.tokenizer_sha256) },
    fittedGroups: Object.keys(fittedOn.groups),
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function textOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function isCurve(value: unknown): value is Curve {
  if (!isRecord(value) || !isNumbers(value.knots) || !isRecord(value.groups)) return false;
  const { knots } = value;
  const ascending = knots.length > 0 && knots.every((knot, i) => knot >= 1 && (i === 0 || knot > knots[i - 1]!));
  const factors = [value.pooled, ...Object.values(value.groups)];
  return ascending && factors.every((values) => isNumbers(values) && values.length === knots.length);
}

function isNumbers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((number) => Number.isFinite(number));
}

/** How the forecasts of a calibration's fit differ from others; empty if they do not. */
export function differenceFrom(
  calibration: Calibration,
  weights: Calibration["weights"],
  sampling: SamplingParams,
): string {
  const differ = (one: string | null, other: string | null): boolean => one !== null && other !== null && one !== other;
  if (differ(calibration.weights.model, weights.model)) return "weights differ";
  if (differ(calibration.weights.tokenizer, weights.tokenizer)) return "tokenizers differ";
  const used: Record<string, number> = {
    temperature: sampling.temperature,
    top_k: sampling.topK,
    top_p: sampling.topP,
  };
  const fitted = calibration.sampling;
  if (fitted && Object.keys(used).some((name) => fitted[name] !== used[name])) {
    return `sampling differs (${formatSampling(fitted)}; ${formatSampling(used)})`;
  }
  return "";
}

function formatSampling(sampling: Readonly<Record<string, unknown>>): string {
  return Object.entries(sampling)
    .map(([name, value]) => `${name} ${String(value)}`)
    .join(", ");
}

/** The group if it has its own factors. */
export function knownGroup({ curves }: Calibration, group: string | null): string | null {
  return group !== null && Object.values(curves).some((curve) => group in curve.groups) ? group : null;
}

/** Valid candles, and what a calibration needs to know of the forecast. */
export interface RawPaths {
  /** `[S, H, 6]` */
  readonly paths: Float64Array;
  readonly samples: number;
  readonly lastClose: number;
  /** Log ratio of the last close as the tokenizer reconstructs it to the actual one; null if unknown. */
  readonly levelError: number | null;
}

/** Correct a forecast by moving whole candles. `[S, H, 6]` */
export function applyCalibration(calibration: Calibration, raw: RawPaths, group: string | null): Float64Array {
  if (!calibration.parts.length) return raw.paths;
  const { samples, lastClose } = raw;
  const horizon = raw.paths.length / (samples * CHANNELS);
  const old = new Float64Array(samples * horizon);
  old.forEach((_, i) => (old[i] = Math.log(raw.paths[i * CHANNELS + CLOSE]! / lastClose)));
  const moved = new Float64Array(old.length);
  for (let step = 0; step < horizon; step++) {
    const values = Float64Array.from({ length: samples }, (_, s) => old[s * horizon + step]!);
    const order = [...values.keys()].sort((a, b) => values[a]! - values[b]!);
    const corrected = applyParts(
      calibration,
      Float64Array.from(order, (s) => values[s]!),
      step + 1,
      group,
      raw.levelError ?? 0,
    );
    order.forEach((s, rank) => (moved[s * horizon + step] = corrected[rank]!));
  }
  const anchored = calibration.parts.includes("anchor") && raw.levelError !== null;
  const opening = anchored ? raw.levelError * factorAt(calibration, "anchor", 1, group) : 0;
  return moveCandles(raw, old, moved, opening);
}

function factorAt(calibration: Calibration, name: string, step: number, group: string | null): number {
  const curve = calibration.curves[name]!;
  const own = group !== null && Object.hasOwn(curve.groups, group) ? curve.groups[group]! : curve.pooled;
  return interpolate(Math.log(step), curve.knots.map(Math.log), own);
}

/** Apply all parts to the ordered values of one step. */
function applyParts(
  calibration: Calibration,
  ordered: Float64Array,
  step: number,
  group: string | null,
  levelError: number,
): Float64Array {
  const factor = (name: string): number => factorAt(calibration, name, step, group);
  let values = ordered;
  for (const part of calibration.parts) {
    if (part === "anchor") {
      const shift = factor(part) * levelError;
      values = values.map((value) => value - shift);
    } else if (part === "drift") values = shrinkDrift(values, factor(part));
    else if (part === "dispersion") values = rescale(values, factor(part));
    else {
      const centre = CENTRE in calibration.curves ? factor(CENTRE) : 0;
      values = shiftBands(values, [...LOWER, ...UPPER].map(factor), centre);
    }
  }
  return values;
}

/**
 * Move the candles of a forecast to new closes: gaps and wicks keep their lengths in logs, scaled by the change of the
 * spread of the paths' steps; the volume is unchanged, and the amount changes with the mean price.
 *
 * @param old Cumulative log returns of the closes. `[S, H]`
 * @param moved The new ones.
 * @param opening Correction of the first opening gap in logs.
 */
function moveCandles(raw: RawPaths, old: Float64Array, moved: Float64Array, opening: number): Float64Array {
  if (opening === 0 && moved.every((value, i) => value === old[i])) return raw.paths;
  const { paths, samples, lastClose } = raw;
  const horizon = old.length / samples;
  const scale = spreadRatio(old, moved, samples);
  const result = new Float64Array(paths.length);
  for (let i = 0; i < old.length; i++) {
    const step = i % horizon;
    const row = i * CHANNELS;
    const [open, high, low, close] = [OPEN, HIGH, LOW, CLOSE].map((c) => paths[row + c]!) as [
      number,
      number,
      number,
      number,
    ];
    const before = step ? paths[row - CHANNELS + CLOSE]! : lastClose;
    const shiftBefore = step ? moved[i - 1]! - old[i - 1]! : -scale[0]! * opening;
    const newOpen = open * Math.exp(shiftBefore + (scale[step]! - 1) * Math.log(open / before));
    const newClose = close * Math.exp(moved[i]! - old[i]!);
    const upper = Math.log(high / Math.max(open, close)) * scale[step]!;
    const lower = Math.log(Math.min(open, close) / low) * scale[step]!;
    const newHigh = Math.max(newOpen, newClose) * Math.exp(upper);
    const newLow = Math.min(newOpen, newClose) * Math.exp(-lower);
    const ratio = (newOpen + newHigh + newLow + newClose) / (open + high + low + close);
    result.set([newOpen, newHigh, newLow, newClose, paths[row + VOLUME]!, paths[row + AMOUNT]! * ratio], row);
  }
  return result;
}

/** Ratio of the new to the old spread of each step's returns over the paths, 1 without spread. `[H]` */
function spreadRatio(old: Float64Array, moved: Float64Array, samples: number): Float64Array {
  const before = stepSpread(old, samples);
  const after = stepSpread(moved, samples);
  return before.map((spread, step) => clamp(spread > 0 ? after[step]! / spread : 1, ...CANDLE_SCALES));
}

function stepSpread(cumulative: Float64Array, samples: number): Float64Array {
  const horizon = cumulative.length / samples;
  return Float64Array.from({ length: horizon }, (_, step) => {
    const steps = Float64Array.from({ length: samples }, (_, s) => {
      const i = s * horizon + step;
      return cumulative[i]! - (step ? cumulative[i - 1]! : 0);
    });
    const middle = median(steps);
    return mean(steps.map((value) => Math.abs(value - middle)));
  });
}
