/** A horizon that leaves the model little history: both share its context. */

import { model } from "../state/model";
import { text } from "../texts";

const LITTLE_HISTORY = 64;

export function HistoryNote({ horizon }: { horizon: number }) {
  if (!model.value) return null;
  const history = model.value.context - horizon;
  if (history >= LITTLE_HISTORY) return null;
  return (
    <p class="note notice" data-short-history>
      {text("settings.short_history", { horizon, history })}
    </p>
  );
}
