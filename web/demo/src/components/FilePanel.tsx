/** Step 1: the file, and how it is read. */

import { type Signal, useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";

import { Step } from "../../../src/components/Step";
import { integer } from "../../../src/formats";
import { language, t } from "../../../src/i18n";
import { namedFields } from "../advice";
import type { Failure } from "../protocol";
import { file, readFailure, readingName, source } from "../state/file";
import { forecastFile, forecastSample } from "../state/forecast";
import { text } from "../texts";
import { ReadingOptions } from "./ReadingOptions";

export function FilePanel({ open }: { open: Signal<boolean> }) {
  const read = file.value;
  const failure = readFailure.value;
  const summary = read
    ? `${read.symbol} · ${t("data.summary", { rows: integer(read.candles.time.length, language.value), interval: read.interval })}`
    : "";
  return (
    <Step number={1} name="file" title={text("file.title")} summary={summary} open={open}>
      {readingName.value !== null && (
        <p class="busy" role="status">
          {t("data.reading", { name: readingName.value })}
        </p>
      )}
      {failure && <ReadFailure failure={failure} />}
      {read && <p data-file-summary>{summary}</p>}
      {source.value && <ReadingOptions key={source.value.name} wanted={failure ? namedFields(failure.message) : []} />}
      <Chooser />
    </Step>
  );
}

function ReadFailure({ failure }: { failure: Failure }) {
  return (
    <div class="note bad" role="alert" data-failure={failure.name}>
      <p class="note-title">{text("file.failed", { name: source.value?.name ?? "" })}</p>
      <p lang="en">{failure.message}</p>
      <p class="field-hint">{text("file.more_formats")}</p>
    </div>
  );
}

function Chooser() {
  const over = useSignal(false);
  const input = useRef<HTMLInputElement>(null);
  return (
    <div class="chooser">
      <div
        class={`drop ${over.value ? "over" : ""}`}
        onDragOver={(event) => {
          event.preventDefault();
          over.value = true;
        }}
        onDragLeave={() => (over.value = false)}
        onDrop={() => (over.value = false)}
      >
        <p class="drop-title" aria-hidden="true">
          {text("file.drop")}
        </p>
        <button
          type="button"
          class={`button ${source.value ? "" : "primary"}`}
          onClick={() => input.current?.click()}
          aria-describedby="file-limits"
        >
          {t("data.choose")}
        </button>
        <input
          ref={input}
          type="file"
          accept=".csv,.tsv,.txt,text/csv"
          aria-label={t("data.choose")}
          hidden
          onChange={(event) => {
            const chosen = event.currentTarget.files?.[0];
            if (chosen) void forecastFile(chosen);
            event.currentTarget.value = "";
          }}
        />
        <p class="field-hint" id="file-limits">
          {text("file.limits")}
        </p>
      </div>
      <button
        type="button"
        class="button"
        data-sample
        onClick={() => void forecastSample()}
        title={text("file.sample_hint")}
      >
        {t("data.sample")}
      </button>
    </div>
  );
}
