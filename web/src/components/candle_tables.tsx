/** Tables of the numbers that a chart draws: the last candles, and quantiles of the close by step. */

import type { CandleColumns } from "../chart/types";
import { compact, percent } from "../formats";
import { language, t } from "../i18n";

const TAIL = 20;
const PRICES = ["open", "high", "low", "close"] as const;

interface Formats {
  formatTime(time: number): string;
  formatPrice(value: number): string;
}

/** The last candles. */
export function CandleTable({ candles, formatTime, formatPrice }: Formats & { candles: CandleColumns }) {
  const from = Math.max(0, candles.time.length - TAIL);
  return (
    <table data-history>
      <caption>{t("table.kinds.history")}</caption>
      <thead>
        <tr>
          <th scope="col">{t("table.time")}</th>
          {([...PRICES, "volume"] as const).map((name) => (
            <th key={name} scope="col">
              {t(`data.column.${name}`)}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {candles.time.slice(from).map((time, index) => (
          <tr key={time}>
            <th scope="row">{formatTime(time)}</th>
            {PRICES.map((name) => (
              <td key={name}>{formatPrice(candles[name][from + index]!)}</td>
            ))}
            <td>{candles.volume ? compact(candles.volume[from + index]!, language.value) : t("replay.none")}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

interface QuantileTableProps extends Formats {
  /** Name of the forecast. */
  label: string;
  times: readonly number[];
  quantiles: readonly { probability: number; values: readonly number[] }[];
  /** Closes that happened, by time; null to leave the column out. */
  actual: ReadonlyMap<number, number> | null;
}

/** Quantiles of the close, one row per step. */
export function QuantileTable({ label, times, quantiles, actual, formatTime, formatPrice }: QuantileTableProps) {
  return (
    <table data-forecast>
      <caption>{t("table.of", { label })}</caption>
      <thead>
        <tr>
          <th scope="col">{t("table.step")}</th>
          <th scope="col">{t("table.time")}</th>
          {quantiles.map(({ probability }) => (
            <th key={probability} scope="col">
              {t("table.quantile", { share: shareText(probability) })}
            </th>
          ))}
          {actual && <th scope="col">{t("table.actual")}</th>}
        </tr>
      </thead>
      <tbody>
        {times.map((time, step) => (
          <tr key={time}>
            <th scope="row">{step + 1}</th>
            <td>{formatTime(time)}</td>
            {quantiles.map(({ probability, values }) => (
              <td key={probability}>{formatPrice(values[step]!)}</td>
            ))}
            {actual && <td>{actual.has(time) ? formatPrice(actual.get(time)!) : t("replay.none")}</td>}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function shareText(probability: number): string {
  const whole = probability * 100 === Math.round(probability * 100);
  return percent(probability, whole ? 0 : 1, language.value);
}
