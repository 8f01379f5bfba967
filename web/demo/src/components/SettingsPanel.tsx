/** Step 2: the settings of the forecast, and the button that runs it. */

import type { Signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import { NumberField, Progress, Segmented, Select } from "../../../src/components/controls";
import { Step } from "../../../src/components/Step";
import { percent } from "../../../src/formats";
import { language, t } from "../../../src/i18n";
import { type Field, namedFields } from "../advice";
import type { Failure } from "../protocol";
import { file } from "../state/file";
import {
  cancelForecast,
  cancelled,
  forecastFailure,
  markets,
  parameters,
  progress,
  RANGES,
  runForecast,
  setParameters,
} from "../state/forecast";
import { loaded, model, modelFailure } from "../state/model";
import { offline } from "../state/offline";
import { text } from "../texts";
import { HistoryNote } from "./HistoryNote";
import { marketName } from "./markets";

const BANDS = ["calibrated", "raw"] as const;
const CALENDARS = ["24/7", "inferred"] as const;

export function SettingsPanel({ open }: { open: Signal<boolean> }) {
  const { horizon, samples, seed, calendar } = parameters.value;
  const failure = forecastFailure.value;
  const wanted: readonly Field[] = failure ? namedFields(failure.message) : [];
  const summary = `${t("result.made.horizon")} ${horizon}`;
  const panel = useRef<HTMLDivElement>(null);
  useEffect(() => panel.current?.querySelector<HTMLElement>(".highlighted select")?.focus(), [failure]);
  return (
    <Step number={2} name="settings" title={text("settings.title")} summary={summary} open={open}>
      {failure && <ForecastFailure failure={failure} wanted={wanted} />}
      <div ref={panel}>
        <Select
          label={text("settings.calendar")}
          value={calendar ?? ""}
          highlighted={wanted.includes("calendar")}
          options={[
            ["", text("settings.calendars.detected")],
            [CALENDARS[0], text("settings.calendars.always")],
            [CALENDARS[1], text("settings.calendars.inferred")],
          ]}
          onChange={(value) => change({ calendar: value || null }, true)}
        />
      </div>
      <div class="fields">
        <NumberField
          label={t("forecast.horizon")}
          value={horizon}
          step={1}
          {...RANGES.horizon}
          max={model.value ? model.value.context - model.value.leastHistory : RANGES.horizon.max}
          onChange={(value) => value !== null && change({ horizon: Math.round(value) })}
        />
        <NumberField
          label={t("forecast.samples")}
          value={samples}
          step={1}
          {...RANGES.samples}
          onChange={(value) => value !== null && change({ samples: Math.round(value) })}
        />
        <NumberField
          label={t("forecast.seed")}
          value={seed}
          step={1}
          {...RANGES.seed}
          optional
          placeholder={t("forecast.random")}
          onChange={(value) => change({ seed: value === null ? null : Math.round(value) })}
        />
      </div>
      <HistoryNote horizon={horizon} />
      <More />
    </Step>
  );
}

/** A calendar that was asked for is used at once. */
function change(changes: Parameters<typeof setParameters>[0], run = false): void {
  setParameters(changes);
  if (run && file.value) void runForecast();
}

function More() {
  const { temperature, topP, calibrate, market } = parameters.value;
  return (
    <details class="sampling">
      <summary>{text("settings.more")}</summary>
      <div class="fields">
        <NumberField
          label={t("forecast.temperature")}
          hint={t("forecast.temperature_hint")}
          value={temperature}
          step="any"
          {...RANGES.temperature}
          onChange={(value) => value !== null && change({ temperature: value })}
        />
        <NumberField
          label={t("forecast.top_p")}
          hint={t("forecast.top_p_hint")}
          value={topP}
          step="any"
          {...RANGES.topP}
          onChange={(value) => value !== null && change({ topP: value })}
        />
      </div>
      {topP < 1 && <p class="note notice">{t("forecast.top_p_warning")}</p>}
      <Segmented
        label={t("model.calibrate")}
        value={calibrate ? "calibrated" : "raw"}
        options={BANDS.map((one) => [one, t(`model.${one}`)] as const)}
        onChange={(value) => change({ calibrate: value === "calibrated" })}
      />
      <p class="field-hint">{t(calibrate ? "model.calibrated_hint" : "model.raw_hint")}</p>
      {markets.value.length > 1 && (
        <>
          <Select
            label={text("settings.market")}
            value={market ?? ""}
            options={[
              ["", text("settings.market_detected")],
              ...markets.value.map((one) => [one, marketName(one)] as const),
            ]}
            onChange={(value) => change({ market: value || null })}
          />
          <p class="field-hint">{text("settings.market_hint")}</p>
        </>
      )}
    </details>
  );
}

function ForecastFailure({ failure, wanted }: { failure: Failure; wanted: readonly Field[] }) {
  const asksCalendar = wanted.includes("calendar");
  return (
    <div class={`note ${asksCalendar ? "notice" : "bad"}`} role="alert" data-failure={failure.name}>
      <p class="note-title">{text("settings.failed")}</p>
      <p lang="en">{failure.message}</p>
      {asksCalendar && <p>{text("settings.calendar_hint")}</p>}
    </div>
  );
}

/** The button, or the progress of what it has started; below, what has been loaded. */
export function RunBar() {
  const done = progress.value;
  return (
    <div class="run">
      {done === null ? (
        <button
          type="button"
          class="button primary wide"
          data-run
          disabled={!file.value}
          onClick={() => void runForecast()}
        >
          {text("settings.run", { horizon: parameters.value.horizon })}
        </button>
      ) : (
        <>
          <Progress value={done} label={t("forecast.running")} />
          <button type="button" class="button" data-cancel onClick={cancelForecast}>
            {t("forecast.cancel")}
          </button>
        </>
      )}
      {cancelled.value && done === null && (
        <p class="quiet" role="status">
          {t("forecast.cancelled")}
        </p>
      )}
      <p class="quiet" role="status" data-model-state>
        {modelText()}
        {offline.value !== "none" && text("lists.sentence") + text(`offline.${offline.value}`)}
      </p>
    </div>
  );
}

function modelText(): string {
  if (model.value) return text("model.ready", { name: model.value.name });
  if (modelFailure.value) return text("model.failed");
  return text("model.loading", { name: text("model.name"), share: percent(loaded.value, 0, language.value) });
}
