/** Step 1: the file, and how it is read. */

import { signal, type Signal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { DropZone } from "../../../src/components/DropZone";
import { Step } from "../../../src/components/Step";
import { integer } from "../../../src/formats";
import { language, t } from "../../../src/i18n";
import { missingOption, namedFields } from "../advice";
import type { Failure } from "../protocol";
import { file, readFailure, readingName, type Source, source } from "../state/file";
import { forecastFile, forecastSample } from "../state/forecast";
import { model } from "../state/model";
import { text } from "../texts";
import { ReadingOptions } from "./ReadingOptions";

const EXAMPLE = "timestamps,open,high,low,close,volume\n2024-01-01,42.1,42.6,41.9,42.4,1300";

/** What became of a drop that was not one file. */
type DropNote =
  { readonly kind: "folder" } | { readonly kind: "several"; readonly count: number; readonly name: string };
const dropNote = signal<DropNote | null>(null);

/** Forecast what was dropped: the first of several files; a folder is none. */
export function openDropped({ files, items }: DataTransfer): void {
  const [dropped] = files;
  if (!dropped) return;
  const entry = [...items].find(({ kind }) => kind === "file")?.webkitGetAsEntry?.();
  if (entry?.isDirectory) {
    dropNote.value = { kind: "folder" };
    return;
  }
  dropNote.value = files.length > 1 ? { kind: "several", count: files.length, name: dropped.name } : null;
  void forecastFile(dropped);
}

const keys = new WeakMap<Source, number>();
let sources = 0;

/** A number per source: another file may have the same name. */
function keyOf(one: Source): number {
  const key = keys.get(one) ?? ++sources;
  keys.set(one, key);
  return key;
}

export function FilePanel({ open }: { open: Signal<boolean> }) {
  const read = file.value;
  const failure = readFailure.value;
  const summary = read
    ? `${read.symbol} · ${t("data.summary", { rows: integer(read.candles.time.length, language.value), interval: read.interval })}`
    : "";
  return (
    <Step number={1} name="file" title={text("file.title")} summary={summary} open={open}>
      <DropMessage open={open} />
      {readingName.value !== null && (
        <p class="busy" role="status">
          {t("data.reading", { name: readingName.value })}
        </p>
      )}
      {failure && <ReadFailure failure={failure} />}
      {read && <p data-file-summary>{summary}</p>}
      {source.value && !source.value.simulated && (
        <ReadingOptions key={keyOf(source.value)} wanted={failure ? namedFields(failure.message) : []} />
      )}
      <Chooser />
    </Step>
  );
}

function DropMessage({ open }: { open: Signal<boolean> }) {
  const note = dropNote.value;
  useEffect(() => void (note && (open.value = true)), [note]);
  if (!note) return null;
  return (
    <p class="note notice" role="alert" data-drop-note={note.kind}>
      {note.kind === "folder" ? text("file.folder") : text("file.several", { count: note.count, name: note.name })}
    </p>
  );
}

function ReadFailure({ failure }: { failure: Failure }) {
  const option = missingOption(failure.message);
  const other = namedFields(failure.message).length > 0;
  return (
    <div class="note bad" role="alert" data-failure={failure.name}>
      <p class="note-title">{text("file.failed", { name: source.value?.name ?? "" })}</p>
      <p lang="en">{failure.message}</p>
      {option && <p data-no-field>{other ? text("file.no_field_option", { option }) : text("file.no_field")}</p>}
      <p class="field-hint">{text("file.more_formats")}</p>
    </div>
  );
}

function Chooser() {
  return (
    <div class="chooser">
      <DropZone
        title={text("file.drop")}
        accept=".csv,.tsv,.txt,text/csv"
        primary={source.value === null}
        hintId="file-limits"
        hint={
          <>
            {text("file.limits")}
            {model.value && text("lists.sentence") + text("file.least", { least: model.value.leastHistory })}
          </>
        }
        onChoose={(chosen) => {
          dropNote.value = null;
          void forecastFile(chosen);
        }}
      />
      {!file.value && (
        <div class="example" data-example>
          <p class="field-hint">{text("file.example")}</p>
          <pre>{EXAMPLE}</pre>
        </div>
      )}
      <button
        type="button"
        class="button"
        data-sample
        onClick={() => {
          dropNote.value = null;
          void forecastSample();
        }}
        title={text("file.sample_hint")}
      >
        {t("data.sample")}
      </button>
    </div>
  );
}
