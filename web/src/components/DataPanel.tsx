/** Step 1: where the candles come from, how they are read, and what the reader found. */

import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import type { DataInfo, FileRequest, Finding, ReadOptions } from "../api/types";
import { integer } from "../formats";
import { language, plural, t, term } from "../i18n";
import {
  assets,
  data,
  dataFailure,
  failedAttempt,
  files,
  loadPreview,
  openFile,
  preview,
  readAgain,
  readingName,
  SAMPLE,
  uploadFile,
} from "../state/data";
import { afterNewData } from "../state/page";
import { focusChart } from "./ChartView";
import { CleanedCandles } from "./CleanedCandles";
import { Select } from "./controls";
import { DropZone } from "./DropZone";
import { FailureNote, ServerText } from "./FailureNote";
import { ReadingOptions } from "./ReadingOptions";
import { Step } from "./Step";

const SHOWN_ROWS = 8;

/** `before` is the path of the data that are read again: the window then stays where it is. */
async function open(reading: Promise<boolean>, before?: string): Promise<void> {
  if (await reading) afterNewData(before !== undefined && before === data.value?.file.file_path);
}

/** Opened from a button that is gone then: the focus goes on at the chart. */
async function openSample(): Promise<void> {
  await open(openFile({ file_path: SAMPLE }, t("data.sample_name")));
  if (!dataFailure.value) focusChart();
}

export function DataPanel({ open: unfolded }: { open: Signal<boolean> }) {
  const loaded = data.value;
  const failure = dataFailure.value;
  const choosing = useSignal(false);
  const wanted = useSignal<string[]>([]);
  useEffect(() => void (wanted.value = []), [loaded?.file, failure]);
  useEffect(() => void (choosing.value = false), [loaded?.file]);
  const summary = loaded
    ? `${loaded.info.symbol ?? loaded.name} · ${t("data.summary", { rows: integer(loaded.info.rows, language.value), interval: loaded.info.timeframe })}`
    : "";
  return (
    <Step number={1} name="data" title={t("data.title")} summary={summary} open={unfolded}>
      {readingName.value !== null && (
        <p class="busy" role="status">
          {t("data.reading", { name: readingName.value })}
        </p>
      )}
      {failure && (
        <FailureNote
          failure={failure}
          {...(failure.options.length
            ? {}
            : { onRetry: () => void open(readAgain(failedAttempt.value?.options ?? {})) })}
        />
      )}
      {loaded && !failure && (
        <>
          <Facts info={loaded.info} name={loaded.name} />
          <CleanedCandles file={loaded.file} />
          <Market file={loaded.file} info={loaded.info} onOther={() => (wanted.value = ["calendar"])} />
          <Findings findings={loaded.info.findings} />
          {loaded.offset > 0 && <LoadedPart />}
        </>
      )}
      {(loaded || failedAttempt.value) && (
        <ReadingOptions
          options={failedAttempt.value?.options ?? loaded?.file ?? {}}
          wanted={failure?.options ?? wanted.value}
          preview={preview.value}
          onUnfold={() => void loadPreview()}
          onApply={(options: ReadOptions) => void open(readAgain(options), data.value?.file.file_path)}
        />
      )}
      {loaded && !choosing.value && !failure ? (
        <button type="button" class="button" onClick={() => (choosing.value = true)}>
          {t("data.other")}
        </button>
      ) : (
        <Chooser first={!loaded && !failure} />
      )}
    </Step>
  );
}

function Chooser({ first }: { first: boolean }) {
  const read = (file: FileRequest, name?: string): void => void open(openFile(file, name));
  return (
    <div class="chooser">
      <DropZone
        title={t("data.drop")}
        accept=".csv,.tsv,.txt,.json,.jsonl,.feather,.arrow,.parquet,.gz,.zip"
        primary={false}
        hintId="data-limits"
        hint={t("data.limits")}
        onChoose={(chosen) => void open(uploadFile(chosen))}
      />
      <button
        type="button"
        class={`button ${first ? "primary" : ""}`}
        onClick={() => void openSample()}
        title={t("data.sample_hint")}
      >
        {t("data.sample")}
      </button>
      {files.value.length > 0 && (
        <Picker
          label={t("data.folder")}
          empty={t("data.folder_choose")}
          options={files.value.map((file) => [file.path, file.path])}
          onPick={(path) => read({ file_path: path })}
        />
      )}
      {assets.value.length > 0 && (
        <Picker
          label={t("data.symbol")}
          empty={t("data.symbol_choose")}
          options={assets.value.map((asset) => [
            `asset:${asset.symbol}`,
            asset.name === asset.symbol ? asset.symbol : `${asset.symbol} · ${asset.name}`,
          ])}
          onPick={(path) => read({ file_path: path })}
        />
      )}
    </div>
  );
}

interface PickerProps {
  label: string;
  empty: string;
  options: [string, string][];
  onPick: (value: string) => void;
}

/** A list and a button: choosing with the arrow keys must not read every file on the way. */
function Picker({ label, empty, options, onPick }: PickerProps) {
  const chosen = useSignal("");
  return (
    <div class="picker">
      <Select
        label={label}
        value={chosen.value}
        options={[["", empty], ...options]}
        onChange={(value) => (chosen.value = value)}
      />
      <button
        type="button"
        class="button"
        disabled={!chosen.value}
        onClick={() => onPick(chosen.value)}
        aria-label={`${t("data.open")}: ${label}`}
      >
        {t("data.open")}
      </button>
    </div>
  );
}

function Facts({ info, name }: { info: DataInfo; name: string }) {
  const facts = [
    [t("data.facts.symbol"), info.symbol ?? name],
    [t("data.facts.interval"), info.timeframe],
    [t("data.facts.rows"), integer(info.rows, language.value)],
    [t("data.facts.dates"), `${shortDate(info.start_date)} – ${shortDate(info.end_date)}`],
    [t("data.facts.calendar"), calendarName(info)],
    [t("data.facts.zone"), info.timezone ?? t("data.no_zone")],
  ];
  return (
    <dl class="facts" data-facts>
      {facts.map(([term, value]) => (
        <div key={term}>
          <dt>{term}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function calendarName({ calendar, calendar_inferred: inferred }: DataInfo): string {
  const name = term("calendars", calendar);
  return inferred ? t("data.detected", { name }) : name;
}

const CALENDARS = ["24/7", "FX", "XNYS", "XSHG", "XHKG"] as const;
const OTHER = "other";

/** The calendar as a choice in sight: a wrong guess gives wrong dates, and the factors of another market. */
function Market({ file, info, onOther }: { file: FileRequest; info: DataInfo; onOther: () => void }) {
  const chosen = file.calendar ?? "";
  const listed = !chosen || CALENDARS.some((name) => name === chosen);
  const options = [
    ["", chosen ? t("data.auto") : calendarName({ ...info, calendar_inferred: true })],
    ...(listed ? [] : [[chosen, term("calendars", chosen)] as const]),
    ...CALENDARS.map((name) => [name, name === "24/7" ? t("data.market_always") : term("calendars", name)] as const),
    [OTHER, t("data.market_other")],
  ] as const;
  const change = (value: string): void => {
    if (value === OTHER) return onOther();
    const { file_path: path, calendar: _, ...rest } = file;
    void open(readAgain(value ? { ...rest, calendar: value } : rest), path);
  };
  return (
    <div class="market" data-market>
      <Select label={t("data.market")} value={chosen} options={options} onChange={change} />
      <p class="field-hint">{t("data.market_hint")}</p>
    </div>
  );
}

function shortDate(text: string): string {
  return text.slice(0, 16).replace("T", " ").replace(" 00:00", "");
}

function Findings({ findings }: { findings: Finding[] }) {
  if (!findings.length) return <p class="quiet">{t("data.no_findings")}</p>;
  const serious = findings.some((finding) => finding.severity !== "info");
  return (
    <details class="findings" open={serious || findings.length <= 2}>
      <summary>{plural("data.findings", findings.length)}</summary>
      <ul>
        {findings.map((finding) => (
          <li key={finding.code + finding.message} data-finding={finding.code}>
            <span class={`tag ${finding.severity}`}>{term("severities", finding.severity)}</span>{" "}
            <ServerText said={finding} />
            {finding.rows.length > 0 && <span class="quiet"> ({rowsText(finding)})</span>}
            {finding.code === "forming-candle" && <p class="quiet">{t("forming_hint")}</p>}
          </li>
        ))}
      </ul>
    </details>
  );
}

function rowsText({ rows, count }: Finding): string {
  const listed = rows
    .slice(0, SHOWN_ROWS)
    .map((row) => integer(row, language.value))
    .join(", ");
  const more = Math.max(count, rows.length) - Math.min(rows.length, SHOWN_ROWS);
  const text = more > 0 ? t("data.more_rows", { rows: listed, more: integer(more, language.value) }) : listed;
  return plural("data.rows", rows.length, { rows: text });
}

function LoadedPart() {
  const loaded = data.value!;
  const values = {
    loaded: integer(loaded.candles.time.length, language.value),
    rows: integer(loaded.info.rows, language.value),
  };
  return <p class="quiet">{t(loaded.candles.time.length < 200_000 ? "data.older" : "data.capped", values)}</p>;
}
