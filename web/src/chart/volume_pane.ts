/** The pane below the prices. It exists only while there is volume. */

import type { AutoscaleInfo, IChartApiBase, ISeriesApi, Time } from "lightweight-charts";
import type { Scope } from "./drawing";
import { Regions, type RegionDrawing } from "./regions";
import type { CandleColumns, ChartPalette } from "./types";
import { VolumeSeries, type CentralVolume, type VolumeItem } from "./volume_series";

/** Heights of the panes of prices and volume relative to each other. */
const STRETCH = [4, 1] as const;

export class VolumePane {
  private readonly view: VolumeSeries;
  private series: ISeriesApi<"Custom", Time> | null = null;
  private regions: Regions | null = null;
  private drawing: RegionDrawing | null = null;

  constructor(
    private readonly chart: IChartApiBase<Time>,
    private readonly format: (volume: number) => string,
  ) {
    this.view = new VolumeSeries(chart);
  }

  /**
   * Draws the volume of candles. The series itself has one item, which gives the pane a price scale: 50,000 items would
   * take the library a tenth of a second, again at every step of its conflation, and it would show the last volume of
   * the bars that share a pixel instead of the largest.
   */
  setData(candles: CandleColumns, palette: ChartPalette): void {
    this.view.setColumns(candles, palette);
    const last = candles.time.at(-1);
    if (candles.volume === null || last === undefined) this.remove();
    else this.open().setData([scaleItem(last)]);
  }

  /** Bar of each candle on the axis; null where the bars are numbered as the candles are. */
  setBars(bars: readonly number[] | null): void {
    this.view.bars = bars;
  }

  /** Volumes of the forecasts' central paths; drawn where the candles have volume. */
  setCentral(central: readonly CentralVolume[]): void {
    this.view.central = central;
  }

  /** Vertical coordinate of a volume in this pane, and back; null without volume. */
  y(volume: number): number | null {
    return this.series?.priceToCoordinate(volume) ?? null;
  }

  volumeAt(y: number): number | null {
    return this.series?.coordinateToPrice(y) ?? null;
  }

  paint(scope: Scope): void {
    this.view.paint(scope, (volume) => this.series?.priceToCoordinate(volume) ?? null);
  }

  paintShades(scope: Scope): void {
    this.regions?.paintShades(scope);
  }

  /** Takes all bars off the axis, and leaves the pane as it is. */
  clear(): void {
    this.series?.setData([]);
  }

  setRegions(drawing: RegionDrawing): void {
    this.drawing = drawing;
    this.regions?.setDrawing(drawing);
  }

  private open(): ISeriesApi<"Custom", Time> {
    if (this.series !== null) return this.series;
    const priceFormat = { type: "custom", minMove: 1e-8, formatter: this.format } as const;
    const autoscaleInfoProvider = (): AutoscaleInfo | null => this.view.range();
    const options = { priceFormat, priceLineVisible: false, lastValueVisible: false, autoscaleInfoProvider };
    this.series = this.chart.addCustomSeries(this.view, options, 1);
    this.series.priceScale().applyOptions({ scaleMargins: { top: 0.15, bottom: 0 } });
    const panes = this.chart.panes();
    panes.forEach((pane, index) => pane.setStretchFactor(STRETCH[index] ?? 1));
    this.regions = new Regions(false, null);
    panes[1]!.attachPrimitive(this.regions);
    if (this.drawing !== null) this.regions.setDrawing(this.drawing);
    return this.series;
  }

  private remove(): void {
    if (this.series === null) return;
    this.chart.removeSeries(this.series);
    this.series = null;
    this.regions = null;
  }
}

/** Drawn as nothing; the price scale takes its range from the volume in sight. */
function scaleItem(time: number): VolumeItem {
  return { time: time as Time, value: 0 };
}
