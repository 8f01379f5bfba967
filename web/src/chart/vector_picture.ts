/** The chart as a vector picture: the same drawings as on the canvas, with axes and candles of its own. */

import { candleWidth } from "./band_geometry";
import { lowerBound } from "./candles";
import { parseColour } from "./colours";
import type { Scope } from "./drawing";
import { SvgContext } from "./svg_context";
import { tickLabels, tickWeight, WEIGHT } from "./time_scale";
import type { ChartScene } from "./types";

export { SvgContext };

const FONT_SIZE = 11;
/** Least distance of ticks in CSS pixels. */
const PRICE_TICKS = 48;
const VOLUME_TICKS = 32;
const TIME_TICKS = 84;
/** Ticks nearer to an edge would have their text cut off. */
const TIME_MARGIN = 16;
/** From the border of the price axis to its labels. */
const LABEL_GAP = 9;
const TAG_HEIGHT = 17;

/** Draws the whole chart, as far as it is in sight. */
export function paintChart(context: SvgContext, scene: ChartScene): void {
  const { palette, width, plotWidth, paneHeights } = scene;
  const ticks = timeTicks(scene);
  context.fillStyle = palette.ground;
  context.fillRect(0, 0, width, scene.height);
  let top = 0;
  paneHeights.forEach((height, pane) => {
    const levels = pane === 0 ? priceTicks(scene, height) : volumeTicks(scene, height);
    context.frame(0, top, plotWidth, height, () => {
      for (const { x } of ticks) line(context, palette.grid, x, 0, x, height);
      for (const { y } of levels) line(context, palette.grid, 0, y, plotWidth, y);
      const scope = scopeOf(context, plotWidth, height);
      scene.paintShades(scope, pane);
      if (pane > 0) return scene.paintVolume(scope);
      scene.paintForecasts(scope);
      drawCandles(context, scene);
      scene.paintLabels(scope);
    });
    context.font = `${FONT_SIZE}px ${scene.font}`;
    context.textBaseline = "middle";
    context.textAlign = "left";
    context.fillStyle = palette.muted;
    const tag = pane === 0 ? lastPriceY(scene, height) : null;
    for (const { y, text } of levels) {
      const covered = tag !== null && Math.abs(y - tag) < (TAG_HEIGHT + FONT_SIZE) / 2;
      if (y > FONT_SIZE / 2 && y < height - FONT_SIZE / 2 && !covered)
        context.fillText(text, plotWidth + LABEL_GAP, top + y);
    }
    if (tag !== null) drawLastPrice(context, scene, tag);
    top += height;
    line(context, palette.grid, 0, top, width, top);
    top += 1;
  });
  line(context, palette.grid, plotWidth, 0, plotWidth, top);
  drawTimes(context, scene, ticks, (top + scene.height) / 2);
}

function scopeOf(context: SvgContext, width: number, height: number): Scope {
  const size = { width, height } as Scope["bitmapSize"];
  return {
    context: context as unknown as CanvasRenderingContext2D,
    mediaSize: size as Scope["mediaSize"],
    bitmapSize: size,
    horizontalPixelRatio: 1,
    verticalPixelRatio: 1,
  };
}

function line(context: SvgContext, colour: string, x1: number, y1: number, x2: number, y2: number): void {
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
  context.stroke();
}

interface Level {
  y: number;
  text: string;
}

function priceTicks({ priceAt, priceY, priceText, percentBase }: ChartScene, height: number): Level[] {
  const [low, high] = [priceAt(height), priceAt(0)];
  if (low === null || high === null) return [];
  const base = percentBase ?? 1;
  const shift = percentBase === null ? 0 : 1;
  const values = niceValues(low / base - shift, high / base - shift, height / PRICE_TICKS);
  return values.flatMap((value) => {
    const price = (value + shift) * base;
    const y = priceY(price);
    return y === null ? [] : [{ y, text: priceText(price) }];
  });
}

function volumeTicks({ volumeAt, volumeY, volumeText }: ChartScene, height: number): Level[] {
  const high = volumeAt(0);
  if (high === null) return [];
  return niceValues(0, high, height / VOLUME_TICKS).flatMap((value) => {
    const y = volumeY(value);
    return y === null || value === 0 ? [] : [{ y, text: volumeText(value) }];
  });
}

/** About `count` round values of a range. */
export function niceValues(low: number, high: number, count: number): number[] {
  const rough = (high - low) / Math.max(1, count);
  if (!(rough > 0)) return [];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * 0.999)!;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, index) => (first + index) * step);
}

interface TimeTick {
  x: number;
  text: string;
  bold: boolean;
}

/** Ticks of the greatest weights, the weightiest placed first, as the library places them. */
function timeTicks({ times, first, end, x, plotWidth, clock, locale }: ChartScene): TimeTick[] {
  const weighed = times.slice(first, end).map((time, offset) => {
    const previous = times[first + offset - 1] ?? time - ((times[1] ?? time) - time);
    return { time, bar: first + offset, weight: tickWeight(previous, time, clock) };
  });
  weighed.sort((a, b) => b.weight - a.weight || a.bar - b.bar);
  const least = TIME_TICKS / (x(1) - x(0));
  const placed: typeof weighed = [];
  for (const tick of weighed) {
    if (placed.every((other) => Math.abs(other.bar - tick.bar) >= least)) placed.push(tick);
  }
  const label = tickLabels(clock, locale);
  return placed
    .map(({ time, bar, weight }) => ({ x: x(bar), text: label(time, weight), bold: weight >= WEIGHT.day }))
    .filter((tick) => tick.x > TIME_MARGIN && tick.x < plotWidth - TIME_MARGIN);
}

function drawTimes(context: SvgContext, scene: ChartScene, ticks: TimeTick[], middle: number): void {
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillStyle = scene.palette.muted;
  for (const { x, text, bold } of ticks) {
    context.font = `${bold ? "bold " : ""}${FONT_SIZE}px ${scene.font}`;
    context.fillText(text, x, middle);
  }
  context.font = `${FONT_SIZE}px ${scene.font}`;
  context.fillText(scene.zone, (scene.plotWidth + scene.width) / 2, middle);
}

/** Candles in four paths: wicks and bodies, rising and falling. Those that share a pixel are drawn as one. */
function drawCandles(context: SvgContext, scene: ChartScene): void {
  const { palette, x, priceY } = scene;
  const spacing = x(1) - x(0);
  const width = candleWidth(spacing, 1);
  const shapes = visibleCandles(scene, spacing);
  for (const rising of [true, false]) {
    const hollow = rising && palette.hollowUp && width > 2;
    const colour = rising ? palette.up : palette.down;
    const chosen = shapes.filter(({ open, close }) => close >= open === rising);
    context.fillStyle = colour;
    context.strokeStyle = colour;
    context.lineWidth = 1;
    context.beginPath();
    const bodies = chosen.map(({ bar, open, high, low, close }) => {
      const centre = Math.floor(x(bar)) + 0.5;
      const top = priceY(Math.max(open, close)) ?? NaN;
      const bottom = Math.max(priceY(Math.min(open, close)) ?? NaN, top + 1);
      const [highest, lowest] = [priceY(high) ?? NaN, priceY(low) ?? NaN];
      context.rect(centre - 0.5, highest, 1, Math.max(0, top - highest));
      context.rect(centre - 0.5, bottom, 1, Math.max(0, lowest - bottom));
      return { left: centre - width / 2, top, height: bottom - top };
    });
    context.fill();
    context.beginPath();
    const inset = hollow ? 0.5 : 0;
    for (const { left, top, height } of bodies) {
      context.rect(left + inset, top + inset, width - 2 * inset, Math.max(0, height - 2 * inset));
    }
    if (hollow) context.stroke();
    else context.fill();
  }
}

interface CandleShape {
  bar: number;
  open: number;
  high: number;
  low: number;
  close: number;
}

function visibleCandles({ candles, barOf, first, end, times, x }: ChartScene, spacing: number): CandleShape[] {
  const { time, open, high, low, close } = candles;
  const shapes: CandleShape[] = [];
  const from = lowerBound(time, times[first] ?? Infinity);
  for (let index = from; index < time.length && barOf(index) < end; index++) {
    if (!Number.isFinite(close[index]!)) continue;
    const last = shapes.at(-1);
    if (spacing < 1 && last !== undefined && Math.floor(x(last.bar)) === Math.floor(x(barOf(index)))) {
      last.high = Math.max(last.high, high[index]!);
      last.low = Math.min(last.low, low[index]!);
      last.close = close[index]!;
    } else {
      const [o, h, l, c] = [open[index]!, high[index]!, low[index]!, close[index]!];
      shapes.push({ bar: barOf(index), open: o, high: h, low: l, close: c });
    }
  }
  return shapes;
}

/** Where the last close is in the pane of prices; null where it is out of sight. */
function lastPriceY({ candles, priceY }: ChartScene, height: number): number | null {
  const price = candles.close.at(-1);
  const y = price === undefined ? null : priceY(price);
  return y === null || y < 0 || y > height ? null : y;
}

/** A dotted line at the last close, and its price on the axis. */
function drawLastPrice(context: SvgContext, scene: ChartScene, y: number): void {
  const { candles, palette, plotWidth, width, font } = scene;
  const price = candles.close.at(-1)!;
  const colour = price >= candles.open.at(-1)! ? palette.up : palette.down;
  context.setLineDash([1, 2]);
  line(context, colour, 0, y, plotWidth, y);
  context.setLineDash([]);
  context.fillStyle = colour;
  context.fillRect(plotWidth, y - TAG_HEIGHT / 2, width - plotWidth, TAG_HEIGHT);
  context.font = `${FONT_SIZE}px ${font}`;
  context.textBaseline = "middle";
  context.textAlign = "left";
  context.fillStyle = isBright(colour) ? "#000" : "#fff";
  context.fillText(scene.priceText(price), plotWidth + LABEL_GAP, y);
}

/** Whether black text is more legible on a colour than white, as the library decides for its labels. */
function isBright(colour: string): boolean {
  const [red, green, blue] = parseColour(colour);
  return 0.199 * red + 0.687 * green + 0.114 * blue > 160;
}
