/** The forecast being prepared: its window and parameters, and the job that computes it. */

import { batch, computed, signal } from "@preact/signals";

import { asFailure, Failure, request } from "../api/client";
import { cancelJob, follow, type JobProgress } from "../api/jobs";
import type { Job, PredictRequest, PredictResponse } from "../api/types";
import { isoTime } from "../formats";
import { data, position } from "./data";
import { currentModel } from "./models";
import { addResult, loadSaved } from "./results";
import { DEFAULT_PARAMETERS, type ForecastParameters, RANGES } from "./url";

const TWO_DAYS = 2 * 86_400;

export const parameters = signal<ForecastParameters>({ ...DEFAULT_PARAMETERS });
/** The window has been changed since the last forecast: the chart then shows it. */
export const planning = signal(true);
export const job = signal<JobProgress | null>(null);
export const forecastFailure = signal<Failure | null>(null);
export const cancelled = signal(false);
/** The next click on the chart says where the history of a replay ends; other clicks only look. */
export const picking = signal(false);

export interface ForecastWindow {
  /** Positions in the loaded candles: first and last of the history. */
  first: number;
  last: number;
  lookback: number;
  horizon: number;
  /** Candles after the history that are known. */
  known: number;
  /** Candles of the history that the model sees. */
  seen: number;
  /** The file is too short for the requested window. */
  shrunk: boolean;
}

/** Where the history ends: the last candle, the chosen one, or the last one two days before the end. */
function lastCandle(times: number[], wanted: ForecastParameters, horizon: number): number {
  const end = times.length - 1;
  if (wanted.mode === "now") return end;
  if (wanted.mode === "anchored") return Math.max(1, position(times, times[end]! - TWO_DAYS));
  return wanted.end === null ? Math.max(1, end - horizon) : Math.max(1, position(times, wanted.end));
}

/** The window that will be forecast: the parameters, fitted to the candles. */
export const forecastWindow = computed<ForecastWindow | null>(() => {
  const loaded = data.value;
  const wanted = parameters.value;
  if (!loaded || loaded.candles.time.length < 2) return null;
  const { time } = loaded.candles;
  const rows = loaded.offset + time.length;
  // A file shorter than the window gives three quarters of it to the history, as 400 + 120 does.
  const needed = wanted.mode === "now" ? 0 : wanted.horizon;
  let horizon = wanted.horizon;
  if (wanted.mode === "replay" && wanted.end === null && wanted.lookback + needed > rows)
    horizon = Math.max(1, Math.min(horizon, Math.floor(rows / 4)));
  const last = lastCandle(time, wanted, horizon);
  const lookback = Math.max(2, Math.min(wanted.lookback, loaded.offset + last + 1));
  const context = currentModel.value?.context_length;
  return {
    first: Math.max(0, last - lookback + 1),
    last,
    lookback,
    horizon,
    known: time.length - 1 - last,
    seen: context === undefined ? lookback : Math.max(0, Math.min(lookback, context - horizon)),
    shrunk: lookback < wanted.lookback || horizon < wanted.horizon,
  };
});

export type WindowProblem = "too_long" | "too_short" | "no_future" | null;

/** Windows of a replay that fit before its last candle, of those wanted. */
export const fittingWindows = computed<number>(() => {
  const window = forecastWindow.value;
  const wanted = parameters.value.windows;
  if (!window) return wanted;
  const rows = (data.value?.offset ?? 0) + window.last + 1;
  return Math.min(wanted, Math.floor((rows - window.lookback) / window.horizon) + 1);
});

/** Why the window cannot be forecast. */
export const windowProblem = computed<WindowProblem>(() => {
  const window = forecastWindow.value;
  const model = currentModel.value;
  if (!window) return null;
  if (parameters.value.mode !== "now" && window.known < 1) return "no_future";
  if (!model) return null;
  if (window.horizon > model.context_length - model.least_history) return "too_long";
  return window.seen < model.least_history ? "too_short" : null;
});

export function setParameters(changes: Partial<ForecastParameters>): void {
  batch(() => {
    parameters.value = { ...parameters.value, ...changes };
    planning.value = true;
    cancelled.value = false;
  });
}

/** Whether the history may end elsewhere. */
export const originIsFree = computed(() => parameters.value.mode === "replay" && data.value !== null && !job.value);

/** Let the history of a replay end at a candle; in other modes it ends where they say. */
export function setOrigin(time: number): void {
  const times = data.value?.candles.time;
  if (!times || !originIsFree.value) return;
  const last = Math.min(times.length - 2, Math.max(1, position(times, time)));
  setParameters({ end: times[last]! });
}

export function clamp(field: keyof typeof RANGES, value: number): number {
  const { min, max } = RANGES[field];
  return Math.min(max, Math.max(min, value));
}

/** The request for the window as it is set; null without data. */
export const predictRequest = computed<PredictRequest | null>(() => {
  const loaded = data.value;
  const window = forecastWindow.value;
  if (!loaded || !window) return null;
  const wanted = parameters.value;
  const end = loaded.candles.time[window.last]!;
  return {
    ...loaded.file,
    lookback: window.lookback,
    pred_len: window.horizon,
    temperature: wanted.temperature,
    top_p: wanted.topP,
    sample_count: wanted.samples,
    seed: wanted.seed,
    calibrate: wanted.calibrate,
    as_of: wanted.mode === "now" ? null : isoTime(end, loaded.info.timezone === null),
    windows: wanted.mode === "now" ? 1 : wanted.windows,
  };
});

/** Run the forecast. What is shown stays until the new result is complete. */
export async function runForecast(): Promise<void> {
  const body = predictRequest.value;
  if (!body || job.value || windowProblem.value) return;
  batch(() => {
    forecastFailure.value = null;
    cancelled.value = false;
    job.value = { id: "", progress: 0, message: "waiting" };
  });
  try {
    const started = await request<Job<PredictResponse>>("api/jobs/predict", { json: body });
    const ended = await follow(started, (progress) => (job.value = progress));
    batch(() => {
      if (ended.result) {
        addResult(ended.result);
        planning.value = false;
      } else cancelled.value = true;
    });
    void loadSaved().catch(() => {});
  } catch (error) {
    const failure = asFailure(error);
    const lost = failure.status === 404 && job.peek()?.id;
    forecastFailure.value = lost ? new Failure(-2, "job_lost", "") : failure;
  } finally {
    job.value = null;
  }
}

export async function cancelForecast(): Promise<void> {
  const id = job.value?.id;
  if (id) await cancelJob(id).catch(() => {});
}
