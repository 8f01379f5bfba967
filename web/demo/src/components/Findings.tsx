/** What the file was read as: facts, and what was inferred, dropped or changed. */

import { ForecastNote } from "../../../src/components/ForecastNote";
import { integer } from "../../../src/formats";
import { language, plural, t, term } from "../../../src/i18n";
import { file, formatTime, simulated, source } from "../state/file";
import { result } from "../state/forecast";
import { text } from "../texts";
import { HistoryNote } from "./HistoryNote";
import { groupName } from "./markets";

export function Findings() {
  const read = file.value!;
  const { findings, candles } = read;
  const shown = result.value;
  const metadata = shown?.answer.metadata;
  const rows = candles.time.length;
  const facts: [string, string][] = [
    [text("findings.facts.file"), source.value!.name],
    [t("data.facts.symbol"), read.symbol],
    [t("data.facts.interval"), read.interval],
    [t("data.facts.rows"), integer(rows, language.value)],
    ...(metadata ? ([[text("findings.facts.used"), usedText(metadata.lookback, rows)]] as [string, string][]) : []),
    [text("findings.facts.dates"), `${formatTime(candles.time[0]!)} – ${formatTime(candles.time.at(-1)!)}`],
    [t("data.facts.zone"), offsetText(read.offset)],
    ...(metadata ? ([[t("data.facts.calendar"), term("calendars", metadata.calendar)]] as [string, string][]) : []),
  ];
  return (
    <section class="card" aria-labelledby="findings-title" data-findings>
      <h2 id="findings-title">
        {text("findings.title")} {simulated.value && <span class="tag warning">{t("page.simulated")}</span>}
      </h2>
      <dl class="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {shown && shown.answer.metadata.lookback < rows && <HistoryNote horizon={shown.settings.horizon} />}
      <p class="quiet">{findings.length ? plural("data.findings", findings.length) : t("data.no_findings")}</p>
      {findings.length > 0 && (
        <ul class="findings">
          {findings.map((finding) => (
            <li key={finding.code + finding.message} data-finding={finding.code}>
              <span class={`tag ${finding.severity === "warning" ? "warning" : ""}`}>
                {term("severities", finding.severity)}
              </span>{" "}
              <span lang="en">{finding.message}</span>
            </li>
          ))}
        </ul>
      )}
      {metadata && metadata.notes.length > 0 && (
        <ul class="notes" data-notes>
          {metadata.notes.map((note) => (
            <Note key={note} note={note} />
          ))}
        </ul>
      )}
    </section>
  );
}

/** How many of the candles the model has seen. */
function usedText(used: number, rows: number): string {
  const counts = { used: integer(used, language.value), rows: integer(rows, language.value) };
  return used < rows ? text("findings.used_last", counts) : text("findings.used_all", counts);
}

/** Notes that name a group of the calibration, whose market has a name in the language of the page. */
const GROUP_NOTES = [
  [/^Factors of (.*?): the market is inferred/, "findings.market"],
  [/^The calibration has no group '(.*?)'/, "findings.group"],
] as const;

function Note({ note }: { note: string }) {
  for (const [pattern, key] of GROUP_NOTES) {
    const group = pattern.exec(note)?.[1];
    if (group !== undefined) return <li>{text(key, { group: groupName(group) })}</li>;
  }
  return <ForecastNote text={note} />;
}

/** The clock of the times: its distance from UTC, or that the file does not say it. */
export function offsetText(offset: number | null): string {
  if (offset === null) return t("data.no_zone");
  const size = Math.abs(offset);
  const [hours, minutes] = [Math.floor(size / 60), size % 60].map((part) => String(part).padStart(2, "0"));
  return text("file.offset", { offset: offset === 0 ? "" : `${offset < 0 ? "−" : "+"}${hours}:${minutes}` });
}
