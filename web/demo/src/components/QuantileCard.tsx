/** The numbers behind the chart, and their download. */

import { CandleTable, QuantileTable } from "../../../src/components/candle_tables";
import { downloadStem, saveFile } from "../../../src/downloads";
import { t } from "../../../src/i18n";
import type { TableKind } from "../protocol";
import { formatPrice, formatTime } from "../state/file";
import { forecastLabel, type ForecastResult, result } from "../state/forecast";
import { worker } from "../state/model";
import { text } from "../texts";

const KINDS: readonly TableKind[] = ["quantiles", "paths"];

export function QuantileCard() {
  const shown = result.value;
  if (!shown) return null;
  const formats = { formatTime, formatPrice };
  return (
    <section class="card wide" aria-labelledby="table-title" data-table>
      <div class="card-head">
        <h2 id="table-title">
          {text("table.title")} {shown.source.simulated && <span class="tag warning">{t("page.simulated")}</span>}
        </h2>
        <p class="row">
          {KINDS.map((kind) => (
            <button key={kind} type="button" class="button" data-download={kind} onClick={() => void save(kind, shown)}>
              {text(`table.${kind}`)}
            </button>
          ))}
        </p>
      </div>
      <div class="scroll tall" tabIndex={0} role="group" aria-label={text("table.title")}>
        <QuantileTable
          label={forecastLabel(shown)}
          times={shown.answer.time}
          quantiles={shown.answer.quantiles}
          actual={null}
          {...formats}
        />
        <CandleTable candles={shown.file.candles} {...formats} />
      </div>
    </section>
  );
}

async function save(kind: TableKind, { answer, file, source }: ForecastResult): Promise<void> {
  const table = await worker.request("table", { forecast: answer.number, kind }).answer;
  const asOf = new Date(file.candles.time.at(-1)! * 1000).toISOString();
  const stem = downloadStem(file.symbol, file.interval, asOf);
  const name = `${source.simulated ? "SIMULATED_" : ""}${stem}_${kind}.csv`;
  saveFile(new Blob([table], { type: "text/csv" }), name);
}
