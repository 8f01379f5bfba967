/** Lines of a chart's legend: a candle, and the quantiles of a step. */

import type { CandleColumns, CrosshairReading } from "../chart/types";
import { change, compact } from "../formats";
import { language, t } from "../i18n";
import { QUANTILES } from "../quantiles";
import { Swatch } from "./controls";

interface CandleLineProps {
  /** What is under the crosshair; null for the last candle. */
  at: CrosshairReading | null;
  candles: CandleColumns | null;
  formatTime(time: number): string;
  formatPrice(value: number): string;
}

export function CandleLine({ at, candles, formatTime, formatPrice }: CandleLineProps) {
  const end = candles ? candles.time.length - 1 : -1;
  if (at && !at.candle) return <p class="legend-line">{formatTime(at.time)}</p>;
  if (!at && (!candles || end < 0)) return null;
  const candle = at?.candle ?? {
    open: candles!.open[end]!,
    high: candles!.high[end]!,
    low: candles!.low[end]!,
    close: candles!.close[end]!,
    volume: candles!.volume?.[end] ?? null,
  };
  const before = (at ? at.previousClose : candles!.close[end - 1]) ?? candle.open;
  const share = (candle.close - before) / before;
  const direction = share > 0 ? "rise" : share < 0 ? "fall" : "";
  return (
    <p class="legend-line">
      <span>{formatTime(at?.time ?? candles!.time[end]!)}</span>
      {(["open", "high", "low", "close"] as const).map((name) => (
        <span key={name}>
          <i>{t(`chart.${name}`)}</i>
          {formatPrice(candle[name])}
        </span>
      ))}
      {candle.volume !== null && (
        <span>
          <i>{t("chart.volume")}</i>
          {compact(candle.volume, language.value)}
        </span>
      )}
      <span class={direction}>{change(share, language.value)}</span>
    </p>
  );
}

interface QuantileLineProps {
  colour: string;
  dash: number[];
  /** By probability, such as "0.025". */
  quantiles: Record<string, number>;
  formatPrice(value: number): string;
}

export function QuantileLine({ colour, dash, quantiles, formatPrice }: QuantileLineProps) {
  const entries = Object.entries(quantiles).map(([name, value]) => [Number(name), value] as const);
  return (
    <p class="legend-line">
      <Swatch colour={colour} dash={dash} />
      {QUANTILES.map((probability) => {
        const found = entries.find(([name]) => Math.abs(name - probability) < 1e-9);
        return (
          found && (
            <span key={probability} class={probability === 0.5 ? "strong" : ""}>
              <i>{`${100 * probability}%`}</i>
              {formatPrice(found[1])}
            </span>
          )
        );
      })}
    </p>
  );
}
