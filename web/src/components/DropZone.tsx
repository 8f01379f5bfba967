/** A place for a file: shows that one is dragged over it, and has a button to choose one. The page takes the drop. */

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import { t } from "../i18n";

interface DropZoneProps {
  title: string;
  /** Endings of the files that can be chosen, as the attribute of an input has them. */
  accept: string;
  /** Choosing a file is the next thing to do. */
  primary: boolean;
  /** Id of the hint, for the button's description. */
  hintId: string;
  hint: ComponentChildren;
  onChoose(file: File): void;
}

export function DropZone({ title, accept, primary, hintId, hint, onChoose }: DropZoneProps) {
  const over = useSignal(false);
  const input = useRef<HTMLInputElement>(null);
  return (
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
        {title}
      </p>
      <button
        type="button"
        class={`button ${primary ? "primary" : ""}`}
        onClick={() => input.current?.click()}
        aria-describedby={hintId}
      >
        {t("data.choose")}
      </button>
      <input
        ref={input}
        type="file"
        hidden
        aria-label={t("data.choose")}
        accept={accept}
        onChange={(event) => {
          const chosen = event.currentTarget.files?.[0];
          if (chosen) onChoose(chosen);
          event.currentTarget.value = "";
        }}
      />
      <p class="field-hint" id={hintId}>
        {hint}
      </p>
    </div>
  );
}
