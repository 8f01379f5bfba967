/** Volume bars, drawn from columns: muted, and coloured by the direction of their candle. */

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
import { lowerBound, NO_CANDLES } from "./candles";
import { withAlpha } from "./colours";
import type { DrawingTarget, Scope } from "./drawing";
import type { CandleColumns, ChartPalette } from "./types";

/** The item that gives the pane its price scale. */
export interface VolumeItem extends CustomData<Time> {
  value: number;
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
    const { first, end } = this.visible();
    return first === end ? null : { priceRange: { minValue: 0, maxValue: this.largest(first, end) } };
  }

  draw(target: DrawingTarget, convert: PriceToCoordinateConverter): void {
    target.useBitmapCoordinateSpace((scope) => this.paint(scope, convert));
  }

  paint({ context, horizontalPixelRatio, verticalPixelRatio }: Scope, convert: PriceToCoordinateConverter): void {
    const { open, close, volume } = this.candles;
    const { first, end } = this.visible();
    if (volume === null || first === end) return;
    const y = fastConverter((value) => convert(value), 0, Math.max(this.largest(first, end), Number.MIN_VALUE));
    if (y === null) return;
    const { spacing } = this;
    const origin = this.chart.timeScale().logicalToCoordinate(0 as Logical) ?? NaN;
    const middle = (candle: number): number =>
      (origin + spacing * (this.bars === null ? candle : this.bars[candle]!)) * horizontalPixelRatio;
    const bars = volumeBars(volume, first, end, spacing * horizontalPixelRatio, middle);
    const ground = Math.round(y(0) * verticalPixelRatio);
    for (const rising of [true, false]) {
      context.beginPath();
      for (const { left, width, candle } of bars) {
        if (close[candle]! >= open[candle]! !== rising) continue;
        const height = Math.max(1, ground - Math.round(y(volume[candle]!) * verticalPixelRatio));
        context.rect(left, ground - height, width, height);
      }
      context.fillStyle = rising ? this.colours.up : this.colours.down;
      context.fill();
    }
  }

  private largest(first: number, end: number): number {
    const volume = this.candles.volume!;
    let largest = 0;
    for (let candle = first; candle < end; candle++) if (volume[candle]! > largest) largest = volume[candle]!;
    return largest;
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
