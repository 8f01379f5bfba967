/** How a file is read: options that override what the reader detects. */

import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

import type { ReadOptions, TablePreview } from "../api/types";
import { t } from "../i18n";
import { canMap, ColumnMapping } from "./ColumnMapping";
import { Select } from "./controls";

const TEXTS = ["symbol", "interval", "timezone", "calendar", "date_format", "header"] as const;
export const COLUMNS = ["timestamps", "open", "high", "low", "close", "volume", "amount"] as const;
const SIGNS = [
  {
    name: "decimal",
    values: [
      [".", "dot"],
      [",", "comma"],
    ],
  },
  {
    name: "thousands",
    values: [
      ["none", "none"],
      [",", "comma"],
      [".", "dot"],
      [" ", "space"],
      ["'", "apostrophe"],
    ],
  },
] as const;
type TextOption = (typeof TEXTS)[number];

interface Props {
  options: ReadOptions;
  /** Options that the server asks for: they are shown and highlighted. */
  wanted: string[];
  /** First rows of the file, to map its columns by; null where there are none. */
  preview: TablePreview | null;
  /** Called when the options come into view. */
  onUnfold: () => void;
  onApply: (options: ReadOptions) => void;
}

/** Values of the form: empty where the reader detects. `thousands` "none" means that there is no such sign. */
interface Draft {
  texts: Record<TextOption, string>;
  decimal: string;
  thousands: string;
  columns: Record<string, string>;
}

function draftOf(options: ReadOptions): Draft {
  const texts = Object.fromEntries(TEXTS.map((name) => [name, String(options[name] ?? "")])) as Record<
    TextOption,
    string
  >;
  return {
    texts,
    decimal: options.decimal ?? "",
    thousands: options.thousands === "" ? "none" : (options.thousands ?? ""),
    columns: { ...options.columns },
  };
}

export function optionsOf(draft: Draft): ReadOptions {
  const options: ReadOptions = {};
  for (const name of TEXTS) {
    const value = draft.texts[name].trim();
    if (!value) continue;
    if (name === "header") options.header = Number(value);
    else options[name] = value;
  }
  if (draft.decimal) options.decimal = draft.decimal;
  if (draft.thousands) options.thousands = draft.thousands === "none" ? "" : draft.thousands;
  const columns = Object.entries(draft.columns).filter(([, name]) => name.trim());
  if (columns.length) options.columns = Object.fromEntries(columns.map(([column, name]) => [column, name.trim()]));
  return options;
}

export function ReadingOptions({ options, wanted, preview, onUnfold, onApply }: Props) {
  const draft = useSignal(draftOf(options));
  const unfolded = useSignal(false);
  const details = useRef<HTMLDetailsElement>(null);
  const asked = wanted.join();
  useEffect(() => void (draft.value = draftOf(options)), [options]);
  useEffect(() => void (unfolded.value && onUnfold()), [options, unfolded.value]);
  useEffect(() => {
    if (!details.current) return;
    // Folded, the fields cannot keep the focus: it goes to what unfolds them.
    if (!asked && details.current.contains(document.activeElement)) details.current.querySelector("summary")?.focus();
    details.current.open = asked !== "";
    if (!asked) return;
    details.current.querySelector<HTMLElement>(".highlighted input, .highlighted select")?.focus();
  }, [asked]);
  const change = (part: Partial<Draft>): void => void (draft.value = { ...draft.value, ...part });
  const marks = (name: string): boolean => wanted.includes(name);
  const apply = (
    <button type="submit" class={`button ${asked ? "primary" : ""}`}>
      {t("data.apply")}
    </button>
  );
  const fields = optionFields(draft.value, change, marks);
  const first = fields.filter((field) => marks(field.name));
  const mapping = (
    <fieldset class={`columns ${marks("columns") ? "highlighted" : ""}`}>
      <legend>{t("data.option.columns")}</legend>
      {preview && (
        <ColumnMapping
          preview={preview}
          columns={draft.value.columns}
          onChange={(columns: Record<string, string>) => change({ columns })}
        />
      )}
      {!(preview && canMap(preview)) && (
        <>
          <p class="field-hint">{t("data.column_hint")}</p>
          <div class="fields">
            {COLUMNS.map((column) => (
              <ColumnField
                key={column}
                label={t(`data.column.${column}`)}
                value={draft.value.columns[column] ?? ""}
                onChange={(value) => change({ columns: { ...draft.value.columns, [column]: value } })}
              />
            ))}
          </div>
        </>
      )}
    </fieldset>
  );
  return (
    <details class="reading" ref={details} onToggle={(event) => (unfolded.value = event.currentTarget.open)}>
      <summary>{t("data.options")}</summary>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          onApply(optionsOf(draft.value));
        }}
      >
        {first.length > 0 && <div class="fields">{first.map((field) => field.element)}</div>}
        {marks("columns") && mapping}
        {(first.length > 0 || marks("columns")) && apply}
        <p class="field-hint">{t("data.options_hint")}</p>
        <div class="fields">{fields.filter((field) => !marks(field.name)).map((field) => field.element)}</div>
        {!marks("columns") && mapping}
        {first.length === 0 && !marks("columns") && apply}
      </form>
    </details>
  );
}

/** All fields but the columns, by name, so that those asked for can come first. */
function optionFields(
  draft: Draft,
  change: (part: Partial<Draft>) => void,
  marks: (name: string) => boolean,
): { name: string; element: VNode }[] {
  const texts = TEXTS.map((name) => ({
    name: name as string,
    element: (
      <TextField
        key={name}
        name={name}
        value={draft.texts[name]}
        highlighted={marks(name)}
        onChange={(value) => change({ texts: { ...draft.texts, [name]: value } })}
      />
    ),
  }));
  const signs = SIGNS.map(({ name, values }) => ({
    name: name as string,
    element: (
      <Select
        key={name}
        label={t(`data.option.${name}`)}
        value={draft[name]}
        highlighted={marks(name)}
        options={[["", t("data.auto")], ...values.map(([value, text]) => [value, t(`data.signs.${text}`)] as const)]}
        onChange={(value) => change({ [name]: value })}
      />
    ),
  }));
  return [...texts, ...signs];
}

interface FieldProps {
  value: string;
  onChange: (value: string) => void;
}

function TextField({ name, value, highlighted, onChange }: FieldProps & { name: TextOption; highlighted: boolean }) {
  const id = useId();
  return (
    <div class={`field ${highlighted ? "highlighted" : ""}`} data-option={name}>
      <label for={id}>{t(`data.option.${name}`)}</label>
      <input
        id={id}
        type="text"
        inputMode={name === "header" ? "numeric" : "text"}
        pattern={name === "header" ? "[0-9]*" : undefined}
        value={value}
        placeholder={t("data.auto")}
        aria-describedby={name === "symbol" ? undefined : `${id}-hint`}
        onInput={(event) => onChange(event.currentTarget.value)}
      />
      {name !== "symbol" && (
        <p class="field-hint" id={`${id}-hint`}>
          {t(`data.option_hint.${name}`)}
        </p>
      )}
    </div>
  );
}

function ColumnField({ label, value, onChange }: FieldProps & { label: string }) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        id={id}
        type="text"
        value={value}
        placeholder={t("data.auto")}
        onInput={(event) => onChange(event.currentTarget.value)}
      />
    </div>
  );
}
