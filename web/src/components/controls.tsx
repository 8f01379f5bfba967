/** Small parts that several panels share. */

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

import { t } from "../i18n";

/** A definition behind a small button; closes with Escape, or when the focus leaves it. */
export function Hint({ name, children }: { name: string; children: ComponentChildren }) {
  const open = useSignal(false);
  const id = useId();
  const close = (): void => void (open.value = false);
  return (
    <span
      class="hint"
      onKeyDown={(event) => event.key === "Escape" && close()}
      onFocusOut={(event) => !event.currentTarget.contains(event.relatedTarget as Node | null) && close()}
    >
      <button
        type="button"
        class="hint-button"
        aria-label={t("result.definition", { name })}
        aria-expanded={open.value}
        aria-controls={id}
        onClick={() => (open.value = !open.value)}
      >
        <span aria-hidden="true">?</span>
      </button>
      <span id={id} class="hint-text" role="note" hidden={!open.value}>
        {children}
      </span>
    </span>
  );
}

interface MenuProps {
  label: string;
  class?: string;
  disabled?: boolean;
  children: (close: () => void) => ComponentChildren;
}

/** A button that opens a panel below it. */
export function Menu(props: MenuProps) {
  const open = useSignal(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const id = useId();
  useEffect(() => {
    if (!open.value) return;
    const outside = (event: Event): void => {
      if (!root.current?.contains(event.target as Node)) open.value = false;
    };
    document.addEventListener("pointerdown", outside);
    document.addEventListener("focusin", outside);
    return () => {
      document.removeEventListener("pointerdown", outside);
      document.removeEventListener("focusin", outside);
    };
  }, [open.value]);
  const close = (): void => {
    open.value = false;
    button.current?.focus();
  };
  return (
    <div
      class={`menu ${props.class ?? ""}`}
      ref={root}
      onKeyDown={(event) => event.key === "Escape" && open.value && close()}
    >
      <button
        type="button"
        class="button"
        ref={button}
        disabled={props.disabled ?? false}
        aria-expanded={open.value}
        aria-controls={id}
        onClick={() => (open.value = !open.value)}
      >
        {props.label}
        <span class="caret" aria-hidden="true" />
      </button>
      <div id={id} class="menu-panel" hidden={!open.value}>
        {open.value && props.children(close)}
      </div>
    </div>
  );
}

interface NumberFieldProps {
  label: string;
  hint?: string;
  value: number | null;
  min: number;
  max: number;
  step: number | "any";
  placeholder?: string;
  optional?: boolean;
  onChange: (value: number | null) => void;
  /** Called when what is typed becomes a number within the limits, or stops being one. */
  onValidity?: (valid: boolean) => void;
}

/** A number with its limits; what is out of range is put back into it when the field is left. */
export function NumberField(props: NumberFieldProps) {
  const id = useId();
  // What is being typed: a number on its way through values out of range must not be replaced meanwhile.
  const draft = useSignal<string | null>(null);
  const read = (text: string): number | null | undefined => {
    if (text.trim() === "") return props.optional ? null : undefined;
    const value = Number(text);
    return Number.isFinite(value) && value >= props.min && value <= props.max ? value : undefined;
  };
  const invalid = draft.value !== null && read(draft.value) === undefined;
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      <input
        id={id}
        type="number"
        inputMode="decimal"
        value={draft.value ?? props.value ?? ""}
        min={props.min}
        max={props.max}
        step={props.step}
        placeholder={props.placeholder ?? ""}
        aria-invalid={invalid}
        aria-describedby={props.hint ? `${id}-hint` : undefined}
        onInput={(event) => {
          draft.value = event.currentTarget.value;
          const value = read(draft.value);
          props.onValidity?.(value !== undefined);
          if (value !== undefined) props.onChange(value);
        }}
        onBlur={(event) => {
          const { value } = event.currentTarget;
          if (invalid && value !== "") props.onChange(Math.min(props.max, Math.max(props.min, Number(value))));
          draft.value = null;
          props.onValidity?.(true);
        }}
      />
      {props.hint && (
        <p id={`${id}-hint`} class="field-hint">
          {props.hint}{" "}
          <span class="nowrap">
            ({props.min}–{props.max > 1e8 ? "2³¹" : props.max})
          </span>
        </p>
      )}
    </div>
  );
}

interface SelectProps {
  label: string;
  value: string;
  options: readonly (readonly [value: string, text: string])[];
  hidden?: boolean;
  highlighted?: boolean;
  onChange: (value: string) => void;
}

export function Select(props: SelectProps) {
  const id = useId();
  return (
    <div class={`field ${props.highlighted ? "highlighted" : ""}`}>
      <label for={id} class={props.hidden ? "visually-hidden" : ""}>
        {props.label}
      </label>
      <select id={id} value={props.value} onChange={(event) => props.onChange(event.currentTarget.value)}>
        {props.options.map(([value, text]) => (
          <option key={value} value={value} selected={value === props.value}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
}

interface SegmentedProps<T extends string> {
  label: string;
  value: T;
  /** With a reason, an option cannot be chosen. */
  options: readonly (readonly [value: T, text: string, reason?: string | undefined])[];
  onChange: (value: T) => void;
}

/** A choice among few, as radio buttons in one row. */
export function Segmented<T extends string>(props: SegmentedProps<T>) {
  const name = useId();
  return (
    <fieldset class="segmented">
      <legend class="visually-hidden">{props.label}</legend>
      {props.options.map(([value, text, reason]) => (
        <label key={value} class={value === props.value ? "chosen" : ""} title={reason}>
          <input
            type="radio"
            name={name}
            value={value}
            disabled={reason !== undefined}
            checked={value === props.value}
            onChange={() => props.onChange(value)}
          />
          <span>{text}</span>
        </label>
      ))}
    </fieldset>
  );
}

export function Progress({ value, label }: { value: number; label: string }) {
  return (
    <div class="progress">
      <progress value={value} max={1} aria-label={label} />
      <span aria-hidden="true">{Math.round(100 * value)}%</span>
    </div>
  );
}

/** Line in the hue and dash pattern of a forecast. */
export function Swatch({ colour, dash }: { colour: string; dash: number[] }) {
  return (
    <svg class="swatch" width="26" height="10" viewBox="0 0 26 10" aria-hidden="true">
      <line x1="0" y1="5" x2="26" y2="5" stroke={colour} stroke-width="3" stroke-dasharray={dash.join(" ")} />
    </svg>
  );
}

/** Copy a text; older ways too, because pages that are not on this machine or on TLS have no clipboard. */
export async function copyText(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/** A button that confirms for a moment that it has copied. */
export function CopyButton({ text, label }: { text: () => string; label: string }) {
  const done = useSignal(false);
  const copy = (): void => {
    void copyText(text()).then(() => {
      done.value = true;
      setTimeout(() => (done.value = false), 2000);
    });
  };
  return (
    <button type="button" class="button" onClick={copy}>
      <span aria-live="polite">{done.value ? t("errors.copied") : label}</span>
    </button>
  );
}
