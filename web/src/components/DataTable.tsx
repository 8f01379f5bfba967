/** The numbers behind the canvas: the last candles, the forecast by step, what happened. Always in the document. */

import type { Signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import { compact, parseTime, percent } from "../formats";
import { language, t } from "../i18n";
import { chartCandles } from "../state/page";
import { actualShown, label, quantile, selected } from "../state/results";
import { formatPrice, formatTime } from "./ChartView";

const TAIL = 20;
const QUANTILES = [0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975];

export function DataTable({ visible }: { visible: Signal<boolean> }) {
  const candles = chartCandles.value?.candles;
  const result = selected.value;
  const section = useRef<HTMLElement>(null);
  // It is below the chart, and on most screens out of sight.
  useEffect(() => void (visible.value && section.current?.scrollIntoView({ block: "center" })), [visible.value]);
  if (!candles && !result) return null;
  // Hidden it stays readable for screen readers; shown it scrolls, so it has to take the focus.
  const region = visible.value
    ? { class: "card wide", "aria-labelledby": "table-title" }
    : { class: "visually-hidden" };
  return (
    <section {...region} ref={section} data-table>
      <h2 id="table-title">{t("table.title")}</h2>
      <div
        {...(visible.value
          ? { class: "scroll tall", tabIndex: 0, role: "group", "aria-label": t("table.caption") }
          : {})}
      >
        {result && <ForecastTable />}
        {candles && <HistoryTable />}
      </div>
    </section>
  );
}

function HistoryTable() {
  const { candles } = chartCandles.value!;
  const from = Math.max(0, candles.time.length - TAIL);
  return (
    <table data-history>
      <caption>{t("table.kinds.history")}</caption>
      <thead>
        <tr>
          <th scope="col">{t("table.time")}</th>
          {(["open", "high", "low", "close", "volume"] as const).map((name) => (
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
            {(["open", "high", "low", "close"] as const).map((name) => (
              <td key={name}>{formatPrice(candles[name][from + index]!)}</td>
            ))}
            <td>{candles.volume ? compact(candles.volume[from + index]!, language.value) : t("replay.none")}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function ForecastTable() {
  const { document } = selected.value!;
  const times = document.view?.time ?? document.forecast.timestamps.map(parseTime);
  const known = new Map(document.view?.actual?.time.map((time, index) => [time, document.view!.actual!.close[index]!]));
  const withActual = known.size > 0 && actualShown.value;
  const columns = QUANTILES.map((probability) => [probability, quantile(document, probability)] as const).filter(
    ([, values]) => values,
  );
  return (
    <table data-forecast>
      <caption>{t("table.of", { label: label(document) })}</caption>
      <thead>
        <tr>
          <th scope="col">{t("table.step")}</th>
          <th scope="col">{t("table.time")}</th>
          {columns.map(([probability]) => (
            <th key={probability} scope="col">
              {t("table.quantile", {
                share: percent(
                  probability,
                  probability * 100 === Math.round(probability * 100) ? 0 : 1,
                  language.value,
                ),
              })}
            </th>
          ))}
          {withActual && <th scope="col">{t("table.actual")}</th>}
        </tr>
      </thead>
      <tbody>
        {times.map((time, step) => (
          <tr key={time}>
            <th scope="row">{step + 1}</th>
            <td>{formatTime(time)}</td>
            {columns.map(([probability, values]) => (
              <td key={probability}>{formatPrice(values![step]!)}</td>
            ))}
            {withActual && <td>{known.has(time) ? formatPrice(known.get(time)!) : t("replay.none")}</td>}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
