/** The crosshair by mouse and keyboard, and the readings of the candles under it. */

import type { IChartApiBase, MouseEventParams, Time } from "lightweight-charts";
import { indexOfTime } from "./candles";
import { quantilesAt, stepAt } from "./overlays";
import type { CandleColumns, ChartMessages, CrosshairReading, ForecastOverlay } from "./types";

/** Reading of the bar at a time of the axis. */
export function readingAt(
  time: number,
  candles: CandleColumns,
  overlays: readonly ForecastOverlay[],
): CrosshairReading {
  const index = indexOfTime(candles.time, time);
  const known = index >= 0 && Number.isFinite(candles.close[index]!);
  const volume = candles.volume?.[index];
  return {
    time,
    candle: known
      ? {
          open: candles.open[index]!,
          high: candles.high[index]!,
          low: candles.low[index]!,
          close: candles.close[index]!,
          volume: volume !== undefined && Number.isFinite(volume) ? volume : null,
        }
      : null,
    previousClose: known ? closeBefore(candles, index) : null,
    forecasts: overlays.flatMap((overlay) => {
      const step = stepAt(overlay, time);
      return step < 0 ? [] : [{ id: overlay.id, quantiles: quantilesAt(overlay, step) }];
    }),
  };
}

/** The last known close before a candle; holes are skipped. */
function closeBefore(candles: CandleColumns, index: number): number | null {
  for (let before = index - 1; before >= 0; before--) {
    const close = candles.close[before]!;
    if (Number.isFinite(close)) return close;
  }
  return null;
}

/** Sentences for the screen reader: the candle, then each forecast that covers its time; the time alone for a hole. */
export function spokenReading(
  reading: CrosshairReading,
  overlays: readonly ForecastOverlay[],
  messages: Pick<ChartMessages, "candleSentence" | "forecastSentence" | "dateTime">,
): string {
  const sentences = reading.candle === null ? [] : [messages.candleSentence(reading)];
  for (const { id } of reading.forecasts) {
    const overlay = overlays.find((candidate) => candidate.id === id);
    if (overlay !== undefined) sentences.push(messages.forecastSentence(reading, overlay));
  }
  return sentences.length === 0 ? messages.dateTime(reading.time) : sentences.join(" ");
}

/** What the crosshair needs of the chart around it. */
export interface CrosshairScene {
  times(): readonly number[];
  /** Index of the last candle on the axis, where the keyboard begins. */
  lastCandle(): number;
  read(time: number): CrosshairReading;
  /** Brings a bar into sight; true if that needs a drawing first. */
  reveal(index: number): boolean;
  /** Puts the library's crosshair on a bar, at a price. */
  place(price: number, time: number): void;
  speak(reading: CrosshairReading): void;
}

export class Crosshair {
  private readonly listeners = new Set<(reading: CrosshairReading | null) => void>();
  private time: number | null = null;
  private replace = false;

  constructor(
    private readonly chart: IChartApiBase<Time>,
    private readonly scene: CrosshairScene,
  ) {
    chart.subscribeCrosshairMove(this.onMove);
  }

  onReading(listener: (reading: CrosshairReading | null) => void): void {
    this.listeners.add(listener);
  }

  /** Index of the bar under the crosshair. */
  index(): number | null {
    return this.time === null ? null : indexOfTime(this.scene.times(), this.time);
  }

  step(bars: number): void {
    const index = this.index();
    this.moveTo(index === null || index < 0 ? this.scene.lastCandle() : index + bars);
  }

  jump(end: "first" | "last"): void {
    this.moveTo(end === "first" ? 0 : this.scene.times().length - 1);
  }

  leave(): void {
    this.chart.clearCrosshairPosition();
    this.show(null);
  }

  /** The data have changed: read the same bar again, or none if it is gone. */
  refresh(): void {
    const { time } = this;
    this.time = null;
    if (time !== null) this.show(indexOfTime(this.scene.times(), time) < 0 ? null : time);
  }

  /** Stays on its bar through the next drawing, which moves the bars. */
  hold(): void {
    this.replace = this.time !== null;
  }

  drawn(): void {
    if (!this.replace) return;
    this.replace = false;
    this.place();
  }

  dispose(): void {
    this.chart.unsubscribeCrosshairMove(this.onMove);
    this.listeners.clear();
  }

  private moveTo(index: number): void {
    const times = this.scene.times();
    const time = times[Math.max(0, Math.min(times.length - 1, index))];
    if (time === undefined) return;
    const waits = this.scene.reveal(indexOfTime(times, time));
    this.show(time);
    if (waits) this.hold();
    else this.place();
    this.scene.speak(this.scene.read(time));
  }

  private place(): void {
    if (this.time === null) return;
    const { candle, forecasts } = this.scene.read(this.time);
    const price = candle?.close ?? forecasts[0]?.quantiles["0.5"];
    if (price !== undefined) this.scene.place(price, this.time);
  }

  private show(time: number | null): void {
    if (time === this.time) return;
    this.time = time;
    const reading = time === null ? null : this.scene.read(time);
    for (const listener of this.listeners) listener(reading);
  }

  private readonly onMove = (event: MouseEventParams<Time>): void => {
    // While a drawing is awaited, the library reports what lies under the old coordinates.
    if (this.replace) return;
    this.show(event.point === undefined || event.time === undefined ? null : (event.time as number));
  };
}
