/** The numbers behind the canvas: the last candles, the forecast by step, what happened. Always in the document. */

import type { Signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import { parseTime } from "../formats";
import { t } from "../i18n";
import { QUANTILES } from "../quantiles";
import { chartCandles } from "../state/page";
import { actualShown, label, quantile, selected } from "../state/results";
import { CandleTable, QuantileTable } from "./candle_tables";
import { formatPrice, formatTime } from "./ChartView";

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
  return <CandleTable candles={chartCandles.value!.candles} formatTime={formatTime} formatPrice={formatPrice} />;
}

function ForecastTable() {
  const { document } = selected.value!;
  const { view } = document;
  const quantiles = QUANTILES.flatMap((probability) => {
    const values = quantile(document, probability);
    return values ? [{ probability, values }] : [];
  });
  const known = new Map(view?.actual?.time.map((time, index) => [time, view.actual!.close[index]!]));
  return (
    <QuantileTable
      label={label(document)}
      times={view?.time ?? document.forecast.timestamps.map(parseTime)}
      quantiles={quantiles}
      actual={known.size > 0 && actualShown.value ? known : null}
      formatTime={formatTime}
      formatPrice={formatPrice}
    />
  );
}
