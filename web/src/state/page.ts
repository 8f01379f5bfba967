/** The page as a whole: its address, its state, and the candles that the chart shows. */

import { batch, computed, effect, signal } from "@preact/signals";

import type { FileRequest, PredictResponse } from "../api/types";
import type { CandleColumns } from "../chart/types";
import { parseTime } from "../formats";
import {
  data,
  dataFailure,
  displayName,
  failedAttempt,
  type LoadedData,
  loadChoices,
  openFile,
  position,
  readingName,
  refreshCandles,
  slice,
} from "./data";
import { forecastFailure, forecastWindow, job, parameters, planning } from "./forecast";
import { loadModels, modelFailure } from "./models";
import {
  drawn,
  loadSaved,
  opening,
  openResults,
  origin,
  remove,
  resultFailure,
  selected,
  selectedId,
  shown,
  visible,
} from "./results";
import { applySettings, chosen, intervalChoice } from "./settings";
import {
  DEFAULT_PARAMETERS,
  type ForecastParameters,
  formatAddress,
  ignoredParts,
  type PageAddress,
  parseAddress,
} from "./url";

export type PageState = "empty" | "loading" | "data" | "error" | "forecast" | "replay";

/** What the page shows, for styles and tests. */
export const pageState = computed<PageState>(() => {
  if (readingName.value !== null || opening.value) return "loading";
  if (visible.value.length) return selected.value?.document.has_comparison ? "replay" : "forecast";
  if (dataFailure.value || (resultFailure.value && !data.value)) return "error";
  return data.value ? "data" : "empty";
});

/** The address has been read, and what it names has been loaded. */
export const started = signal(false);
/** Parts of the address that could not be used. */
export const ignored = signal<string[]>([]);
export const simulated = computed(() => selected.value?.document.simulated ?? data.value?.info.simulated ?? false);

export interface ChartCandles {
  /** Changes when the candles are those of something else. */
  key: string;
  candles: CandleColumns;
  /** No older candles of the series exist. */
  whole: boolean;
  /** What happened after the start of the forecasts, as far as they go. */
  actual: CandleColumns | null;
}

/** Relative difference of prices that are the same but for their rounding. */
const SAME_PRICE = 1e-6;
/** The chart takes all of so many candles anew too slowly to follow every move of a slider. */
const SLOW_CANDLES = 20_000;
const SLIDER_PAUSE_MS = 150;

/** Where the history of a replay in preparation ends, once the slider rests. */
const restingLast = signal<number | null>(null);
let resting: ReturnType<typeof setTimeout> | undefined;

function setupLast(last: number, count: number): number {
  if (count < SLOW_CANDLES) return last;
  clearTimeout(resting);
  resting = setTimeout(() => (restingLast.value = last), SLIDER_PAUSE_MS);
  return Math.min(restingLast.value ?? last, count - 1);
}

/** The loaded file has the candles that a result was made from: then the chart can show more of them. */
function isLoaded(document: PredictResponse): boolean {
  const loaded = data.value;
  if (!loaded || document.view?.request.file_path !== loaded.file.file_path) return false;
  const { time, close } = loaded.candles;
  const at = position(time, origin(document));
  const known = document.view.history.close.at(-1)!;
  return time[at] === origin(document) && Math.abs(close[at]! - known) <= SAME_PRICE * Math.abs(known);
}

/** The candles of the loaded file, cut where the forecasts begin; those of the result where that is not loaded. */
export const chartCandles = computed<ChartCandles | null>(() => {
  const loaded = data.value;
  const overlays = drawn.value;
  if (!overlays.length) return loaded ? beforeForecast(loaded) : null;
  const first = overlays[0]!.document;
  const start = origin(first);
  const end = Math.max(...overlays.map((result) => result.document.view!.time.at(-1)!));
  const inFile = isLoaded(first);
  const key = inFile ? loaded!.file.file_path : selected.value!.id;
  const all = inFile ? loaded!.candles : ownCandles(first);
  const cut = position(all.time, start) + 1;
  const last = position(all.time, end) + 1;
  const whole = inFile && loaded!.offset === 0;
  return { key, whole, candles: slice(all, 0, cut), actual: last > cut ? slice(all, cut, last) : null };
});

/** Before a replay is scored, what happened is hidden; while it is set up, one may look. */
function beforeForecast({ file, candles, offset }: LoadedData): ChartCandles {
  const window = forecastWindow.value;
  const key = file.file_path;
  const whole = offset === 0;
  if (!window || parameters.value.mode === "now") return { key, whole, candles, actual: null };
  const cut = (job.value ? window.last : setupLast(window.last, candles.time.length)) + 1;
  const known = { key, whole, candles: slice(candles, 0, cut) };
  return { ...known, actual: job.value ? null : slice(candles, cut, candles.time.length) };
}

function ownCandles(document: PredictResponse): CandleColumns {
  const { history, actual } = document.view!;
  if (!actual) return history;
  return {
    time: [...history.time, ...actual.time],
    open: [...history.open, ...actual.open],
    high: [...history.high, ...actual.high],
    low: [...history.low, ...actual.low],
    close: [...history.close, ...actual.close],
    volume: history.volume && actual.volume ? [...history.volume, ...actual.volume] : null,
  };
}

/** Open data that the user chose: forecasts of other data leave the page; they stay saved. */
export function afterNewData(keepWindow = false): void {
  batch(() => {
    shown.value = shown.value.filter(
      (result) => result.document.view?.request.file_path === data.value?.file.file_path,
    );
    if (!keepWindow) parameters.value = { ...parameters.value, end: null };
    planning.value = true;
  });
}

export const address = computed<PageAddress>(() => {
  const results = visible.value.map((result) => result.id);
  const unsent = planning.value || !results.length;
  return {
    results,
    settings: chosen.value,
    interval: intervalChoice.value,
    file: unsent ? (data.value?.file ?? null) : null,
    parameters: unsent && data.value ? parameters.value : {},
  };
});

function parametersOf(document: PredictResponse): Partial<ForecastParameters> {
  const request = document.view?.request;
  if (!request) return {};
  return {
    mode: request.as_of === null ? "now" : "replay",
    end: request.as_of === null ? null : origin(document),
    lookback: request.lookback,
    horizon: request.pred_len,
    temperature: request.temperature,
    topP: request.top_p,
    samples: request.sample_count,
    seed: request.seed,
    calibrate: request.calibrate,
    ...(request.as_of === null || !request.windows ? {} : { windows: request.windows }),
  };
}

export function fileOf(document: PredictResponse): FileRequest | null {
  const request = document.view?.request;
  if (!request) return null;
  const file: FileRequest = { file_path: request.file_path };
  for (const name of ["symbol", "interval", "timezone", "calendar", "decimal", "thousands", "date_format"] as const)
    if (request[name] != null) file[name] = request[name];
  if (request.header != null) file.header = request.header;
  if (request.columns && Object.keys(request.columns).length) file.columns = request.columns;
  return file;
}

/** Open saved results, with the parameters that made the first, and its file if it still exists. */
export async function showResults(
  ids: string[],
  keepOthers: boolean,
  overrides: Partial<ForecastParameters> = {},
): Promise<void> {
  const first = await openResults(ids, keepOthers);
  if (!first || keepOthers) return;
  await showOwnData(first, overrides);
}

/** Set the parameters that made a result, and open its file if it still exists. */
async function showOwnData(first: PredictResponse, overrides: Partial<ForecastParameters>): Promise<void> {
  batch(() => {
    parameters.value = { ...DEFAULT_PARAMETERS, ...parametersOf(first), ...overrides };
    planning.value = Object.keys(overrides).length > 0;
  });
  const file = fileOf(first);
  if (!file || JSON.stringify(file) === JSON.stringify(data.value?.file)) return;
  data.value = null;
  if (!(await openFile(file, first.view?.file_name ?? first.forecast.symbol ?? displayName(file)))) {
    batch(() => {
      // The result has its own candles; that its file is gone is no error.
      dataFailure.value = null;
      failedAttempt.value = null;
    });
  }
}

/** Select a result: the chart, its names and the data at the side are its own from then on. */
export function selectResult(id: string): void {
  batch(() => {
    selectedId.value = id;
    shown.value = shown.value.map((result) => (result.id === id ? { ...result, visible: true } : result));
  });
  followSelected();
}

export function removeResult(id: string): void {
  remove(id);
  followSelected();
}

/** Load the data of the selected result where those of another series are loaded. */
function followSelected(): void {
  const result = selected.value;
  if (!result?.visible || !result.document.view) return;
  if (result.document.view.request.file_path !== data.value?.file.file_path) void showOwnData(result.document, {});
}

/** Make the page show what an address says. */
async function applyAddress(target: PageAddress): Promise<void> {
  await applySettings(target.settings);
  intervalChoice.value = target.interval;
  if (target.results.length) return showResults(target.results, false, target.file ? target.parameters : {});
  batch(() => {
    shown.value = [];
    parameters.value = { ...DEFAULT_PARAMETERS, ...target.parameters };
    planning.value = true;
  });
  if (!target.file) data.value = null;
  else if (JSON.stringify(target.file) !== JSON.stringify(data.value?.file)) await openFile(target.file);
}

/** What a step back should undo: another file or other results, not every move of a slider. */
function landmark(of: PageAddress): string {
  return JSON.stringify([of.results, of.results.length ? null : (of.file?.file_path ?? null)]);
}

/** Load what the address names, then keep the address in step with the page. */
export async function startPage(target: PageAddress): Promise<void> {
  const lists = Promise.allSettled([loadModels(), loadChoices(), loadSaved()]);
  ignored.value = ignoredParts(location.search);
  await applyAddress(target);
  started.value = true;
  let last = landmark(address.value);
  let applying = false;
  effect(() => {
    const query = formatAddress(address.value);
    const next = landmark(address.value);
    // While something loads, the page is between two states that are worth an entry.
    if (applying || readingName.value !== null || opening.value) return;
    if (query !== location.search) {
      const url = query || location.pathname;
      if (next === last) history.replaceState(null, "", url);
      else history.pushState(null, "", url);
    }
    last = next;
  });
  addEventListener("popstate", () => {
    applying = true;
    ignored.value = ignoredParts(location.search);
    void applyAddress(parseAddress(location.search)).finally(() => {
      applying = false;
      last = landmark(address.value);
    });
  });
  await lists;
}

/** After the server has returned: its lists may differ, its models have to be asked for. */
export async function reload(): Promise<void> {
  batch(() => {
    for (const failure of [forecastFailure, resultFailure, modelFailure, dataFailure])
      if (failure.value?.status === 0) failure.value = null;
    if (!dataFailure.value) failedAttempt.value = null;
  });
  await Promise.allSettled([loadModels(), loadChoices(), loadSaved()]);
  if (data.value?.file.file_path.startsWith("asset:")) await refreshCandles();
}

/** When the newest candle closed, UTC epoch seconds. */
export const newestClose = computed<number | null>(() => {
  const loaded = data.value;
  return loaded && loaded.info.end_date ? parseTime(loaded.info.end_date) : null;
});
