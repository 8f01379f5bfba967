/** The chart: passes the page's state to it, and what it reports back to the page. */

import { computed, effect, signal, untracked } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import {
  type CandleChart,
  type CandleColumns,
  type ChartMessages,
  createCandleChart,
  type CrosshairReading,
  type ForecastOverlay,
} from "../chart";
import type { PredictResponse } from "../api/types";
import { candleTime, intervalSeconds, price } from "../formats";
import { language, t } from "../i18n";
import { data, seconds, zone } from "../state/data";
import { forecastWindow, originIsFree, picking, planning, setOrigin } from "../state/forecast";
import { resampled, shownCandles, shownInterval, shownTime } from "../state/intervals";
import { actualShown, drawn, origin, overlay, selected } from "../state/results";
import { chartPalette, reducedMotion, scale, shownZone } from "../state/settings";
import { chartMessages } from "./chart_messages";

/** Candles in view after data have been opened; charts of the field begin with as many. */
const FIRST_VIEW = 250;
const ROOM_BEFORE_FORECAST = 1.2;
const LEAST_BEFORE_FORECAST = 60;

export const reading = signal<CrosshairReading | null>(null);
export const chart = signal<CandleChart | null>(null);

/** Digits of prices, interval and zone of what is shown: those of the selected result, or of the data before one. */
export function shownDigits(): number {
  return selected.value?.document.view?.digits ?? data.value?.digits ?? 2;
}

export function shownSeconds(): number {
  return (selected.value && intervalSeconds(selected.value.document.forecast.interval)) || seconds.value;
}

export function currentZone(): string {
  return selected.value ? shownZone(selected.value.document.forecast.timezone) : zone.value;
}

/** Name of the zone where the candles state none. */
function zoneName(): string | undefined {
  const shown = selected.value?.document.forecast ?? data.value?.info;
  return shown && shown.timezone === null ? t("data.no_zone") : undefined;
}

export function formatPrice(value: number): string {
  return price(value, shownDigits(), language.value);
}

/** Time of a candle as the chart shows it, in its interval. */
export function formatChartTime(time: number): string {
  return candleTime(time, currentZone(), intervalSeconds(shownInterval.value) || shownSeconds());
}

export function formatTime(time: number): string {
  return candleTime(time, currentZone(), shownSeconds());
}

/** Last known candle of a result, in the zone and at the interval of its own series. */
export function formatOrigin(document: PredictResponse): string {
  const { timezone, interval } = document.forecast;
  return candleTime(origin(document), shownZone(timezone), intervalSeconds(interval));
}

function messages(): ChartMessages {
  return chartMessages({ price: formatPrice, candleTime: formatChartTime, stepTime: formatTime });
}

/** Give the chart only what is new: older candles in front of the same ones must not move the view. */
function updateCandles(
  drawer: CandleChart,
  last: { key: string; candles: CandleColumns },
): { key: string; candles: CandleColumns } {
  const next = shownCandles.value;
  const candles = next?.candles ?? NONE;
  const key = next?.key ?? "";
  const added = candles.time.length - last.candles.time.length;
  const grown =
    key === last.key &&
    last.candles.time.length > 0 &&
    added >= 0 &&
    candles.time[added] === last.candles.time[0] &&
    candles.time.at(-1) === last.candles.time.at(-1);
  if (grown && added > 0) drawer.prependCandles(sliceFront(candles, added));
  else if (!grown) drawer.setCandles(candles);
  return { key, candles };
}

function sliceFront(candles: CandleColumns, count: number): CandleColumns {
  return {
    time: candles.time.slice(0, count),
    open: candles.open.slice(0, count),
    high: candles.high.slice(0, count),
    low: candles.low.slice(0, count),
    close: candles.close.slice(0, count),
    volume: candles.volume?.slice(0, count) ?? null,
  };
}

/** Shade the window that is being prepared: what the model sees, and what it will forecast. */
function updateWindow(drawer: CandleChart): void {
  const window = forecastWindow.value;
  const loaded = data.value;
  if (!planning.value || !window || !loaded) return drawer.setWindow(null);
  const { time } = loaded.candles;
  const shown = drawn.value.some(
    ({ document }) => origin(document) === time[window.last] && document.forecast.horizon === window.horizon,
  );
  if (shown) return drawer.setWindow(null); // the forecast itself shows its window
  const seenFrom = Math.max(0, window.last + 1 - Math.min(window.seen, window.lookback));
  const future = [...time.slice(window.last + 1, window.last + 1 + window.horizon), ...loaded.next].slice(
    0,
    window.horizon,
  );
  const [start, end] = [future[0], future.at(-1)];
  drawer.setWindow({
    history: { from: shownTime(time[seenFrom]!), to: shownTime(time[window.last]!) },
    forecast: start === undefined || end === undefined ? null : { from: start, to: lastStart(start, end) },
  });
}

/** Start of the last shown candle of a span that begins with one. */
function lastStart(start: number, end: number): number {
  return resampled.value ? end - ((end - start) % intervalSeconds(shownInterval.value)) : end;
}

/** Bring what is new into view: the end of new data, or a new forecast with the candles before it. */
function updateView(drawer: CandleChart, last: string): string {
  const first = drawn.value[0];
  const ids = drawn.value.map((result) => result.id).join();
  const subject = `${shownCandles.value?.key ?? ""}|${ids}`;
  if (subject !== last) {
    const forecast = resampled.value ? undefined : first?.document.forecast;
    drawer.showLast(
      forecast ? Math.max(Math.round(forecast.horizon * ROOM_BEFORE_FORECAST), LEAST_BEFORE_FORECAST) : FIRST_VIEW,
    );
  }
  return subject;
}

/** Where the keyboard reaches the chart. */
export function focusChart(): void {
  // The chart comes with the first candles, one drawing after them.
  setTimeout(() => document.querySelector<HTMLElement>("[data-chart] [role=application]")?.focus(), 50);
}

const NONE: CandleColumns = { time: [], open: [], high: [], low: [], close: [], volume: null };
/** Computed, so that the chart hears of changes only: a new time zone makes it set all its data anew. */
const chartZone = computed(currentZone);
const chartZoneName = computed(zoneName);
const formatBasis = computed(
  () => `${language.value} ${shownDigits()} ${currentZone()} ${shownSeconds()} ${shownInterval.value}`,
);
const overlays = computed(() => (resampled.value ? [] : drawn.value.map(overlay)));

/** Draw candles, forecasts and what happened, in this order, whichever of them has changed. */
function keepDrawn(drawer: CandleChart): () => void {
  let candles = { key: "", candles: NONE };
  let forecasts: ForecastOverlay[] | null = null;
  let actual: CandleColumns | null = null;
  let subject = "|";
  return effect(() => {
    const nextActual = actualShown.value ? (shownCandles.value?.actual ?? null) : null;
    candles = updateCandles(drawer, candles);
    if (forecasts !== overlays.value) drawer.setForecasts((forecasts = overlays.value));
    if (actual !== nextActual) drawer.setActual((actual = nextActual));
    subject = updateView(drawer, subject);
  });
}

/** Connect a chart with the signals; returns what ends the connection. */
function connect(drawer: CandleChart): () => void {
  const ends = [
    effect(() => drawer.setPalette(chartPalette.value)),
    effect(() => {
      void formatBasis.value;
      drawer.setMessages(untracked(messages));
    }),
    effect(() => drawer.setTimezone(chartZone.value, chartZoneName.value)),
    effect(() => drawer.setPriceScale(scale.value)),
    keepDrawn(drawer),
    effect(() => updateWindow(drawer)),
    effect(() => {
      if (!originIsFree.value) picking.value = false;
    }),
  ];
  drawer.onCrosshair((at) => (reading.value = at));
  drawer.onPick((time, by) => {
    if (by === "click" && !picking.value) return;
    picking.value = false;
    setOrigin(time);
  });
  return () => ends.forEach((end) => end());
}

export function ChartView() {
  const container = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const drawer = createCandleChart(container.current!, {
      palette: chartPalette.peek(),
      messages: messages(),
      timezone: currentZone(),
      still: reducedMotion.peek(),
    });
    const disconnect = connect(drawer);
    chart.value = drawer;
    return () => {
      disconnect();
      chart.value = null;
      drawer.dispose();
    };
  }, []);
  return <div class={`chart ${picking.value ? "picking" : ""}`} ref={container} data-chart />;
}
