/** A figure of a result: its name, its value, what it refers to, and its definition. */

import type { ComponentChildren } from "preact";

import { Hint } from "./controls";

interface FigureProps {
  name: string;
  value: string;
  detail: string;
  definition?: ComponentChildren;
}

export function Figure({ name, value, detail, definition }: FigureProps) {
  return (
    <div class="figure">
      <dt>
        {name}
        {definition && <Hint name={name}>{definition}</Hint>}
      </dt>
      <dd>
        <span class="figure-value">{value}</span>
        <span class="figure-detail">{detail}</span>
      </dd>
    </div>
  );
}
