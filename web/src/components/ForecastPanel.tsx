/** Step 3: the window, the sampling, and the run. */

import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useId, useRef } from "preact/hooks";

import { candleTime, dateTime, duration, integer } from "../formats";
import { language, t, term } from "../i18n";
import { data, seconds, zone } from "../state/data";
import {
  cancelForecast,
  cancelled,
  fittingWindows,
  forecastFailure,
  type ForecastWindow,
  forecastWindow,
  job,
  parameters,
  runForecast,
  setOrigin,
  setParameters,
  windowProblem,
} from "../state/forecast";
import { currentModel } from "../state/models";
import { visible } from "../state/results";
import { untilClose } from "../state/staleness";
import { type Mode, RANGES } from "../state/url";
import { NumberField, Progress, Segmented } from "./controls";
import { FailureNote } from "./FailureNote";
import { Step } from "./Step";
import { WindowStrip } from "./WindowStrip";

const MODES: readonly Mode[] = ["now", "replay", "anchored"];

export function ForecastPanel({ open }: { open: Signal<boolean> }) {
  const { mode } = parameters.value;
  const window = forecastWindow.value;
  const summary = window ? `${t(`forecast.modes.${mode}`)} · ${window.lookback} + ${window.horizon}` : "";
  return (
    <Step number={3} name="forecast" title={t("forecast.title")} summary={summary} open={open}>
      <Segmented
        label={t("forecast.mode")}
        value={mode}
        options={MODES.map((one) => [one, t(`forecast.modes.${one}`)] as const)}
        onChange={(value) => setParameters({ mode: value, end: null })}
      />
      <p class="field-hint">{t(`forecast.mode_hint.${mode}`)}</p>
      <Countdown />
      {window && data.value && <WindowSettings window={window} />}
      <Sampling />
    </Step>
  );
}

/** "Next candle closes in …": only closed candles are forecast from, which surprises people otherwise. */
function Countdown() {
  const left = untilClose.value;
  if (left === null || parameters.value.mode === "replay") return null;
  return (
    <p class="quiet" data-countdown>
      {left > 0 ? t("forecast.next_close", { time: duration(left) }) : t("forecast.next_due")}
    </p>
  );
}

function WindowSettings({ window }: { window: ForecastWindow }) {
  const loaded = data.value!;
  const wanted = parameters.value;
  const id = useId();
  const { time } = loaded.candles;
  const format = (position: number): string => candleTime(time[position]!, zone.value, seconds.value);
  return (
    <div class="window">
      <WindowStrip window={window} />
      <div class="fields">
        <NumberField
          label={t("forecast.lookback")}
          value={wanted.lookback}
          step={1}
          {...RANGES.lookback}
          onChange={(value) => value !== null && setParameters({ lookback: Math.round(value) })}
        />
        <NumberField
          label={t("forecast.horizon")}
          value={wanted.horizon}
          step={1}
          {...RANGES.horizon}
          onChange={(value) => value !== null && setParameters({ horizon: Math.round(value) })}
        />
      </div>
      {wanted.mode !== "now" && (
        <NumberField
          label={t("forecast.windows")}
          hint={t("forecast.windows_hint")}
          value={wanted.windows}
          step={1}
          {...RANGES.windows}
          onChange={(value) => value !== null && setParameters({ windows: Math.round(value) })}
        />
      )}
      {wanted.mode !== "now" && fittingWindows.value < Math.min(5, wanted.windows) && (
        <p class="note notice" data-windows-fit>
          {t("forecast.windows_fit", { fit: fittingWindows.value, windows: wanted.windows })}
        </p>
      )}
      {wanted.mode === "replay" && (
        <div class="field">
          <label for={id}>{t("forecast.end")}</label>
          <input
            id={id}
            type="range"
            min={Math.min(1, time.length - 2)}
            max={Math.max(1, time.length - 2)}
            value={window.last}
            aria-valuetext={format(window.last)}
            data-window-end={window.last}
            onInput={(event) => setParameters({ end: time[Number(event.currentTarget.value)]! })}
          />
          <OriginField times={time} text={format(window.last)} />
        </div>
      )}
      {window.shrunk && (
        <p class="note notice">
          {t("forecast.shrunk", {
            rows: integer(loaded.info.rows, language.value),
            lookback: window.lookback,
            horizon: window.horizon,
            wanted: `${wanted.lookback} + ${wanted.horizon}`,
          })}
        </p>
      )}
      <Sight window={window} />
    </div>
  );
}

/** The origin of a replay as a date and time in the zone of the candles; it goes to the last candle at or before. */
function OriginField({ times, text }: { times: number[]; text: string }) {
  const id = useId();
  const draft = useSignal<string | null>(null);
  const read = (typed: string): number | null => {
    const wanted = typed.trim().replace("T", " ");
    if (!/^\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?)?$/.test(wanted)) return null;
    // Texts of this form sort as the times do, so that no clock has to be converted back. A date alone is its end.
    const most = wanted.length === 10 ? `${wanted} 99` : wanted;
    let low = 0;
    let high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (dateTime(times[middle]!, zone.value) <= most) low = middle + 1;
      else high = middle;
    }
    return times[Math.max(0, low - 1)]!;
  };
  const commit = (): void => {
    const time = draft.value === null ? null : read(draft.value);
    if (time !== null) setOrigin(time);
    draft.value = null;
  };
  return (
    <>
      <label for={id} class="visually-hidden">
        {t("forecast.origin")}
      </label>
      <input
        id={id}
        type="text"
        class="numbers"
        autocomplete="off"
        data-origin
        value={draft.value ?? text}
        aria-invalid={draft.value !== null && read(draft.value) === null}
        aria-describedby={`${id}-hint`}
        onInput={(event) => (draft.value = event.currentTarget.value)}
        onKeyDown={(event) => event.key === "Enter" && commit()}
        onBlur={commit}
      />
      <p class="field-hint" id={`${id}-hint`}>
        {t("forecast.origin_hint")}
      </p>
    </>
  );
}

/** Which rows the model really sees, or why the window cannot be forecast. */
function Sight({ window }: { window: ForecastWindow }) {
  const model = currentModel.value;
  const problem = windowProblem.value;
  if (problem)
    return (
      <p class="note bad" role="status">
        {t(`forecast.${problem}`, {
          model: model?.name ?? "",
          horizon: window.horizon,
          context: model?.context_length ?? 0,
          most: model ? model.context_length - model.least_history : 0,
          least: model?.least_history ?? 0,
          seen: window.seen,
        })}
      </p>
    );
  return (
    <p class="quiet" data-seen={window.seen}>
      {model &&
        t(window.seen < window.lookback ? "forecast.sees" : "forecast.sees_all", {
          model: model.name,
          seen: window.seen,
          context: model.context_length,
        })}{" "}
      {parameters.value.mode !== "now" &&
        t("forecast.known", { known: Math.min(window.known, window.horizon), horizon: window.horizon })}
    </p>
  );
}

/** The button that runs the forecast, or its progress; always in sight. */
export function RunBar() {
  const window = forecastWindow.value;
  const running = job.value;
  const ready = windowProblem.value === null;
  const kind = parameters.value.mode === "now" ? "now" : "replay";
  const bar = useRef<HTMLDivElement>(null);
  const busy = running !== null;
  const before = useRef(busy);
  // The button that was pressed is replaced by Cancel, and comes back: the focus follows.
  useEffect(() => {
    if (before.current === busy) return;
    before.current = busy;
    const { activeElement } = document;
    if (activeElement && activeElement !== document.body) return;
    bar.current?.querySelector<HTMLElement>(busy ? "[data-cancel]" : "[data-run]")?.focus({ preventScroll: true });
  }, [busy]);
  if (!window) return null;
  return (
    <div class="run" ref={bar}>
      {running ? (
        <>
          <div class="row">
            <p role="status">{term("jobs", running.message)} …</p>
            <button
              type="button"
              class="button"
              data-cancel
              aria-disabled={!running.id}
              onClick={() => void cancelForecast()}
            >
              {t("forecast.cancel")}
            </button>
          </div>
          <Progress value={running.progress} label={t("forecast.running")} />
          {visible.value.length > 0 && <p class="quiet">{t("forecast.previous")}</p>}
        </>
      ) : (
        <button
          type="button"
          class="button primary wide"
          data-run
          disabled={!ready}
          aria-keyshortcuts="Control+Enter"
          onClick={() => void runForecast()}
        >
          {t(`forecast.run_${kind}`, { horizon: window.horizon })}
        </button>
      )}
      {cancelled.value && (
        <p class="quiet" role="status">
          {t("forecast.cancelled")}
        </p>
      )}
      {forecastFailure.value && (
        <FailureNote
          failure={forecastFailure.value}
          onRetry={() => void runForecast()}
          onDismiss={() => (forecastFailure.value = null)}
        />
      )}
    </div>
  );
}

function Sampling() {
  const wanted = parameters.value;
  return (
    <details class="sampling">
      <summary>
        {t("forecast.sampling")}{" "}
        <span class="quiet">
          {t("forecast.sampling_summary", {
            samples: wanted.samples,
            temperature: wanted.temperature,
            topP: wanted.topP,
          })}
        </span>
      </summary>
      <div class="fields">
        <NumberField
          label={t("forecast.samples")}
          hint={t("forecast.samples_hint")}
          value={wanted.samples}
          step={1}
          {...RANGES.samples}
          onChange={(value) => value !== null && setParameters({ samples: Math.round(value) })}
        />
        <NumberField
          label={t("forecast.seed")}
          hint={t("forecast.seed_hint")}
          value={wanted.seed}
          step={1}
          optional
          placeholder={t("forecast.random")}
          {...RANGES.seed}
          onChange={(value) => setParameters({ seed: value === null ? null : Math.round(value) })}
        />
        <NumberField
          label={t("forecast.temperature")}
          hint={t("forecast.temperature_hint")}
          value={wanted.temperature}
          step={0.1}
          {...RANGES.temperature}
          onChange={(value) => value !== null && setParameters({ temperature: value })}
        />
        <NumberField
          label={t("forecast.top_p")}
          hint={t("forecast.top_p_hint")}
          value={wanted.topP}
          step={0.05}
          {...RANGES.topP}
          onChange={(value) => value !== null && setParameters({ topP: value })}
        />
      </div>
      {wanted.topP < 1 && (
        <p class="note bad" role="status">
          {t("forecast.top_p_warning")}
        </p>
      )}
    </details>
  );
}
