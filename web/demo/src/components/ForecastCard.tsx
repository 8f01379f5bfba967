/** The chart: history, volume, the forecast's bands, its median and one sampled path. */

import { effect, signal, type Signal, untracked } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import { type CandleChart, createCandleChart, type CrosshairReading } from "../../../src/chart";
import { chartMessages } from "../../../src/components/chart_messages";
import { CandleLine, QuantileLine } from "../../../src/components/legend_lines";
import { Swatch } from "../../../src/components/controls";
import { language, plural, t } from "../../../src/i18n";
import { LEAST_PATHS } from "../../../src/quantiles";
import { chartPalette, reducedMotion } from "../../../src/state/settings";
import { digits, file, formatPrice, formatTime, simulated } from "../state/file";
import { forecastLabel, overlay, progress, result, showCentral, showPaths } from "../state/forecast";
import { offsetText } from "./Findings";

const ROOM_BEFORE_FORECAST = 3;
const LEAST_BEFORE_FORECAST = 60;

const reading = signal<CrosshairReading | null>(null);
const chart = signal<CandleChart | null>(null);

export function ForecastCard() {
  const bands = result.value !== null && result.value.answer.samples >= LEAST_PATHS;
  return (
    <section
      class={`chart-card ${simulated.value ? "simulated" : ""}`}
      aria-busy={progress.value !== null}
      aria-label={t("chart.label")}
    >
      <div class="toolbar" role="group" aria-label={t("chart.label")}>
        <button type="button" class="button flat" onClick={() => chart.value?.fit()} title={t("chart.fit")}>
          {t("chart.range.all")}
        </button>
        <button type="button" class="button flat" onClick={() => showForecast(chart.value)}>
          {t("chart.latest")}
        </button>
        {bands && <Toggle state={showCentral} label={t("chart.central")} title={t("chart.central_hint")} />}
        {bands && <Toggle state={showPaths} label={t("chart.paths")} title={t("chart.paths_hint")} />}
      </div>
      <div class="chart-frame">
        <Legend />
        <Chart />
      </div>
    </section>
  );
}

function Toggle({ state, label, title }: { state: Signal<boolean>; label: string; title: string }) {
  return (
    <button
      type="button"
      class="button flat toggle"
      aria-pressed={state.value}
      title={title}
      onClick={() => (state.value = !state.value)}
    >
      {label}
    </button>
  );
}

function Legend() {
  const read = file.value!;
  const shown = overlay.value;
  const at = reading.value;
  const quantiles = at?.forecasts[0]?.quantiles;
  return (
    <div class="legend" data-legend>
      <p class="legend-title">
        <b>{read.symbol}</b> <span>· {read.interval}</span>
        {simulated.value && <span class="tag warning"> {t("page.simulated")}</span>}
      </p>
      <CandleLine at={at} candles={read.candles} formatTime={formatTime} formatPrice={formatPrice} />
      {shown && quantiles && (
        <QuantileLine colour={shown.colour} dash={shown.dash} quantiles={quantiles} formatPrice={formatPrice} />
      )}
      {shown && !quantiles && (
        <p class="legend-line whole">
          <Swatch colour={shown.colour} dash={shown.dash} />
          <span>
            {forecastLabel(result.value!)} · {shown.bands.length > 0 && `${t("chart.bands")} · `}
            {plural("result.paths", result.value!.answer.samples)}
          </span>
        </p>
      )}
    </div>
  );
}

/** Bring the forecast into view, with some candles before it; without one, the last candles. */
function showForecast(drawer: CandleChart | null): void {
  const horizon = result.peek()?.answer.time.length ?? 0;
  drawer?.showLast(Math.max(LEAST_BEFORE_FORECAST, Math.round(horizon * ROOM_BEFORE_FORECAST)));
}

/** Connect the chart with the signals; returns what ends the connection. */
function connect(drawer: CandleChart): () => void {
  const ends = [
    effect(() => drawer.setPalette(chartPalette.value)),
    effect(() => {
      void [language.value, digits.value, file.value?.interval];
      drawer.setMessages(untracked(messages));
    }),
    effect(() => drawer.setTimezone("UTC", offsetText(file.value?.offset ?? null))),
    effect(() => {
      if (file.value) drawer.setCandles(file.value.candles);
      showForecast(drawer);
    }),
    effect(() => drawer.setForecasts(overlay.value ? [overlay.value] : [])),
    effect(() => {
      if (result.value) showForecast(drawer);
    }),
  ];
  drawer.onCrosshair((at) => (reading.value = at));
  return () => ends.forEach((end) => end());
}

function messages() {
  return chartMessages({ price: formatPrice, candleTime: formatTime, stepTime: formatTime });
}

function Chart() {
  const container = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const drawer = createCandleChart(container.current!, {
      palette: chartPalette.peek(),
      messages: untracked(messages),
      timezone: "UTC",
      still: reducedMotion.peek(),
    });
    const disconnect = connect(drawer);
    chart.value = drawer;
    return () => {
      disconnect();
      reading.value = null;
      chart.value = null;
      drawer.dispose();
    };
  }, []);
  return <div class="chart" ref={container} data-chart />;
}
