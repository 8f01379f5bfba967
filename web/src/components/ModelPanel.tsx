/** Step 2: the model in use, others to load, calibrated or raw bands. */

import type { Signal } from "@preact/signals";

import type { ModelInfo } from "../api/types";
import { integer } from "../formats";
import { language, plural, t, term } from "../i18n";
import { parameters, setParameters } from "../state/forecast";
import { currentModel, loadingModel, loadModel, modelFailure, models, status } from "../state/models";
import { Progress, Segmented } from "./controls";
import { FailureNote } from "./FailureNote";
import { Step } from "./Step";

export function ModelPanel({ open }: { open: Signal<boolean> }) {
  const current = currentModel.value;
  const calibrate = parameters.value.calibrate ? "calibrated" : "raw";
  const entries = Object.entries(models.value);
  const summary = current ? `${current.name} · ${t(`model.${calibrate}`)}` : "";
  return (
    <Step number={2} name="model" title={t("model.title")} summary={summary} open={open}>
      {entries.length === 0 ? <p class="quiet">{t("model.unknown")}</p> : <ModelList entries={entries} />}
      {status.value && !current && !loadingModel.value && <p class="quiet">{t("model.none")}</p>}
      {modelFailure.value && <FailureNote failure={modelFailure.value} onDismiss={() => (modelFailure.value = null)} />}
      <div class="field">
        <span class="label" aria-hidden="true">
          {t("model.calibrate")}
        </span>
        <Segmented
          label={t("model.calibrate")}
          value={calibrate}
          options={[
            ["calibrated", t("model.calibrated")],
            ["raw", t("model.raw")],
          ]}
          onChange={(value) => setParameters({ calibrate: value === "calibrated" })}
        />
        <p class="field-hint">{t(`model.${calibrate}_hint`)}</p>
      </div>
    </Step>
  );
}

/** The model in use; the others are folded away until one of them is wanted. */
function ModelList({ entries }: { entries: [string, ModelInfo][] }) {
  const key = currentModel.value?.key;
  const others = entries.filter(([id]) => id !== key);
  const list = (shown: [string, ModelInfo][]) => (
    <ul class="models">
      {shown.map(([id, model]) => (
        <ModelEntry key={id} id={id} model={model} />
      ))}
    </ul>
  );
  if (others.length === entries.length) return list(entries);
  return (
    <>
      {list(entries.filter(([id]) => id === key))}
      {others.length > 0 && (
        <details open={loadingModel.value !== null}>
          <summary>{plural("model.others", others.length)}</summary>
          {list(others)}
        </details>
      )}
    </>
  );
}

function ModelEntry({ id, model }: { id: string; model: ModelInfo }) {
  const current = currentModel.value;
  const inUse = current?.key === id;
  const loading = loadingModel.value;
  const facts = [
    model.params && t("model.parameters", { parameters: model.params }),
    model.context_length && t("model.context", { context: integer(model.context_length, language.value) }),
    model.licence && t("model.licence", { licence: model.licence }),
    inUse ? t("model.loaded", { device: current.device }) : t(model.available ? "model.here" : "model.download"),
  ].filter(Boolean);
  return (
    <li class={inUse ? "in-use" : ""} data-model={id} aria-current={inUse}>
      <div class="model-head">
        <b>{model.name}</b>
        {inUse && <span class="tag good">{t("model.in_use")}</span>}
        {!inUse && loading?.key !== id && (
          <button
            type="button"
            class="button small"
            disabled={loading !== null}
            aria-label={t("model.load_name", { name: model.name })}
            onClick={() => void loadModel(id)}
          >
            {t("model.load")}
          </button>
        )}
      </div>
      <p class="quiet">{facts.join(" · ")}</p>
      {loading?.key === id && (
        <div role="status">
          <p>{t("model.loading", { name: model.name })}</p>
          <Progress value={loading.job.progress} label={term("jobs", loading.job.message)} />
        </div>
      )}
    </li>
  );
}
