/** The chart as a whole: holds the data, and connects the library with series, regions, viewport and crosshair. */

import {
  CandlestickSeries,
  createChartEx,
  type AutoscaleInfo,
  type IChartApiBase,
  type ISeriesApi,
  type Time,
} from "lightweight-charts";
import { AccessibilityLayer } from "./accessibility";
import { levelFormatter, percentFormatter } from "./band_geometry";
import {
  barsOf,
  concatenate,
  indexOfTime,
  lowerBound,
  NO_CANDLES,
  sessionStarts,
  slice,
  tickSize,
  unionTimes,
  usualInterval,
  withActual,
} from "./candles";
import "./chart.css";
import { chartScene } from "./chart_scene";
import { Crosshair, readingAt, spokenReading } from "./crosshair";
import { ForecastSeries, LABEL_ROOM } from "./forecast_series";
import { forecastTimeline, rangeWithRows, type ForecastTimeline } from "./overlays";
import { candleItems, candleStyle, chartOptions, chartStyle, PRICE_MODES } from "./price_series";
import { chartProbes } from "./probes";
import { futureRegions, Regions, windowBars, type WindowBars } from "./regions";
import { ZonedTimeScale } from "./time_scale";
import { ZoneClock } from "./time_zone";
import type {
  CandleChart,
  CandleColumns,
  ChartMessages,
  ChartOptions,
  ChartPalette,
  ChartScene,
  ChartWindow,
  CrosshairReading,
  ForecastOverlay,
  PixelProbe,
  PriceScale,
} from "./types";
import { Viewport, type AxisExtent } from "./viewport";
import { VolumePane } from "./volume_pane";
import { centralVolumes } from "./volume_series";
import { ZoneLabel } from "./zone_label";

/** Milliseconds without a drawing after which the chart counts as drawn, and its probes are written. */
const SETTLED = 60;
const ROOM = 16;

type PickListener = Parameters<CandleChart["onPick"]>[0];

export function createCandleChart(container: HTMLElement, options: ChartOptions): CandleChart {
  return new CandlestickChart(container, options);
}

class CandlestickChart implements CandleChart {
  private readonly timeScale = new ZonedTimeScale();
  private readonly chart: IChartApiBase<Time>;
  private readonly candleSeries: ISeriesApi<"Candlestick", Time>;
  private readonly forecastSeries: ISeriesApi<"Custom", Time>;
  private readonly forecastView: ForecastSeries;
  private readonly volumePane: VolumePane;
  private readonly priceRegions: Regions;
  private readonly viewport: Viewport;
  private readonly crosshair: Crosshair;
  private readonly layer: AccessibilityLayer;
  private readonly zoneLabel: ZoneLabel;
  private readonly font: string;

  private palette: ChartPalette;
  private messages: ChartMessages;
  private clock: ZoneClock;
  private scale: PriceScale = "linear";
  private history: CandleColumns = NO_CANDLES;
  private actual: CandleColumns | null = null;
  /** The history, and the actual candles after it. */
  private candles: CandleColumns = NO_CANDLES;
  private overlays: readonly ForecastOverlay[] = [];
  private timeline: ForecastTimeline = { rows: [], lines: [] };
  private window: ChartWindow | null = null;
  /** All times on the axis, and the indices of the forecasts' times among them. */
  private times: readonly number[] = [];
  private forecastIndices: number[] = [];
  private interval: number | null = null;
  private sessions: number[] = [];
  private readonly pickListeners = new Set<PickListener>();
  private zoneName: string | undefined;
  private settling: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly container: HTMLElement,
    options: ChartOptions,
  ) {
    this.palette = options.palette;
    this.messages = options.messages;
    this.clock = new ZoneClock(options.timezone);
    const style = getComputedStyle(container);
    this.font = style.fontFamily;
    if (style.position === "static") container.style.position = "relative";
    this.chart = createChartEx<Time, ZonedTimeScale>(container, this.timeScale, chartOptions(this.font, options.still));
    this.chart.chartElement().setAttribute("aria-hidden", "true");
    this.forecastView = new ForecastSeries(this.chart);
    // Series are drawn in the order of their addition: forecasts below, candles over them.
    const hidden = { lastValueVisible: false, priceLineVisible: false };
    this.forecastSeries = this.chart.addCustomSeries(this.forecastView, {
      ...hidden,
      autoscaleInfoProvider: (base: () => AutoscaleInfo | null) => (this.sharesBase() ? null : base()),
    });
    this.candleSeries = this.chart.addSeries(CandlestickSeries, {
      autoscaleInfoProvider: (base: () => AutoscaleInfo | null) => this.candleRange(base()),
    });
    this.priceRegions = new Regions(true, () => this.drawn());
    this.chart.panes()[0]!.attachPrimitive(this.priceRegions);
    this.volumePane = new VolumePane(this.chart, (volume) => this.messages.volume(volume));
    this.viewport = new Viewport(this.chart);
    this.crosshair = new Crosshair(this.chart, {
      times: () => this.times,
      lastCandle: () => this.lastCandle(),
      read: (time) => readingAt(time, this.candles, this.overlays),
      reveal: (index) => this.viewport.reveal(index),
      place: (price, time) => this.chart.setCrosshairPosition(price, time as Time, this.candleSeries),
      speak: (reading) => this.layer.speak(spokenReading(reading, this.overlays, this.messages)),
    });
    this.layer = new AccessibilityLayer(container, {
      step: (candles) => this.crosshair.step(candles),
      jump: (end) => this.crosshair.jump(end),
      zoom: (factor) => {
        this.viewport.zoom(factor, this.crosshair.index());
        this.crosshair.hold();
      },
      pick: () => {
        const index = this.crosshair.index();
        if (index !== null && index >= 0) this.pick(this.times[index]!, "key");
      },
      leave: () => this.crosshair.leave(),
    });
    this.zoneLabel = new ZoneLabel(this.chart, container);
    this.listen();
    this.applyPalette();
    this.applyTimezone();
    this.refresh();
  }

  setCandles(candles: CandleColumns): void {
    this.history = candles;
    this.changeCandles(false);
  }

  prependCandles(candles: CandleColumns): void {
    const first = this.history.time[0] ?? Infinity;
    const end = lowerBound(candles.time, first);
    if (end === 0) return;
    this.history = concatenate(end === candles.time.length ? candles : slice(candles, 0, end), this.history);
    this.changeCandles(true);
  }

  setActual(candles: CandleColumns | null): void {
    this.actual = candles;
    this.changeCandles(false);
  }

  setForecasts(overlays: ForecastOverlay[]): void {
    this.overlays = overlays;
    this.viewport.change(() => {
      this.timeline = forecastTimeline(overlays);
      this.setForecastData();
      return this.measureAxis();
    });
    this.refresh();
  }

  setWindow(window: ChartWindow | null): void {
    this.viewport.change(() => {
      this.window = window;
      return this.measureAxis();
    });
    this.refresh();
  }

  setPalette(palette: ChartPalette): void {
    this.palette = palette;
    this.applyPalette();
    this.volumePane.setData(this.candles, palette);
    this.refresh();
  }

  setMessages(messages: ChartMessages): void {
    this.messages = messages;
    this.applyMessages();
    this.refresh();
  }

  setTimezone(timezone: string, label?: string): void {
    this.zoneName = label;
    if (timezone === this.clock.zone) return this.zoneLabel.setZone(timezone, label);
    this.clock = new ZoneClock(timezone);
    this.applyTimezone();
    // Ticks are weighed when points come; only an axis that was emptied weighs all of them anew.
    this.viewport.change(() => {
      this.volumePane.clear();
      this.forecastSeries.setData([]);
      this.candleSeries.setData([]);
      this.candleSeries.setData(candleItems(this.candles));
      this.volumePane.setData(this.candles, this.palette);
      this.setForecastData();
      return this.measureAxis();
    }, true);
    this.refresh();
  }

  setPriceScale(scale: PriceScale): void {
    this.scale = scale;
    this.forecastView.candleConverter =
      scale === "percent" ? (price) => this.candleSeries.priceToCoordinate(price) : null;
    this.chart.priceScale("right").applyOptions({ mode: PRICE_MODES[scale], autoScale: true });
    this.refresh();
  }

  fit(): void {
    this.viewport.showAll();
    this.refresh();
  }

  showLast(count: number): void {
    this.viewport.showLast(count);
    this.refresh();
  }

  showNewest(): void {
    this.viewport.showNewest();
    this.refresh();
  }

  onCrosshair(listener: (reading: CrosshairReading | null) => void): void {
    this.crosshair.onReading(listener);
  }

  onPick(listener: PickListener): void {
    this.pickListeners.add(listener);
  }

  lastReading(): CrosshairReading | null {
    const time = this.candles.time.at(-1);
    return time === undefined ? null : readingAt(time, this.candles, this.overlays);
  }

  screenshot(): HTMLCanvasElement {
    const canvas = this.chart.takeScreenshot(true, false);
    const context = canvas.getContext("2d");
    const ratio = canvas.width / this.container.clientWidth;
    if (context !== null) this.zoneLabel.draw(context, ratio, this.palette.muted, this.font);
    return canvas;
  }

  scene(): ChartScene {
    return chartScene({
      chart: this.chart,
      prices: this.candleSeries,
      forecasts: { series: this.forecastSeries, view: this.forecastView },
      volume: this.volumePane,
      regions: this.priceRegions,
      ...{ candles: this.candles, times: this.times, scale: this.scale },
      ...{ palette: this.palette, messages: this.messages, clock: this.clock, font: this.font },
      zone: this.zoneLabel.text,
      ...{ width: this.container.clientWidth, height: this.container.clientHeight },
    });
  }

  probes(): PixelProbe[] {
    return chartProbes(this.timeline.lines, this.candles, {
      x: (time) => this.chart.timeScale().timeToCoordinate(time as Time),
      y: (price) => this.candleSeries.priceToCoordinate(price),
    });
  }

  dispose(): void {
    clearTimeout(this.settling);
    this.container.removeEventListener("wheel", this.onMoved);
    this.container.removeEventListener("pointermove", this.onDragged);
    this.container.removeEventListener("dblclick", this.onDoubleClick);
    this.crosshair.dispose();
    this.layer.dispose();
    this.zoneLabel.remove();
    this.chart.remove();
    delete this.container.dataset["ready"];
    delete this.container.dataset["probes"];
  }

  private listen(): void {
    this.container.addEventListener("wheel", this.onMoved, { passive: true });
    this.container.addEventListener("pointermove", this.onDragged);
    this.chart.timeScale().subscribeSizeChange(() => this.viewport.resized());
    this.chart.subscribeClick((event) => {
      if (event.point !== undefined && event.time !== undefined) this.pick(event.time as number, "click");
    });
    this.chart.subscribeDblClick(() => this.reset());
    this.container.addEventListener("dblclick", this.onDoubleClick);
  }

  private pick(time: number, by: "click" | "key"): void {
    for (const listener of this.pickListeners) listener(time, by);
  }

  private reset(): void {
    this.chart.priceScale("right").applyOptions({ autoScale: true });
    this.viewport.reset();
  }

  private readonly onMoved = (): void => this.viewport.moved();

  private readonly onDragged = (event: PointerEvent): void => {
    if (event.buttons !== 0) this.viewport.moved();
  };

  /** The library reports double clicks on panes only; this one looks for those on the time axis. */
  private readonly onDoubleClick = (event: MouseEvent): void => {
    const { bottom } = this.container.getBoundingClientRect();
    if (event.clientY > bottom - this.chart.timeScale().height()) this.reset();
  };

  private changeCandles(still: boolean): void {
    this.candles = withActual(this.history, this.actual);
    this.interval = usualInterval(this.candles.time);
    this.sessions = sessionStarts(this.candles.time, this.interval, (time) => this.clock.wall(time));
    const minMove = tickSize(this.candles);
    const formatter = (price: number) => this.messages.price(price);
    this.candleSeries.applyOptions(candleStyle(this.palette, this.candles));
    // The axis takes its format from whichever series comes first.
    for (const series of [this.candleSeries, this.forecastSeries]) {
      series.applyOptions({ priceFormat: { type: "custom", minMove, formatter } });
    }
    this.viewport.change(() => {
      this.candleSeries.setData(candleItems(this.candles));
      this.volumePane.setData(this.candles, this.palette);
      return this.measureAxis();
    }, still);
    this.refresh();
  }

  private setForecastData(): void {
    this.forecastSeries.setData(this.timeline.rows.map((row) => ({ ...row, time: row.time as Time })));
  }

  private measureAxis(): AxisExtent {
    const forecast = this.timeline.rows.map((row) => row.time);
    this.times = forecast.length === 0 ? this.candles.time : unionTimes(this.candles.time, forecast);
    this.volumePane.setBars(barsOf(this.candles.time, this.times));
    this.volumePane.setCentral(centralVolumes(this.overlays, this.times));
    this.forecastIndices = forecast.map((time) => indexOfTime(this.times, time));
    const banded = this.overlays.some((overlay) => overlay.bands.length > 0);
    return {
      times: this.times,
      lastCandle: Math.min(this.forecastIndices[0] ?? Infinity, this.lastCandle()),
      end: Math.max(this.times.length - 1, this.shownWindow()?.forecast?.last ?? 0),
      room: banded ? LABEL_ROOM : ROOM,
    };
  }

  private lastCandle(): number {
    const time = this.candles.time.at(-1);
    return time === undefined ? -1 : indexOfTime(this.times, time);
  }

  private applyPalette(): void {
    this.chart.applyOptions(chartStyle(this.palette));
    this.candleSeries.applyOptions(candleStyle(this.palette, this.candles));
    this.container.style.setProperty("--chart-muted", this.palette.muted);
    this.container.style.setProperty("--chart-focus", this.palette.text);
  }

  private applyMessages(): void {
    const { locale, chartLabel, keyboardHelp } = this.messages;
    this.timeScale.setZone(this.clock, locale);
    // New options also make the library drop the texts of the ticks that it has kept.
    this.chart.applyOptions({
      localization: {
        locale,
        timeFormatter: (time: Time) => this.messages.dateTime(time as number),
        percentageFormatter: percentFormatter(locale),
      },
    });
    this.layer.setTexts(chartLabel, keyboardHelp);
  }

  private applyTimezone(): void {
    this.applyMessages();
    this.sessions = sessionStarts(this.candles.time, this.interval, (time) => this.clock.wall(time));
    this.zoneLabel.setZone(this.clock.zone, this.zoneName);
  }

  /** Brings everything that is derived from data, texts and colours up to date, and has the chart drawn. */
  private refresh(): void {
    delete this.container.dataset["ready"];
    this.forecastView.drawing = {
      timeline: this.timeline,
      palette: this.palette,
      levelText: levelFormatter(this.messages.locale),
      font: this.font,
      newest: this.candles.time.at(-1) ?? -Infinity,
    };
    const regions = {
      palette: this.palette,
      font: this.font,
      futures: futureRegions(this.overlays, this.times, this.messages),
      window: this.shownWindow(),
      sessions: this.sessions.map((time) => lowerBound(this.times, time)),
    };
    this.priceRegions.setDrawing(regions);
    this.volumePane.setRegions(regions);
    this.crosshair.refresh();
  }

  private shownWindow(): WindowBars | null {
    return this.window === null ? null : windowBars(this.window, this.times, this.interval);
  }

  /** Whether forecasts must be scaled with the candles' base: percentages count from the first candle in sight. */
  private sharesBase(): boolean {
    const visible = this.chart.timeScale().getVisibleLogicalRange();
    return this.scale === "percent" && visible !== null && Math.ceil(visible.from) <= this.lastCandle();
  }

  /** Price range of the candles in sight; with the forecasts where they share the base of the percentages. */
  private candleRange(base: AutoscaleInfo | null): AutoscaleInfo | null {
    const visible = this.chart.timeScale().getVisibleLogicalRange();
    if (visible === null || !this.sharesBase()) return base;
    return rangeWithRows(base, this.timeline.rows, (row) => {
      const bar = this.forecastIndices[row]!;
      return bar >= visible.from && bar <= visible.to;
    });
  }

  private drawn(): void {
    this.viewport.drawn();
    // Not while the library draws: placing the crosshair asks it for another drawing.
    queueMicrotask(() => this.crosshair.drawn());
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.settled(), SETTLED);
  }

  private settled(): void {
    this.zoneLabel.resize();
    if (this.candles.time.length === 0) return;
    this.container.dataset["probes"] = JSON.stringify(this.probes());
    this.container.dataset["ready"] = "true";
  }
}
