/** What the chart says in the language of the page. */

import type { ChartMessages, CrosshairReading, ForecastOverlay } from "../chart/types";
import { change, compact, LOCALES } from "../formats";
import { language, t } from "../i18n";

/** How prices and times are written. */
export interface ChartFormats {
  price(value: number): string;
  /** Time of a candle as the chart shows it. */
  candleTime(time: number): string;
  /** Time of a step of the forecast. */
  stepTime(time: number): string;
}

export function chartMessages(formats: ChartFormats): ChartMessages {
  return {
    locale: LOCALES[language.value],
    price: formats.price,
    volume: (value) => compact(value, language.value),
    dateTime: formats.candleTime,
    forecastStarts: (time) => t("chart.starts", { time }),
    chartLabel: t("chart.label"),
    keyboardHelp: t("chart.help"),
    candleSentence: (reading) => candleSentence(reading, formats),
    forecastSentence: (reading, overlay) => forecastSentence(reading, overlay, formats),
  };
}

function candleSentence({ candle, previousClose, time }: CrosshairReading, formats: ChartFormats): string {
  if (!candle) return formats.candleTime(time);
  const values = {
    time: formats.candleTime(time),
    open: formats.price(candle.open),
    high: formats.price(candle.high),
    low: formats.price(candle.low),
    close: formats.price(candle.close),
    change: change((candle.close - (previousClose ?? candle.open)) / (previousClose ?? candle.open), language.value),
  };
  if (candle.volume === null) return t("chart.candle_no_volume", values);
  return t("chart.candle", { ...values, volume: compact(candle.volume, language.value) });
}

function forecastSentence(reading: CrosshairReading, overlay: ForecastOverlay, formats: ChartFormats): string {
  const quantiles = reading.forecasts.find((forecast) => forecast.id === overlay.id)?.quantiles ?? {};
  const value = (probability: number): string => {
    const found = Object.entries(quantiles).find(([name]) => Math.abs(Number(name) - probability) < 1e-9);
    return found ? formats.price(found[1]) : "–";
  };
  const values = { time: formats.stepTime(reading.time), label: overlay.label, median: value(0.5) };
  if (!overlay.bands.length) return t("chart.step_paths", values);
  return t("chart.step", {
    ...values,
    low50: value(0.25),
    high50: value(0.75),
    low80: value(0.1),
    high80: value(0.9),
    low95: value(0.025),
    high95: value(0.975),
  });
}
