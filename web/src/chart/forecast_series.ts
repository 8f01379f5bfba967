/** One custom series for all forecasts: bands, sampled paths, median and central path of every overlay. */

import {
  customSeriesDefaultOptions,
  type CustomData,
  type CustomSeriesOptions,
  type CustomSeriesWhitespaceData,
  type IChartApiBase,
  type ICustomSeriesPaneRenderer,
  type ICustomSeriesPaneView,
  type PaneRendererCustomData,
  type PriceToCoordinateConverter,
  type Logical,
  type Time,
} from "lightweight-charts";
import { bandAlphas, candleWidth, fastConverter, spreadLabels, visiblePoints, type IndexRange } from "./band_geometry";
import type { DrawingTarget, Scope } from "./drawing";
import type { ForecastTimeline, OverlayLines } from "./overlays";
import type { ChartPalette } from "./types";

const LABEL_SIZE = 11;
const LABEL_DISTANCE = 13;
const LABEL_GAP = 6;
/** More labels than these hide each other: of each overlay only the widest band is labelled then. */
const MOST_LABELS = 6;

/** Room at the right of the last step for the labels of the bands, in CSS pixels. */
export const LABEL_ROOM = 52;

/** One time of the forecasts, as the library's price scale and data layer see it. */
export interface ForecastItem extends CustomData<Time> {
  low: number;
  high: number;
  value: number;
}

/** What the series draws; the chart sets it, together with the items of the series. */
export interface ForecastDrawing {
  timeline: ForecastTimeline;
  palette: ChartPalette;
  /** Level of a band as text. */
  levelText: (level: number) => string;
  font: string;
  /** Time of the newest drawn candle: central candles up to it are faint, since the actual ones lie over them. */
  newest: number;
}

/** Everything that the parts of one drawing share. */
interface Frame {
  scope: Scope;
  drawing: ForecastDrawing;
  y: (price: number) => number;
  spacing: number;
}

/** The part of an overlay that is in sight, with horizontal coordinates in device pixels for every value. */
interface DrawnLines extends OverlayLines {
  range: IndexRange;
  x: number[];
}

/** Pane view of the custom series. Drawing needs only the items' logical indices; the values come from the overlays. */
export class ForecastSeries implements ICustomSeriesPaneView<Time, ForecastItem>, ICustomSeriesPaneRenderer {
  drawing: ForecastDrawing | null = null;
  /** In percent mode the bands must refer to the same first price as the candles: their converter, or null. */
  candleConverter: ((price: number) => number | null) | null = null;
  private data: PaneRendererCustomData<Time, ForecastItem> | null = null;

  constructor(private readonly chart: IChartApiBase<Time>) {}

  renderer(): ICustomSeriesPaneRenderer {
    return this;
  }

  update(data: PaneRendererCustomData<Time, ForecastItem>): void {
    this.data = data;
  }

  /** The last value is the one that the library takes for the close. */
  priceValueBuilder(item: ForecastItem): number[] {
    return [item.low, item.high, item.value];
  }

  isWhitespace(item: ForecastItem | CustomSeriesWhitespaceData<Time>): item is CustomSeriesWhitespaceData<Time> {
    return !("value" in item);
  }

  defaultOptions(): CustomSeriesOptions {
    return customSeriesDefaultOptions;
  }

  draw(target: DrawingTarget, convert: PriceToCoordinateConverter): void {
    target.useBitmapCoordinateSpace((scope) => this.paint(scope, convert));
  }

  paint(scope: Scope, convert: PriceToCoordinateConverter): void {
    const frame = this.frame(scope, convert);
    if (frame === null) return;
    const lines = this.visibleLines(frame);
    scope.context.save();
    for (const line of lines) drawBands(frame, line, frame.drawing.timeline.lines.length);
    for (const line of lines) drawPaths(frame, line);
    for (const line of lines) drawCentral(frame, line);
    for (const line of lines) drawMedian(frame, line);
    drawLabels(frame, lines);
    scope.context.restore();
  }

  private visibleLines(frame: Frame): DrawnLines[] {
    const scale = this.chart.timeScale();
    const visible = scale.getVisibleLogicalRange();
    if (visible === null) return [];
    const bars = this.data?.bars ?? [];
    const ratio = frame.scope.horizontalPixelRatio;
    return frame.drawing.timeline.lines.flatMap((line) => {
      const indices = line.positions.map((position) => bars[position]!.time);
      const range = visiblePoints(indices, visible.from, visible.to);
      if (range.end === 0) return [];
      // Coordinates of bars out of sight are stale in `bars`; their logical indices always hold.
      return [
        { ...line, range, x: indices.map((index) => (scale.logicalToCoordinate(index as Logical) ?? NaN) * ratio) },
      ];
    });
  }

  private frame(scope: Scope, convert: PriceToCoordinateConverter): Frame | null {
    const { drawing, data } = this;
    const rows = drawing?.timeline.rows ?? [];
    if (drawing === null || data === null || rows.length === 0 || data.bars.length !== rows.length) return null;
    const low = Math.min(...rows.map((row) => row.low));
    const high = Math.max(...rows.map((row) => row.high));
    const candles = this.candleConverter;
    const y =
      (candles === null ? null : fastConverter(candles, low, high)) ??
      fastConverter((price) => convert(price), low, high);
    if (y === null) return null;
    return { scope, drawing, y: (price) => y(price) * scope.verticalPixelRatio, spacing: data.barSpacing };
  }
}

function trace(frame: Frame, line: DrawnLines, values: readonly number[]): void {
  const { context } = frame.scope;
  const { range } = line;
  for (let step = range.start; step < Math.min(range.end, values.length); step++) {
    if (step === range.start) context.moveTo(line.x[step]!, frame.y(values[step]!));
    else context.lineTo(line.x[step]!, frame.y(values[step]!));
  }
}

function drawBands(frame: Frame, line: DrawnLines, overlays: number): void {
  const { context, verticalPixelRatio } = frame.scope;
  const { range } = line;
  const alphas = bandAlphas(line.bands.length, overlays);
  context.fillStyle = line.overlay.colour;
  context.strokeStyle = line.overlay.colour;
  context.lineWidth = verticalPixelRatio;
  context.lineJoin = "round";
  context.setLineDash([]);
  line.bands.forEach((band, index) => {
    context.globalAlpha = alphas[index]!;
    context.beginPath();
    trace(frame, line, band.high);
    for (let step = Math.min(range.end, band.low.length) - 1; step >= range.start; step--) {
      context.lineTo(line.x[step]!, frame.y(band.low[step]!));
    }
    context.closePath();
    context.fill();
    context.globalAlpha = 0.28;
    for (const edge of [band.high, band.low]) {
      context.beginPath();
      trace(frame, line, edge);
      context.stroke();
    }
  });
}

function drawPaths(frame: Frame, line: DrawnLines): void {
  const { context, horizontalPixelRatio } = frame.scope;
  if (line.paths.length === 0) return;
  context.strokeStyle = line.overlay.colour;
  context.lineWidth = Math.max(1, 0.75 * horizontalPixelRatio);
  context.lineJoin = "bevel";
  context.setLineDash([]);
  // Few paths are the forecast itself; many show the spread of single paths behind the bands.
  context.globalAlpha = line.bands.length === 0 ? 0.55 : Math.max(0.1, 0.3 - 0.003 * line.paths.length);
  for (const path of line.paths) {
    context.beginPath();
    trace(frame, line, path);
    context.stroke();
  }
}

function drawMedian(frame: Frame, line: DrawnLines): void {
  const { context, horizontalPixelRatio } = frame.scope;
  const dash = line.overlay.dash.length === 0 ? [5, 4] : line.overlay.dash;
  context.lineWidth = 2 * horizontalPixelRatio;
  context.lineJoin = "round";
  context.lineCap = "butt";
  context.globalAlpha = 1;
  context.strokeStyle = line.overlay.colour;
  context.setLineDash(dash.map((length) => length * horizontalPixelRatio));
  context.beginPath();
  // From the origin even where it is out of sight: dashes that began at the edge would crawl while the chart is panned.
  trace(frame, { ...line, range: { start: 0, end: line.range.end } }, line.median);
  context.stroke();
  context.setLineDash([]);
}

/** The central path: up candles hollow, down candles filled with a lighter shade of the overlay's colour. */
function drawCentral(frame: Frame, line: DrawnLines): void {
  const { context, horizontalPixelRatio, verticalPixelRatio } = frame.scope;
  const { central, colour } = line.overlay;
  if (central === null || frame.spacing < 2) return;
  const stroke = Math.max(1, Math.floor(horizontalPixelRatio));
  let width = Math.max(candleWidth(frame.spacing, horizontalPixelRatio), stroke);
  if (width % 2 !== stroke % 2) width -= 1;
  context.fillStyle = colour;
  context.strokeStyle = colour;
  context.lineWidth = stroke;
  context.lineJoin = "miter";
  for (let step = Math.max(1, line.range.start); step < line.range.end; step++) {
    const open = central.open[step - 1];
    const close = central.close[step - 1];
    if (open === undefined || close === undefined) continue;
    const faint = line.overlay.time[step - 1]! <= frame.drawing.newest;
    const centre = Math.round(line.x[step]!);
    const left = centre - Math.floor(width / 2);
    const top = Math.round(frame.y(Math.max(open, close)));
    const bottom = Math.max(top + verticalPixelRatio, Math.round(frame.y(Math.min(open, close))));
    const high = Math.round(frame.y(central.high[step - 1]!));
    const low = Math.round(frame.y(central.low[step - 1]!));
    const wick = centre - Math.floor(stroke / 2);
    context.globalAlpha = faint ? 0.25 : 0.85;
    context.fillRect(wick, high, stroke, top - high);
    context.fillRect(wick, bottom, stroke, low - bottom);
    if (width < 3 * stroke) {
      context.fillRect(left, top, width, bottom - top);
      continue;
    }
    if (close < open) {
      context.globalAlpha = faint ? 0.12 : 0.4;
      context.fillRect(left, top, width, bottom - top);
      context.globalAlpha = faint ? 0.25 : 0.85;
    }
    context.strokeRect(left + stroke / 2, top + stroke / 2, width - stroke, Math.max(0, bottom - top - stroke));
  }
}

/** Level of each band at its right end, or at the right edge of the pane where the end is out of sight. */
function drawLabels(frame: Frame, lines: DrawnLines[]): void {
  const { context, horizontalPixelRatio, verticalPixelRatio, bitmapSize } = frame.scope;
  const { levelText, font, palette } = frame.drawing;
  context.font = `${LABEL_SIZE * verticalPixelRatio}px ${font}`;
  context.textBaseline = "middle";
  context.textAlign = "left";
  context.globalAlpha = 1;
  const labels: { text: string; colour: string; x: number; y: number }[] = [];
  const crowded = lines.reduce((count, line) => count + line.bands.length, 0) > MOST_LABELS;
  for (const line of lines) {
    for (const band of crowded ? line.bands.slice(0, 1) : line.bands) {
      const text = levelText(band.level);
      const end = line.x.at(-1)! + LABEL_GAP * horizontalPixelRatio;
      const edge = bitmapSize.width - context.measureText(text).width - 4 * horizontalPixelRatio;
      const x = Math.min(end, edge);
      labels.push({ text, colour: line.overlay.colour, x, y: frame.y(valueAt(line, band.high, x)) });
    }
  }
  const half = (LABEL_DISTANCE / 2) * verticalPixelRatio;
  const places = spreadLabels(
    labels.map((label) => label.y),
    LABEL_DISTANCE * verticalPixelRatio,
    half,
    bitmapSize.height - half,
  );
  // A halo of the ground keeps the text legible over shades and lines.
  context.strokeStyle = palette.ground;
  context.lineWidth = 3 * verticalPixelRatio;
  context.lineJoin = "round";
  labels.forEach((label, index) => {
    context.strokeText(label.text, label.x, places[index]!);
    context.fillStyle = label.colour;
    context.fillText(label.text, label.x, places[index]!);
  });
}

/** Value of a line at a horizontal coordinate, interpolated; the last one beyond its end. */
function valueAt(line: DrawnLines, values: readonly number[], x: number): number {
  let step = values.length - 1;
  while (step > 0 && line.x[step]! > x) step--;
  const next = values[step + 1];
  if (next === undefined) return values[step]!;
  const left = line.x[step]!;
  const right = line.x[step + 1]!;
  return values[step]! + (next - values[step]!) * Math.max(0, Math.min(1, (x - left) / (right - left)));
}
