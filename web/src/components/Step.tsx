/** A numbered step that can be folded; folded it shows a summary in one line. */

import type { Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

interface StepProps {
  number: number;
  name: string;
  title: string;
  summary: string;
  open: Signal<boolean>;
  children: ComponentChildren;
}

export function Step({ number, name, title, summary, open, children }: StepProps) {
  const id = useId();
  return (
    <section class="step" data-step={name} aria-labelledby={id}>
      <h2>
        <button
          type="button"
          class="step-button"
          aria-expanded={open.value}
          aria-controls={`${id}-body`}
          onClick={() => (open.value = !open.value)}
        >
          <span class="step-number" aria-hidden="true">
            {number}
          </span>
          <span id={id}>{title}</span>
          <span class="step-summary">{!open.value && summary}</span>
          <span class="caret" aria-hidden="true" />
        </button>
      </h2>
      <div id={`${id}-body`} class="step-body" hidden={!open.value}>
        {children}
      </div>
    </section>
  );
}
