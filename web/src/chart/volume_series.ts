/**
 * Volume bars, drawn from columns: muted, and coloured by the direction of their candle. Those of a forecast's central
 * path are outlines in its colour.
 */

import {
  customSeriesDefaultOptions,
  type AutoscaleInfo,
  type CustomData,
  type CustomSeriesOptions,
  type CustomSeriesWhitespaceData,
  type IChartApiBase,
  type ICustomSeriesPaneRenderer,
  type ICustomSeriesPaneView,
  type Logical,
  type PaneRendererCustomData,
  type PriceToCoordinateConverter,
  type Time,
} from "lightweight-charts";
import { fastConverter } from "./band_geometry";
import { indexOfTime, lowerBound, NO_CANDLES } from "./candles";
import { withAlpha } from "./colours";
import type { DrawingTarget, Scope } from "./drawing";
import type { CandleColumns, ChartPalette, ForecastOverlay } from "./types";

const CENTRAL_ALPHA = 0.2;

/** From a bar, or a volume, to device pixels. */
type ToPixels = (value: number) => number;

/** The item that gives the pane its price scale. */
export interface VolumeItem extends CustomData<Time> {
  value: number;
}

/** Volumes of a forecast's central path, their bars on the axis, and its colour. */
export interface CentralVolume {
  bars: readonly number[];
  volume: readonly number[];
  colour: string;
}

/** The volumes of all central paths on an axis of all times. */
export function centralVolumes(overlays: readonly ForecastOverlay[], times: readonly number[]): CentralVolume[] {
  return overlays.flatMap(({ central, colour }) =>
    central?.volume
      ? [{ bars: central.time.map((time) => indexOfTime(times, time)), volume: central.volume, colour }]
      : [],
  );
}

/** A bar in device pixels, and the candle that it stands for. */
export interface VolumeBar {
  left: number;
  width: number;
  candle: number;
}

/**
 * Bars of the candles from `first` to before `end`; `middle` is the horizontal middle of a candle's bar, in device
 * pixels. Bars narrower than a pixel are one for each column of pixels, as high as the largest of them.
 */
export function volumeBars(
  volume: readonly number[],
  first: number,
  end: number,
  spacing: number,
  middle: (candle: number) => number,
): VolumeBar[] {
  const bars: VolumeBar[] = [];
  const gap = spacing > 2 ? 1 : 0;
  for (let candle = first; candle < end; candle++) {
    if (!Number.isFinite(volume[candle]!)) continue;
    const centre = middle(candle);
    const left = spacing < 1 ? Math.floor(centre) : Math.round(centre - spacing / 2);
    const last = bars.at(-1);
    if (spacing < 1 && last?.left === left) {
      if (volume[candle]! > volume[last.candle]!) last.candle = candle;
    } else {
      bars.push({ left, width: Math.max(1, Math.round(centre + spacing / 2) - left - gap), candle });
    }
  }
  return bars;
}

/** Pane view of the custom series. Its item says nothing: the columns are drawn as far as they are in sight. */
export class VolumeSeries implements ICustomSeriesPaneView<Time, VolumeItem>, ICustomSeriesPaneRenderer {
  /** Bar of each candle on the axis; null where the bars are numbered as the candles are. */
  bars: readonly number[] | null = null;
  central: readonly CentralVolume[] = [];
  private spacing = 0;
  private candles: CandleColumns = NO_CANDLES;
  private colours = { up: "", down: "" };

  constructor(private readonly chart: IChartApiBase<Time>) {}

  setColumns(candles: CandleColumns, palette: ChartPalette): void {
    this.candles = candles;
    this.colours = { up: withAlpha(palette.up, 0.42), down: withAlpha(palette.down, 0.42) };
  }

  renderer(): ICustomSeriesPaneRenderer {
    return this;
  }

  update(data: PaneRendererCustomData<Time, VolumeItem>): void {
    this.spacing = data.barSpacing;
  }

  priceValueBuilder(item: VolumeItem): number[] {
    return [item.value];
  }

  isWhitespace(item: VolumeItem | CustomSeriesWhitespaceData<Time>): item is CustomSeriesWhitespaceData<Time> {
    return !("value" in item);
  }

  defaultOptions(): CustomSeriesOptions {
    return customSeriesDefaultOptions;
  }

  /** From 0 to the largest volume in sight. */
  range(): AutoscaleInfo | null {
    const largest = this.largest();
    return largest === null ? null : { priceRange: { minValue: 0, maxValue: largest } };
  }

  draw(target: DrawingTarget, convert: PriceToCoordinateConverter): void {
    target.useBitmapCoordinateSpace((scope) => this.paint(scope, convert));
  }

  paint(scope: Scope, convert: PriceToCoordinateConverter): void {
    const largest = this.largest();
    if (largest === null) return;
    const y = fastConverter((value) => convert(value), 0, Math.max(largest, Number.MIN_VALUE));
    if (y === null) return;
    const { spacing } = this;
    const origin = this.chart.timeScale().logicalToCoordinate(0 as Logical) ?? NaN;
    const x = (bar: number): number => (origin + spacing * bar) * scope.horizontalPixelRatio;
    const height = (volume: number): number => Math.round(y(volume) * scope.verticalPixelRatio);
    this.paintCandles(scope, x, height);
    for (const central of this.central) this.paintCentral(scope, x, height, central);
  }

  private paintCandles({ context, horizontalPixelRatio }: Scope, x: ToPixels, y: ToPixels): void {
    const { open, close, volume } = this.candles;
    const { first, end } = this.visible();
    if (volume === null) return;
    const middle = (candle: number): number => x(this.bars === null ? candle : this.bars[candle]!);
    const bars = volumeBars(volume, first, end, this.spacing * horizontalPixelRatio, middle);
    const ground = y(0);
    for (const rising of [true, false]) {
      context.beginPath();
      for (const { left, width, candle } of bars) {
        if (close[candle]! >= open[candle]! !== rising) continue;
        const height = Math.max(1, ground - y(volume[candle]!));
        context.rect(left, ground - height, width, height);
      }
      context.fillStyle = rising ? this.colours.up : this.colours.down;
      context.fill();
    }
  }

  private paintCentral(
    { context, horizontalPixelRatio }: Scope,
    x: ToPixels,
    y: ToPixels,
    central: CentralVolume,
  ): void {
    const { volume, colour } = central;
    const { first, end } = this.visibleSteps(central);
    const bars = volumeBars(volume, first, end, this.spacing * horizontalPixelRatio, (step) => x(central.bars[step]!));
    const stroke = Math.max(1, Math.floor(horizontalPixelRatio));
    const ground = y(0);
    context.fillStyle = withAlpha(colour, CENTRAL_ALPHA);
    context.strokeStyle = colour;
    context.lineWidth = stroke;
    for (const { left, width, candle: step } of bars) {
      const height = Math.max(1, ground - y(volume[step]!));
      context.fillRect(left, ground - height, width, height);
      // An outline lies within its bar; below three pixels there is no room for one.
      if (width < 3 * stroke) continue;
      context.strokeRect(left + stroke / 2, ground - height + stroke / 2, width - stroke, height);
    }
  }

  /** Null without volume in sight. */
  private largest(): number | null {
    const { first, end } = this.visible();
    let largest: number | null = null;
    const count = (value: number): void => {
      if (value >= (largest ?? 0)) largest = value;
    };
    for (let candle = first; candle < end; candle++) count(this.candles.volume![candle]!);
    for (const central of this.central) {
      const steps = this.visibleSteps(central);
      for (let step = steps.first; step < steps.end; step++) count(central.volume[step]!);
    }
    return largest;
  }

  /** Steps of a central path whose bars are in sight, at least in part. */
  private visibleSteps({ bars }: CentralVolume): { first: number; end: number } {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    if (range === null) return { first: 0, end: 0 };
    return { first: lowerBound(bars, Math.floor(range.from)), end: lowerBound(bars, Math.ceil(range.to) + 1) };
  }

  /** Candles whose bars are in sight, at least in part. */
  private visible(): { first: number; end: number } {
    const { time, volume } = this.candles;
    const range = this.chart.timeScale().getVisibleLogicalRange();
    if (range === null || volume === null) return { first: 0, end: 0 };
    const candleAt = (bar: number): number =>
      this.bars === null ? Math.max(0, Math.min(time.length, bar)) : lowerBound(this.bars, bar);
    return { first: candleAt(Math.floor(range.from)), end: candleAt(Math.ceil(range.to) + 1) };
  }
}
