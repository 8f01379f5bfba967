/** Forecasts of candles: sample paths of a model, as Python's `KronosPredictor.forecast` gives them. */

import { applyCalibration, differenceFrom, knownGroup, type Calibration } from "./calibration";
import { futureTimes, marketFeatures, type Basis, type FutureTimes } from "./calendar/future";
import {
  CHANNELS,
  CLOSE,
  COLUMNS,
  VOLUME,
  checkCandles,
  countCandles,
  lastValues,
  type Candles,
  type Column,
} from "./candles";
import { DataError, ParameterError } from "./errors";
import { formatInterval, type Interval } from "./intervals";
import { normalise, type Scaler } from "./normalisation";
import { keyedUniforms } from "./random";
import { repairCandles } from "./repair";
import { Rollout, type Prompt } from "./rollout";
import { DEFAULT_SAMPLING, checkSampling, type SamplingParams } from "./sampling";
import type { ModelSessions } from "./sessions";
import { checkLevels, estimateProbability, medoid, sortedQuantile, type Probability } from "./statistics";
import { formatTime, type Times } from "./times";

/** What a forecast is made with. */
export interface ForecastModel {
  readonly sessions: ModelSessions;
  /** The calibration that ships with the model. */
  readonly calibration: Calibration | null;
}

export interface ForecastOptions {
  /** Candles to forecast. */
  readonly horizon?: number;
  /** Number of sample paths; more of them do not change the first ones before calibration. */
  readonly samples?: number;
  /** Random numbers depend on it, the symbol, path and step; a random one by default. */
  readonly seed?: number | bigint;
  readonly sampling?: Partial<SamplingParams>;
  /** Maximum number of candles of history to use. */
  readonly lookback?: number;
  /** `24/7` or `inferred`; detected by default, and refused where that takes an exchange's calendar. */
  readonly calendar?: string;
  /** Times of the future candles, in milliseconds of the clock of the history's times. */
  readonly timestamps?: readonly number[];
  /** Whether to apply the model's calibration: by default if it is for this sampling; `true` to require it. */
  readonly calibration?: boolean;
  /** Market of the calibration's factors, such as `crypto`; by default inferred from the calendar. */
  readonly market?: string;
  /** Called with the number of generated candles of all paths and their total. */
  readonly progress?: (done: number, total: number) => void;
  /** Ends the forecast between two steps; with it, other tasks of the thread run between them. */
  readonly signal?: AbortSignal;
}

/** How a forecast was made. */
export interface ForecastMetadata {
  readonly model: string;
  readonly symbol: string;
  readonly interval: Interval;
  readonly seed: number | bigint;
  readonly sampling: SamplingParams;
  /** Candles of history that were used. */
  readonly lookback: number;
  readonly calendar: string;
  readonly basis: Basis;
  /** Applied corrections and their group of factors; null if the paths are raw. */
  readonly calibration: { readonly parts: readonly string[]; readonly group: string | null } | null;
  /** Log ratio of the last close as the tokenizer reconstructs it to the actual one; null if it is not positive. */
  readonly levelError: number | null;
  /** Caveats for the reader. */
  readonly notes: readonly string[];
}

const BATCH = 128; // sample paths that are decoded together
const DEFAULT_HORIZON = 24;
const DEFAULT_SAMPLES = 100;

/** Sample paths of the future of one series. */
export class Forecast {
  constructor(
    /** Valid candles in price units. `[samples, horizon, 6]` */
    readonly paths: Float64Array,
    readonly samples: number,
    /** Times of the future candles. */
    readonly times: Times,
    /** The last known close. */
    readonly lastClose: number,
    /** Share (0 to 1) of the sampled candles that had to be repaired. */
    readonly repaired: number,
    readonly metadata: ForecastMetadata,
  ) {}

  get horizon(): number {
    return this.times.wall.length;
  }

  /** The times as text, such as `2024-01-31 09:30:00+00:00`. */
  get timestamps(): string[] {
    return [...this.times.wall].map((stamp) => formatTime(stamp, this.times.offset));
  }

  /** All paths of one column. `[samples, horizon]` */
  channel(column: Column): Float64Array {
    const at = COLUMNS.indexOf(column);
    if (at < 0) throw new ParameterError(`Unknown channel '${String(column)}': choose from ${COLUMNS.join(", ")}.`);
    return Float64Array.from({ length: this.samples * this.horizon }, (_, i) => this.paths[i * CHANNELS + at]!);
  }

  /** Quantiles of one column at each step, at k / (samples + 1). `[levels][horizon]` */
  quantiles(levels: readonly number[] = [0.05, 0.5, 0.95], column: Column = "close"): number[][] {
    checkLevels(levels);
    const values = this.channel(column);
    const ordered = Array.from({ length: this.horizon }, (_, step) =>
      Float64Array.from({ length: this.samples }, (_, s) => values[s * this.horizon + step]!).sort(),
    );
    return levels.map((level) => ordered.map((sorted) => sortedQuantile(sorted, level)));
  }

  /** Probability that the close of the last step is above the last known one. */
  upsideProbability(): Probability {
    const closes = this.channel("close").filter((_, i) => i % this.horizon === this.horizon - 1);
    return estimateProbability(closes.filter((close) => close > this.lastClose).length, this.samples);
  }

  /** Index of the medoid: the path with the smallest total distance to the others in log close. */
  representative(): number {
    return medoid(this.channel("close"), this.samples);
  }
}

/**
 * Sample future candles of one series.
 *
 * @throws DataError if the candles cannot be used.
 * @throws CalendarError if the future times take an exchange's calendar.
 * @throws ParameterError if an option is out of range, or the calibration is required and missing or another model's.
 */
export async function forecast(
  model: ForecastModel,
  candles: Candles,
  options: ForecastOptions = {},
): Promise<Forecast> {
  const { manifest } = model.sessions;
  const horizon = options.horizon ?? DEFAULT_HORIZON;
  const samples = options.samples ?? DEFAULT_SAMPLES;
  const sampling = { ...DEFAULT_SAMPLING, ...options.sampling };
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 31);
  checkSampling(sampling, samples);
  checkSeed(seed);
  checkHorizon(horizon, manifest.context, manifest.leastHistory);
  checkCandles(candles);
  const calibration = resolveCalibration(model, options.calibration, sampling);
  const rows = usedRows(candles, horizon, options.lookback, manifest);
  const given = options.timestamps ? Float64Array.from(options.timestamps) : null;
  const future = futureTimes(candles.times, candles.interval, horizon, options.calendar ?? null, given);
  const values = lastValues(candles, rows);
  const { x, scaler } = normalise(values, manifest.clip, manifest.normalisation);
  const prompt = {
    tokens: await model.sessions.encode({ data: x, dims: [1, rows, CHANNELS] }),
    stamps: marketFeatures({ wall: candles.times.wall.slice(-rows), offset: candles.times.offset }, future.clock),
    futureStamps: marketFeatures(future.times, future.clock),
  };
  const request = { samples, seed, symbol: candles.symbol, sampling };
  const raw = await samplePaths(model.sessions, prompt, scaler, request, options);
  if (!candles.hasVolume) raw.paths.forEach((_, i) => (i % CHANNELS >= VOLUME ? (raw.paths[i] = 0) : undefined));
  const repaired = repairCandles(raw.paths, samples);
  const lastClose = values[values.length - CHANNELS + CLOSE]!;
  const reconstructed = raw.last[CLOSE]!;
  const levelError = reconstructed > 0 ? Math.log(reconstructed / lastClose) : null;
  const { group, notes } = calibration
    ? calibrationGroup(calibration, options.market, future, candles.interval)
    : { group: null, notes: [] };
  const paths = calibration
    ? applyCalibration(calibration, { paths: repaired.paths, samples, lastClose, levelError }, group)
    : repaired.paths;
  return new Forecast(paths, samples, future.times, lastClose, repaired.share, {
    model: manifest.name,
    symbol: candles.symbol,
    interval: candles.interval,
    seed,
    sampling,
    lookback: rows,
    calendar: future.calendar,
    basis: future.basis,
    calibration: calibration && { parts: calibration.parts, group },
    levelError,
    notes: [...(future.basis === "inferred" ? [future.note] : []), future.clock.note, ...notes].filter(Boolean),
  });
}

interface SampleRequest {
  readonly samples: number;
  readonly seed: number | bigint;
  readonly symbol: string;
  readonly sampling: SamplingParams;
}

/** Candles of all paths before repair, and the history's last one as the tokenizer reconstructs it. */
async function samplePaths(
  sessions: ModelSessions,
  prompt: Prompt,
  scaler: Scaler,
  { samples, seed, symbol, sampling }: SampleRequest,
  { progress, signal }: Pick<ForecastOptions, "progress" | "signal">,
): Promise<{ paths: Float64Array; last: Float64Array }> {
  const horizon = prompt.futureStamps.length / 5;
  const rollout = await Rollout.prefill(sessions, prompt, sampling);
  const path = horizon * CHANNELS;
  const paths = new Float64Array(samples * path);
  let last = new Float64Array();
  for (let first = 0; first < samples; first += BATCH) {
    const count = Math.min(BATCH, samples - first);
    const uniforms = keyedUniforms(seed, symbol, { first, count }, horizon);
    const tokens = await rollout.generate(uniforms, count, async (step) => {
      progress?.(first * horizon + step * count, samples * horizon);
      if (!signal) return;
      await otherTasks();
      signal.throwIfAborted();
    });
    const decoded = await sessions.decode({ history: prompt.tokens, tokens });
    const values = Float64Array.from(decoded.values.data);
    for (let s = 0; s < count; s++) {
      paths.set(scaler.inverse(values.subarray(s * path, (s + 1) * path)), (first + s) * path);
    }
    last = scaler.inverseLast(Float64Array.from(decoded.last.data)) as Float64Array<ArrayBuffer>;
  }
  return { paths, last };
}

/** Lets other tasks of this thread run, such as the one that aborts; a timer would wait for milliseconds. */
function otherTasks(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/** Throws a `ParameterError` unless the horizon is positive and leaves room for history. */
function checkHorizon(horizon: number, context: number, least: number): void {
  if (!Number.isInteger(horizon) || horizon < 1) {
    throw new ParameterError(`Invalid horizon ${horizon}: choose at least 1 candle, as a whole number.`);
  }
  if (horizon > context - least) {
    throw new ParameterError(
      `Invalid horizon ${horizon}: with a context of ${context} candles, of which the model needs at least ${least} as ` +
        `history, choose at most ${context - least}.`,
    );
  }
}

function checkSeed(seed: number | bigint): void {
  if (typeof seed === "number" && !Number.isSafeInteger(seed)) {
    throw new ParameterError(`Invalid seed ${seed}: choose a whole number; above 2^53, as a bigint.`);
  }
}

/** Number of candles at the end of the history that fit the context together with the horizon. */
function usedRows(
  candles: Candles,
  horizon: number,
  lookback: number | undefined,
  { context, leastHistory }: ModelSessions["manifest"],
): number {
  const needed = Math.max(2, leastHistory);
  const rows = countCandles(candles);
  if (rows < needed) {
    throw new DataError(`${candles.symbol || "The history"} has ${rows} candles: a forecast needs at least ${needed}.`);
  }
  if (lookback !== undefined && !(Number.isInteger(lookback) && lookback >= needed)) {
    throw new ParameterError(`Invalid lookback ${lookback}: choose at least ${needed} candles, as a whole number.`);
  }
  return Math.min(rows, Math.max(2, Math.min(context - horizon, lookback ?? Infinity)));
}

function resolveCalibration(
  { sessions, calibration }: ForecastModel,
  choice: boolean | undefined,
  sampling: SamplingParams,
): Calibration | null {
  if (choice === false) return null;
  if (!calibration) {
    if (choice) throw new ParameterError(`No calibration ships with ${sessions.manifest.name}.`);
    return null;
  }
  const difference = differenceFrom(calibration, sessions.manifest.weights, sampling);
  if (!difference) return calibration;
  if (choice) throw new ParameterError(`The calibration was fitted for other forecasts: ${difference}.`);
  return null;
}

/** The group of a calibration's factors, and notes about its choice. */
function calibrationGroup(
  calibration: Calibration,
  given: string | undefined,
  future: FutureTimes,
  interval: Interval,
): { group: string | null; notes: string[] } {
  const inferred = given === undefined && calibration.fittedGroups.some((name) => name !== "all");
  const market = given ?? (inferred ? future.market : null);
  const group = knownGroup(calibration, market === null ? null : `${market} ${formatInterval(interval)}`);
  if (!inferred) return { group, notes: [] };
  if (market === null) {
    const note =
      "The calendar matches no known market: factors of all groups together are used. Set the market if known.";
    return { group, notes: [note] };
  }
  return { group, notes: group ? [`Factors of ${group}: the market is inferred from the calendar.`] : [] };
}
