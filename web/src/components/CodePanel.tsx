/** The forecast as a command, as Python or as curl, to repeat it elsewhere. */

import { useSignal } from "@preact/signals";

import { apiKey, resolve } from "../api/client";
import type { PredictRequest, PredictResponse } from "../api/types";
import { t } from "../i18n";
import { data, displayName } from "../state/data";
import { predictRequest } from "../state/forecast";
import { currentModel } from "../state/models";
import { selected } from "../state/results";
import { command, curl, python, type SnippetContext } from "../snippets";
import { CopyButton, Segmented } from "./controls";

const WRITERS = { command, python, curl };
type Kind = keyof typeof WRITERS;
const KINDS: readonly Kind[] = ["command", "python", "curl"];

export function CodePanel() {
  const kind = useSignal<Kind>("command");
  const document = selected.value?.document;
  // What is shown is repeated, not what the form says meanwhile; the form counts before the first result.
  const request = document ? document.view?.request : predictRequest.value;
  if (!request) return null;
  const text = WRITERS[kind.value](request, contextOf(request, document));
  return (
    <section class="card" aria-labelledby="code-title" data-code>
      <div class="card-head">
        <h2 id="code-title">{t("code.title")}</h2>
        <CopyButton text={() => text} label={t("code.copy")} />
      </div>
      <Segmented
        label={t("code.title")}
        value={kind.value}
        options={KINDS.map((one) => [one, t(`code.${one}`)] as const)}
        onChange={(value) => (kind.value = value)}
      />
      <pre tabIndex={0} aria-label={t(`code.${kind.value}`)} role="group">
        <code>{text}</code>
      </pre>
      {request.file_path.startsWith("asset:") && kind.value !== "curl" && (
        <p class="field-hint">{t("code.fetch_note")}</p>
      )}
    </section>
  );
}

function fileName(request: PredictRequest, document: PredictResponse | undefined): string {
  if (document?.view?.file_name) return document.view.file_name;
  if (!request.file_path.startsWith("upload:")) return displayName(request);
  // Uploads that an older release saved have no name; the loaded file may be the same one.
  const loaded = data.value;
  return loaded && loaded.file.file_path === request.file_path ? loaded.name : "candles.csv";
}

function contextOf(request: PredictRequest, document: PredictResponse | undefined): SnippetContext {
  return {
    fileName: fileName(request, document),
    model: document?.model ?? currentModel.value?.key ?? "kronos-nano",
    interval: document?.forecast.interval ?? data.value?.info.timeframe ?? "1h",
    server: resolve("")
      .replace(/[?#].*$/, "")
      .replace(/\/$/, ""),
    withKey: apiKey.value !== "",
  };
}
