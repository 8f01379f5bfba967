/** How the file is read: what overrides the detection. The fields that an error names are marked. */

import { useSignal } from "@preact/signals";
import { useEffect, useId, useRef } from "preact/hooks";

import { Select } from "../../../src/components/controls";
import { t } from "../../../src/i18n";
import type { Field } from "../advice";
import type { ReadSettings } from "../protocol";
import { labels, settings } from "../state/file";
import { forecastReadAgain, parameters } from "../state/forecast";
import { text } from "../texts";

const COLUMNS = ["timestamps", "open", "high", "low", "close", "volume", "amount"] as const;
type Column = (typeof COLUMNS)[number];

export function ReadingOptions({ wanted }: { wanted: readonly Field[] }) {
  const details = useRef<HTMLDetailsElement>(null);
  const interval = useSignal(settings.peek().interval ?? "");
  const decimal = useSignal<string>(settings.peek().decimal ?? "");
  const columns = useSignal<Partial<Record<Column, string>>>({ ...settings.peek().columns });
  const id = useId();
  const asked = wanted.filter((field) => field === "columns" || field === "interval" || field === "decimal").join();
  useEffect(() => {
    if (!details.current || !asked) return;
    details.current.open = true;
    details.current.querySelector<HTMLElement>(".highlighted input, .highlighted select")?.focus();
  }, [asked]);
  const mark = (field: Field): string => (wanted.includes(field) ? "highlighted" : "");
  const apply = (): void => {
    const named = Object.entries(columns.value).filter(([, label]) => label);
    const next: ReadSettings = {
      ...(interval.value.trim() ? { interval: interval.value.trim() } : {}),
      ...(decimal.value === "." ? { decimal: "." as const } : {}),
      ...(named.length ? { columns: Object.fromEntries(named) } : {}),
    };
    void forecastReadAgain(next, parameters.value.calendar);
  };
  return (
    <details class="reading" ref={details}>
      <summary>{text("file.options")}</summary>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          apply();
        }}
      >
        <p class="field-hint">{t("data.options_hint")}</p>
        <div class="fields">
          <div class={`field ${mark("interval")}`} data-option="interval">
            <label for={id}>{text("file.option.interval")}</label>
            <input
              id={id}
              type="text"
              value={interval.value}
              placeholder={t("data.auto")}
              aria-describedby={`${id}-hint`}
              onInput={(event) => (interval.value = event.currentTarget.value)}
            />
            <p class="field-hint" id={`${id}-hint`}>
              {t("data.option_hint.interval")}
            </p>
          </div>
          <Select
            label={text("file.option.decimal")}
            value={decimal.value}
            highlighted={wanted.includes("decimal")}
            options={[
              ["", t("data.auto")],
              [".", t("data.signs.dot")],
            ]}
            onChange={(value) => (decimal.value = value)}
          />
        </div>
        {labels.value.length > 0 && (
          <fieldset class={`columns ${mark("columns")}`}>
            <legend>{text("file.option.columns")}</legend>
            <div class="fields">
              {COLUMNS.map((column) => (
                <Select
                  key={column}
                  label={t(`data.column.${column}`)}
                  value={columns.value[column] ?? ""}
                  options={[["", t("data.auto")], ...labels.value.map((label) => [label, label] as const)]}
                  onChange={(value) => (columns.value = { ...columns.value, [column]: value })}
                />
              ))}
            </div>
          </fieldset>
        )}
        <button type="submit" class={`button ${asked ? "primary" : ""}`}>
          {t("data.apply")}
        </button>
      </form>
    </details>
  );
}
