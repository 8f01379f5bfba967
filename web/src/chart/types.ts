/** What the chart draws, independent of the server's documents and of the drawing library. */

import type { CandleColumns } from "./candle_columns";
import type { Scope } from "./drawing";
import type { ZoneClock } from "./time_zone";

export type { CandleColumns };

/** One band of the close: the central interval of probability `level`, e.g. 0.8, one value per step. */
export interface Band {
  level: number;
  low: number[];
  high: number[];
}

/** A forecast laid over the candles. Everything starts at the last close before it. */
export interface ForecastOverlay {
  id: string;
  /** Name in legends and spoken descriptions, such as "kronos-nano, calibrated". */
  label: string;
  /** CSS colour; bands are translucent shades of it. */
  colour: string;
  /** Dash pattern of the median, to tell overlaid forecasts apart without colour; [] for the usual dashes, 5 and 4 pixels. */
  dash: number[];
  /** Time of the last candle of the history, and its close: where bands start with zero width. */
  origin: { time: number; close: number };
  /** Opens of the forecast candles, UTC epoch seconds. */
  time: number[];
  /** Nested bands, the widest first; empty below 20 paths. */
  bands: Band[];
  /** Median of the close per step. */
  median: number[];
  /** Candles of the most central sampled path (a medoid), drawn hollow; null to leave out. */
  central: CandleColumns | null;
  /** Closes of sampled paths to draw as thin lines. */
  paths: number[][];
}

export interface ChartPalette {
  ground: string;
  grid: string;
  text: string;
  muted: string;
  up: string;
  down: string;
  /** Draw up candles hollow, so that direction does not depend on colour alone. */
  hollowUp: boolean;
  /** Shade of the window that a forecast will cover, before there is one; `muted` if left out. */
  forecast?: string;
}

export type PriceScale = "linear" | "log" | "percent";

/** What the legend shows for the candle under the crosshair, or for the last one. */
export interface CrosshairReading {
  time: number;
  candle: { open: number; high: number; low: number; close: number; volume: number | null } | null;
  /** Close of the candle before, for the change. */
  previousClose: number | null;
  /** For each overlay that covers this time: quantiles by probability, e.g. {0.025: …, 0.5: …}. */
  forecasts: { id: string; quantiles: Record<string, number> }[];
}

/** Texts and formats that the chart needs; they follow the language. */
export interface ChartMessages {
  locale: string;
  price(value: number): string;
  volume(value: number): string;
  /** A full date and time in the chart's time zone, for the crosshair and the screen reader. */
  dateTime(time: number): string;
  forecastStarts(time: string): string;
  /** Role description and keyboard help of the chart's focusable layer. */
  chartLabel: string;
  keyboardHelp: string;
  /** Sentence for one candle, e.g. "2026-11-01 14:00: open 1, high 2, low 0.5, close 1.5, up 2.1 %, volume 3K". */
  candleSentence(reading: CrosshairReading): string;
  /** Sentence for one forecast step, e.g. "…, forecast by kronos-nano: median 1.5, 80 % between 1.2 and 1.8". */
  forecastSentence(reading: CrosshairReading, overlay: ForecastOverlay): string;
}

export interface ChartOptions {
  palette: ChartPalette;
  messages: ChartMessages;
  /** IANA name; "UTC" for times without a zone. */
  timezone: string;
  /** Reduced motion: no animated scrolling. */
  still: boolean;
}

/** Rows of the shown candles, by time of their first and last candle. */
export interface TimeRange {
  from: number;
  to: number;
}

/** What the model sees, and what it will forecast. */
export interface ChartWindow {
  history: TimeRange;
  forecast: TimeRange | null;
}

/** Where a known point is drawn, for tests that probe pixels: CSS pixels relative to the chart's container. */
export interface PixelProbe {
  name: string;
  x: number;
  y: number;
}

/** What is needed to draw the chart as it is shown elsewhere, in CSS pixels. */
export interface ChartScene {
  width: number;
  height: number;
  /** Width of the panes without the price axis. */
  plotWidth: number;
  paneHeights: number[];
  /** All times of the axis; the bars from `first` to before `end` are in sight. */
  times: readonly number[];
  first: number;
  end: number;
  candles: CandleColumns;
  barOf(candle: number): number;
  x(bar: number): number;
  /** Relative to the pane of prices, or to that of volume; null where there is no scale. */
  priceY(price: number): number | null;
  priceAt(y: number): number | null;
  volumeY(volume: number): number | null;
  volumeAt(y: number): number | null;
  /** Price as the axis shows it, and the one that percentages count from. */
  priceText(price: number): string;
  percentBase: number | null;
  volumeText(volume: number): string;
  palette: ChartPalette;
  font: string;
  locale: string;
  clock: ZoneClock;
  zone: string;
  paintShades(scope: Scope, pane: number): void;
  paintForecasts(scope: Scope): void;
  paintVolume(scope: Scope): void;
  paintLabels(scope: Scope): void;
}

/** The chart. All methods may be called at any time; drawing happens in the next animation frame. */
export interface CandleChart {
  /** Replace the candles. The newest part may come first, and `prependCandles` brings the older ones. */
  setCandles(candles: CandleColumns): void;
  /** Add older candles in front, without moving the view. */
  prependCandles(candles: CandleColumns): void;
  setForecasts(overlays: ForecastOverlay[]): void;
  /** Actual candles after the origin, shown over the forecast in a replay; null to hide. */
  setActual(candles: CandleColumns | null): void;
  /** Shade what the model sees, and what it will forecast; null to hide. */
  setWindow(window: ChartWindow | null): void;
  setPalette(palette: ChartPalette): void;
  setMessages(messages: ChartMessages): void;
  /** `label` stands in the corner of the axis; the place of the zone if left out. */
  setTimezone(timezone: string, label?: string): void;
  setPriceScale(scale: PriceScale): void;
  /** Show everything; show the last `count` candles with the forecasts; go to the newest candle. */
  fit(): void;
  showLast(count: number): void;
  showNewest(): void;
  /** Called with every move of the crosshair, by mouse or keyboard; null when it leaves. */
  onCrosshair(listener: (reading: CrosshairReading | null) => void): void;
  /** Called with the time of a bar that is clicked, or chosen with Enter. */
  onPick(listener: (time: number, by: "click" | "key") => void): void;
  /** Reading of the last candle, for a legend without a crosshair; null without candles. */
  lastReading(): CrosshairReading | null;
  /** A PNG of the chart as it is shown. */
  screenshot(): HTMLCanvasElement;
  /** What a vector picture of the chart is drawn from. */
  scene(): ChartScene;
  /** Points of the last drawing, for tests: also written to data attributes of the container. */
  probes(): PixelProbe[];
  dispose(): void;
}
