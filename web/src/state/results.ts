/** Forecasts on the page, and those that the server has saved. */

import { batch, computed, signal } from "@preact/signals";

import { asFailure, Failure, request } from "../api/client";
import type { PredictRequest, PredictResponse, SavedResult } from "../api/types";
import type { Band, ForecastOverlay } from "../chart/types";
import { parseTime } from "../formats";
import { plural, t, term } from "../i18n";
import { LEAST_PATHS } from "../quantiles";
import { colours } from "./settings";

export interface ShownResult {
  id: string;
  document: PredictResponse;
  visible: boolean;
  /** Which of the hues and dash patterns it has. */
  slot: number;
}

export const MOST_RESULTS = 6;
/** More forecasts than this on one chart cannot be told apart: a new one leaves so many earlier ones of its window. */
const KEPT_DRAWN = 2;
const DASHES: number[][] = [[], [6, 3], [2, 3], [9, 3, 2, 3], [12, 4], [3, 6]];

export const shown = signal<ShownResult[]>([]);
/** The result whose figures, scores and questions are shown. */
export const selectedId = signal<string | null>(null);
export const saved = signal<SavedResult[]>([]);
export const resultFailure = signal<Failure | null>(null);
/** Identifiers that are being opened. */
export const opening = signal(0);

export const showPaths = signal(false);
/** Null until chosen: then it is drawn in forecasts, and left out of replays, where what happened takes its place. */
const centralChoice = signal<boolean | null>(null);
export const showCentral = computed(() => centralChoice.value ?? !selected.value?.document.has_comparison);
export const showActual = signal(true);
/** What happened after the start of a replay that has not been run yet: hidden, unless one wants to look. */
export const showAhead = signal(false);
export const actualShown = computed(() => (drawn.value.length ? showActual.value : showAhead.value));

export const selected = computed<ShownResult | null>(
  () => shown.value.find((result) => result.id === selectedId.value) ?? shown.value[0] ?? null,
);
export const visible = computed(() => shown.value.filter((result) => result.visible));

/** Visible results that forecast from the same candle as the selected one, with something to draw. */
export const drawn = computed(() => {
  const base = selected.value;
  return visible.value.filter((result) => base && result.document.view && sameOrigin(result.document, base.document));
});

export function toggleCentral(): void {
  centralChoice.value = !showCentral.value;
}

/** Name of the series: its symbol, or the file that it was read from. */
export function seriesName(document: PredictResponse): string {
  const { forecast, view } = document;
  const series = forecast.made.details["series"];
  return forecast.symbol ?? view?.file_name ?? (typeof series === "string" && series ? series : t("saved.series"));
}

/** The same instrument at the same interval. Files without a symbol are told apart by their paths. */
export function sameMarket(a: PredictResponse, b: PredictResponse): boolean {
  if (a.forecast.symbol !== b.forecast.symbol || a.forecast.interval !== b.forecast.interval) return false;
  return a.forecast.symbol !== null || a.view?.request.file_path === b.view?.request.file_path;
}

/** Forecasts of one candle series from one candle: only these share a chart. */
export function sameOrigin(a: PredictResponse, b: PredictResponse): boolean {
  return sameMarket(a, b) && origin(a) === origin(b) && a.forecast.last_close === b.forecast.last_close;
}

/** The same steps of the same series: only their scores can be ranked. */
export function sameWindow(a: PredictResponse, b: PredictResponse): boolean {
  return (
    sameOrigin(a, b) &&
    a.forecast.horizon === b.forecast.horizon &&
    (a.view?.scores?.windows ?? 0) === (b.view?.scores?.windows ?? 0)
  );
}

export function hue(slot: number): string {
  return colours.value[`hue-${(slot % 6) + 1}`] ?? colours.value["forecast"]!;
}

export function dash(slot: number): number[] {
  return DASHES[slot % DASHES.length]!;
}

/** What two results may differ in beside model and state, as texts; empty where it says nothing. */
function traits(document: PredictResponse): string[] {
  const { forecast, view } = document;
  const request: Partial<PredictRequest> = view?.request ?? {};
  const value = (name: "history" | "horizon" | "seed" | "temperature" | "calendar", of: unknown): string =>
    of == null ? "" : t(`result.trait.${name}`, { value: String(of) });
  return [
    value("history", request.lookback),
    value("horizon", forecast.horizon),
    value("calendar", term("calendars", forecast.made.calendar)),
    plural("result.paths", forecast.samples),
    value("temperature", request.temperature),
    request.top_p === undefined ? "" : `top-p ${request.top_p}`,
    value("seed", request.seed),
  ];
}

/** Name of a result: model and state, and what else tells it from the others on the page. */
export function label(document: PredictResponse): string {
  const base = t("result.label", { model: document.model, state: t(`result.states.${document.state}`) });
  const others = shown.value.filter((result) => result.id !== document.id).map((result) => result.document);
  const series = others.some((other) => !sameMarket(other, document)) ? `${seriesName(document)} · ` : "";
  const variants = others.filter((other) => sameOrigin(other, document)).map(traits);
  const different = traits(document).filter((text, index) => text && variants.some((other) => other[index] !== text));
  return series + different.reduce((model, state) => t("result.label", { model, state }), base);
}

/** Values of a quantile by step; undefined if the result has none. */
export function quantile(document: PredictResponse, probability: number): number[] | undefined {
  const all = document.forecast.close_quantiles;
  const key = Object.keys(all).find((name) => Math.abs(Number(name) - probability) < 1e-9);
  return key === undefined ? undefined : all[key];
}

/** Last known candle of a result, UTC epoch seconds. */
export function origin(document: PredictResponse): number {
  return document.view?.history.time.at(-1) ?? parseTime(document.forecast.as_of);
}

export function overlay(result: ShownResult): ForecastOverlay {
  const { document } = result;
  const view = document.view!;
  const few = document.forecast.samples < LEAST_PATHS;
  return {
    id: result.id,
    label: label(document),
    colour: hue(result.slot),
    dash: dash(result.slot),
    origin: { time: origin(document), close: document.forecast.last_close },
    time: view.time,
    bands: few ? [] : bands(document),
    median: quantile(document, 0.5) ?? document.forecast.median["close"] ?? [],
    central: showCentral.value && !few ? view.central : null,
    paths: few || showPaths.value ? document.paths : [],
  };
}

function bands(document: PredictResponse): Band[] {
  return [0.95, 0.8, 0.5].flatMap((level) => {
    const low = quantile(document, (1 - level) / 2);
    const high = quantile(document, (1 + level) / 2);
    return low && high ? [{ level, low, high }] : [];
  });
}

/** The first hue that no other result on the page has. */
function freeSlot(results: ShownResult[]): number {
  const used = new Set(results.map((result) => result.slot));
  return [0, 1, 2, 3, 4, 5].find((slot) => !used.has(slot)) ?? 0;
}

/** Put a new result on the page as the selected one. The latest others of its window stay drawn, the rest is hidden. */
export function addResult(document: PredictResponse): void {
  const variants = shown.value.filter((result) => result.visible && sameOrigin(result.document, document));
  const kept = new Set(variants.slice(-KEPT_DRAWN).map((result) => result.id));
  batch(() => {
    putResult(document);
    shown.value = shown.value.map((result) =>
      result.id === document.id ? result : { ...result, visible: kept.has(result.id) },
    );
    selectedId.value = document.id;
  });
}

/** Put a result into the list, beside those that are there. */
function putResult(document: PredictResponse): void {
  const others = shown.value.filter((result) => result.id !== document.id);
  while (others.length >= MOST_RESULTS) {
    const oldest = others.findIndex((result) => result.id !== selectedId.value);
    others.splice(Math.max(0, oldest), 1);
  }
  shown.value = [...others, { id: document.id, document, visible: true, slot: freeSlot(others) }];
}

/** Open saved results by their identifiers, in order. Returns the first one that could be opened. */
export async function openResults(ids: string[], keepOthers: boolean): Promise<PredictResponse | null> {
  resultFailure.value = null;
  opening.value += 1;
  try {
    const answers = await Promise.allSettled(
      ids.map((id) => request<PredictResponse>(`api/results/${encodeURIComponent(id)}`)),
    );
    const documents = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
    const failed = answers.find((answer) => answer.status === "rejected");
    batch(() => {
      if (failed) resultFailure.value = goneFailure(asFailure(failed.reason));
      if (!keepOthers && documents.length) shown.value = [];
      documents.forEach(putResult);
      if (!keepOthers && documents[0]) selectedId.value = documents[0].id;
    });
    return documents[0] ?? null;
  } finally {
    opening.value -= 1;
  }
}

/** A result that the server does not have is named as such, whatever the words of the API. */
function goneFailure(failure: Failure): Failure {
  const gone = failure.status === 404 || failure.status === 400 || failure.status === 422;
  return gone ? new Failure(404, "result_gone", failure.message) : failure;
}

/** Show or hide a result. Where the selected one is hidden, another of its window takes its place. */
export function toggle(id: string): void {
  const other = drawn.value.findLast((result) => result.id !== id);
  batch(() => {
    if (selected.value?.id === id && selected.value.visible && other) selectedId.value = other.id;
    shown.value = shown.value.map((result) => (result.id === id ? { ...result, visible: !result.visible } : result));
  });
}

export function remove(id: string): void {
  batch(() => {
    shown.value = shown.value.filter((result) => result.id !== id);
    if (selectedId.value === id) selectedId.value = shown.value.findLast((result) => result.visible)?.id ?? null;
  });
}

export async function loadSaved(): Promise<void> {
  saved.value = (await request<{ results: SavedResult[] }>("api/results")).results;
}

export async function deleteSaved(id: string): Promise<void> {
  try {
    await request(`api/results/${encodeURIComponent(id)}`, { method: "DELETE" });
    remove(id);
    await loadSaved();
  } catch (error) {
    resultFailure.value = asFailure(error);
  }
}
