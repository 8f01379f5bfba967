/** Saved results of the server: open, compare, delete. */

import { useSignal } from "@preact/signals";

import type { SavedResult } from "../api/types";
import { bytes, dateTime, parseTime } from "../formats";
import { language, t, term } from "../i18n";
import { showResults } from "../state/page";
import { deleteSaved, MOST_RESULTS, resultFailure, saved, shown } from "../state/results";
import { focusChart } from "./ChartView";
import { FailureNote } from "./FailureNote";

const FIRST = 8;

export function SavedResults() {
  const all = useSignal(false);
  const listed = all.value ? saved.value : saved.value.slice(0, FIRST);
  return (
    <section class="card" aria-labelledby="saved-title" data-saved>
      <h2 id="saved-title">{t("saved.title")}</h2>
      {resultFailure.value && (
        <FailureNote failure={resultFailure.value} onDismiss={() => (resultFailure.value = null)} />
      )}
      {saved.value.length === 0 && <p class="quiet">{t("saved.empty")}</p>}
      <ul class="saved">
        {listed.map((result) => (
          <Entry key={result.id} result={result} />
        ))}
      </ul>
      {saved.value.length > listed.length && (
        <button type="button" class="button" onClick={() => (all.value = true)}>
          {t("saved.more", { count: saved.value.length })}
        </button>
      )}
    </section>
  );
}

async function openResult(id: string): Promise<void> {
  await showResults([id], false);
  if (resultFailure.value) return;
  document.querySelector(".figures")?.scrollIntoView({ block: "start" });
  focusChart();
}

function Entry({ result }: { result: SavedResult }) {
  const confirming = useSignal(false);
  const { id, summary } = result;
  const open = shown.value.some((each) => each.id === id);
  return (
    <li class={open ? "chosen" : ""} data-saved-id={id}>
      <span class="saved-name">
        {summary && (
          <span>
            {summary.symbol ?? t("saved.series")} {summary.interval} ·{" "}
            {t(summary.replay ? "saved.replay" : "saved.forecast", { horizon: summary.horizon })} ·{" "}
            {t("result.label", { model: summary.model, state: term("kinds", summary.state) })}{" "}
          </span>
        )}
        <span class="quiet numbers">
          {dateTime(parseTime(result.created), Intl.DateTimeFormat().resolvedOptions().timeZone)} ·{" "}
          {bytes(result.size, language.value)}
        </span>
      </span>
      {confirming.value ? (
        <span class="row">
          <span>{t("saved.confirm")}</span>
          <button
            type="button"
            class="button small danger"
            aria-label={t("saved.delete_name", { id })}
            onClick={() => void deleteSaved(id)}
          >
            {t("saved.delete")}
          </button>
          <button type="button" class="button small" onClick={() => (confirming.value = false)}>
            {t("saved.keep")}
          </button>
        </span>
      ) : (
        <span class="row">
          <button
            type="button"
            class="button small"
            aria-label={t("saved.open_name", { id })}
            onClick={() => void openResult(id)}
          >
            {t("saved.open")}
          </button>
          <button
            type="button"
            class="button small"
            aria-label={t("saved.add_name", { id })}
            disabled={open || !shown.value.length || shown.value.length >= MOST_RESULTS}
            onClick={() => void showResults([id], true)}
          >
            {t("saved.add")}
          </button>
          <button
            type="button"
            class="button small"
            aria-label={t("saved.delete_name", { id })}
            onClick={() => (confirming.value = true)}
          >
            {t("saved.delete")}
          </button>
        </span>
      )}
    </li>
  );
}
