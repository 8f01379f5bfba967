/** The candles of the file as they were read and repaired, to download. */

import { useSignal } from "@preact/signals";

import { asFailure, type Failure, requestFile } from "../api/client";
import type { FileRequest } from "../api/types";
import { saveFile } from "../downloads";
import { t } from "../i18n";
import { FailureNote } from "./FailureNote";

const FORMATS = [
  ["csv", "CSV"],
  ["parquet", "Parquet"],
] as const;

export function CleanedCandles({ file }: { file: FileRequest }) {
  const failure = useSignal<Failure | null>(null);
  const busy = useSignal(false);
  const download = async (format: string): Promise<void> => {
    if (busy.value) return;
    busy.value = true;
    failure.value = null;
    try {
      const { blob, name } = await requestFile("api/candles/export", { json: { ...file, format } });
      saveFile(blob, name);
    } catch (error) {
      failure.value = asFailure(error);
    } finally {
      busy.value = false;
    }
  };
  return (
    <>
      <div class="row cleaned" data-cleaned aria-busy={busy.value}>
        <span title={t("data.cleaned_hint")}>{t("data.cleaned")}</span>
        {FORMATS.map(([format, name]) => (
          <button
            key={format}
            type="button"
            class="button small"
            aria-label={`${t("data.cleaned")}: ${name}`}
            data-format={format}
            onClick={() => void download(format)}
          >
            {name}
          </button>
        ))}
      </div>
      {failure.value && <FailureNote failure={failure.value} onDismiss={() => (failure.value = null)} />}
    </>
  );
}
