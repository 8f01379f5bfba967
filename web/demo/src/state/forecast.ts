/** The forecast: its settings, its computation in the worker, and its result. */

import { batch, computed, signal } from "@preact/signals";

import type { Band, ForecastOverlay } from "../../../src/chart/types";
import { t } from "../../../src/i18n";
import { LEAST_PATHS } from "../../../src/quantiles";
import { colours } from "../../../src/state/settings";
import type { CandleFile, Failure, ForecastAnswer, ForecastSettings, ReadSettings } from "../protocol";
import { file, openFile, openSample, readAgain, settings as readSettings, type Source, source } from "./file";
import { loadModel, model, worker } from "./model";
import { type Call, failureOf } from "./worker_client";

/** Settings as the form holds them; without a seed, each forecast takes another one. */
export type ForecastParameters = Omit<ForecastSettings, "seed"> & { readonly seed: number | null };

export const DEFAULT_PARAMETERS: ForecastParameters = {
  horizon: 24,
  samples: 30,
  seed: 1,
  temperature: 1,
  topP: 1,
  calendar: null,
  calibrate: true,
  market: null,
};

export const RANGES = {
  horizon: { min: 1, max: 248 },
  samples: { min: 1, max: 1000 },
  seed: { min: 0, max: 2 ** 31 - 1 },
  temperature: { min: 0.1, max: 2 },
  topP: { min: 0.05, max: 1 },
} as const;

/** Central bands of the close, the widest first. */
const BANDS = [0.95, 0.8, 0.5] as const;

/** A forecast with what it was made of. */
export interface ForecastResult {
  readonly answer: ForecastAnswer;
  readonly settings: ForecastSettings;
  readonly source: Source;
  readonly file: CandleFile;
  /** How the file was read. */
  readonly reading: ReadSettings;
}

export const parameters = signal<ForecastParameters>(DEFAULT_PARAMETERS);
export const result = signal<ForecastResult | null>(null);
export const forecastFailure = signal<Failure | null>(null);
/** Share of the forecast in progress that is done. */
export const progress = signal<number | null>(null);
export const cancelled = signal(false);
export const showPaths = signal(false);
export const showCentral = signal(true);

/** Markets that the calibration has factors for. */
export const markets = computed(() => [
  ...new Set((model.value?.groups ?? []).flatMap((group) => group.match(/^(.*) \S+$/)?.[1] ?? [])),
]);

export function setParameters(changes: Partial<ForecastParameters>): void {
  parameters.value = { ...parameters.value, ...changes };
}

/** Open a file and forecast it at once. */
export async function forecastFile(chosen: File): Promise<void> {
  await forecastAfter(() => openFile(chosen), { ...parameters.value, calendar: null, market: null });
}

export async function forecastSample(): Promise<void> {
  await forecastAfter(openSample, { ...parameters.value, calendar: null, market: null });
}

/** Read the file with other options, and forecast it. */
export async function forecastReadAgain(reading: ReadSettings, calendar: string | null): Promise<void> {
  await forecastAfter(() => readAgain(reading), { ...parameters.value, calendar });
}

async function forecastAfter(read: () => Promise<boolean>, next: ForecastParameters): Promise<void> {
  stop();
  batch(() => {
    parameters.value = next;
    result.value = null;
    forecastFailure.value = null;
    cancelled.value = false;
  });
  if (await read()) await runForecast();
}

let call: Call<"forecast"> | null = null;
/** The model serves one forecast at a time: the next one waits until the worker has ended this one. */
let ended: Promise<unknown> = Promise.resolve();
/** Number of the newest forecast; an older one has been replaced or cancelled. */
let newest = 0;

export async function runForecast(): Promise<void> {
  stop();
  const number = newest;
  const [from, read] = [source.value, file.value];
  if (!from || !read) return;
  const { seed, ...rest } = parameters.value;
  const settings = { ...rest, seed: seed ?? Math.floor(Math.random() * 2 ** 31) };
  batch(() => {
    progress.value = 0;
    forecastFailure.value = null;
    cancelled.value = false;
  });
  const hasModel = await loadModel();
  await ended;
  if (number !== newest) return;
  if (!hasModel) return void (progress.value = null); // the failure of the model is shown
  // Progress of a cancelled forecast may still be on its way.
  const follow = (share: number): void => void (number === newest && (progress.value = share));
  call = worker.request("forecast", { file: read.number, settings }, { progress: follow });
  ended = call.answer.catch(() => {});
  try {
    const answer = await call.answer;
    if (number !== newest) return;
    batch(() => {
      result.value = { answer, settings, source: from, file: read, reading: readSettings.value };
      progress.value = null;
    });
  } catch (error) {
    if (number !== newest) return;
    batch(() => {
      forecastFailure.value = failureOf(error);
      progress.value = null;
    });
  }
}

/** End the forecast in progress. */
function stop(): void {
  newest++;
  call?.cancel();
  call = null;
  progress.value = null;
}

export function cancelForecast(): void {
  stop();
  cancelled.value = true;
}

export function forecastLabel({ answer: { metadata } }: ForecastResult): string {
  return t("result.label", {
    model: metadata.model,
    state: t(`result.states.${metadata.calibration ? "calibrated" : "raw"}`),
  });
}

export function quantile({ answer }: ForecastResult, probability: number): number[] {
  return answer.quantiles.find((one) => Math.abs(one.probability - probability) < 1e-9)!.values;
}

/** What the chart draws of the result. */
export const overlay = computed<ForecastOverlay | null>(() => {
  const shown = result.value;
  if (!shown) return null;
  const { answer } = shown;
  const few = answer.samples < LEAST_PATHS;
  return {
    id: "forecast",
    label: forecastLabel(shown),
    colour: colours.value["hue-1"] ?? colours.value["forecast"]!,
    dash: [],
    origin: { time: shown.file.candles.time.at(-1)!, close: answer.lastClose },
    time: [...answer.time],
    bands: few ? [] : BANDS.map((level) => bandOf(shown, level)),
    median: quantile(shown, 0.5),
    central: showCentral.value && !few ? answer.central : null,
    paths: few || showPaths.value ? [...answer.closes] : [],
  };
});

function bandOf(shown: ForecastResult, level: number): Band {
  return { level, low: quantile(shown, (1 - level) / 2), high: quantile(shown, (1 + level) / 2) };
}
