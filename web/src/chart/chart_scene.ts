/** The chart as it is shown, for drawings of it elsewhere. */

import type { IChartApiBase, ISeriesApi, Logical, Time } from "lightweight-charts";
import { percentFormatter } from "./band_geometry";
import { barsOf, lowerBound } from "./candles";
import type { ForecastSeries } from "./forecast_series";
import type { Regions } from "./regions";
import type { ZoneClock } from "./time_zone";
import type { CandleColumns, ChartMessages, ChartPalette, ChartScene, PriceScale } from "./types";
import type { VolumePane } from "./volume_pane";

/** The parts of the chart that a scene is made of. */
export interface SceneParts {
  chart: IChartApiBase<Time>;
  prices: ISeriesApi<"Candlestick", Time>;
  forecasts: { series: ISeriesApi<"Custom", Time>; view: ForecastSeries };
  volume: VolumePane;
  regions: Regions;
  candles: CandleColumns;
  times: readonly number[];
  scale: PriceScale;
  palette: ChartPalette;
  messages: ChartMessages;
  clock: ZoneClock;
  font: string;
  zone: string;
  width: number;
  height: number;
}

export function chartScene(parts: SceneParts): ChartScene {
  const { chart, prices, forecasts, volume, regions, candles, times, messages } = parts;
  const scale = chart.timeScale();
  const visible = scale.getVisibleLogicalRange() ?? { from: 0, to: -1 };
  const bars = barsOf(candles.time, times);
  // Percentages count from the first candle that is wholly in sight.
  const base = candles.close[lowerBound(candles.time, times[Math.max(0, Math.ceil(visible.from))] ?? Infinity)];
  const percentBase = parts.scale === "percent" ? (base ?? null) : null;
  const percent = percentFormatter(messages.locale);
  return {
    ...{ candles, times, width: parts.width, height: parts.height },
    ...{ palette: parts.palette, font: parts.font, locale: messages.locale, clock: parts.clock, zone: parts.zone },
    plotWidth: scale.width(),
    paneHeights: chart.panes().map((pane) => pane.getHeight()),
    first: Math.max(0, Math.floor(visible.from)),
    end: Math.min(times.length, Math.ceil(visible.to) + 1),
    barOf: (candle) => bars?.[candle] ?? candle,
    x: (bar) => scale.logicalToCoordinate(bar as Logical) ?? NaN,
    priceY: (price) => prices.priceToCoordinate(price),
    priceAt: (y) => prices.coordinateToPrice(y),
    volumeY: (value) => volume.y(value),
    volumeAt: (y) => volume.volumeAt(y),
    priceText: (price) => (percentBase === null ? messages.price(price) : percent(100 * (price / percentBase - 1))),
    percentBase,
    volumeText: (value) => messages.volume(value),
    paintShades: (scope, pane) => (pane === 0 ? regions : volume).paintShades(scope),
    paintForecasts: (scope) => forecasts.view.paint(scope, (price) => forecasts.series.priceToCoordinate(price)),
    paintVolume: (scope) => volume.paint(scope),
    paintLabels: (scope) => regions.paintLabels(scope),
  };
}
