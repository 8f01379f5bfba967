/** Above the chart: the header figures of the selected result, and the list of results on the page. */

import type { PredictResponse } from "../api/types";
import { integer, percent } from "../formats";
import { language, plural, t, term } from "../i18n";
import { data } from "../state/data";
import { LEAST_PATHS } from "../quantiles";
import {
  dash,
  hue,
  label,
  origin,
  quantile,
  sameMarket,
  sameOrigin,
  selected,
  shown,
  type ShownResult,
  toggle,
} from "../state/results";
import { chartCandles, removeResult, selectResult } from "../state/page";
import { closedSince } from "../state/staleness";
import { formatOrigin, formatPrice, formatTime } from "./ChartView";
import { Swatch } from "./controls";
import { Figure } from "./Figure";
import { ForecastNote } from "./ForecastNote";

export function Figures() {
  const result = selected.value;
  if (!result) return <DataFigures />;
  const { forecast } = result.document;
  const up = forecast.upside_probability;
  const share = (value: number): string => percent(value, 0, language.value);
  const low = quantile(result.document, 0.1)?.at(-1);
  const high = quantile(result.document, 0.9)?.at(-1);
  const median = quantile(result.document, 0.5)?.at(-1);
  const end = formatTime(result.document.view?.time.at(-1) ?? 0);
  return (
    <dl class="figures" data-figures>
      <Figure
        name={t("result.last_close")}
        value={formatPrice(forecast.last_close)}
        detail={formatTime(origin(result.document))}
      />
      <Figure
        name={t("result.upside")}
        value={share(up.value)}
        detail={t("result.interval95", { low: share(up.low), high: share(up.high) })}
        definition={t("result.upside_definition", { count: up.count, paths: up.paths })}
      />
      {low !== undefined && high !== undefined && (
        <Figure
          name={t("result.range80")}
          value={`${formatPrice(low)} – ${formatPrice(high)}`}
          detail={end}
          definition={t("result.range80_definition", { time: end })}
        />
      )}
      {median !== undefined && (
        <Figure
          name={t("result.median")}
          value={formatPrice(median)}
          detail={end}
          definition={t("result.median_definition")}
        />
      )}
      <Figure
        name={t("result.state")}
        value={bandsText(result.document)}
        detail={`${plural("result.paths", forecast.samples, { count: integer(forecast.samples, language.value) })} · ${plural("result.steps", forecast.horizon)}`}
        definition={
          forecast.samples < LEAST_PATHS
            ? t("result.paths_only")
            : t(result.document.state === "raw" ? "model.raw_hint" : "model.calibrated_hint")
        }
      />
    </dl>
  );
}

/** Last step that the calibration was fitted on; null if that is unknown. */
function fittedSteps(document: PredictResponse): number | null {
  const { made, notes } = document.forecast;
  const calibration = made.details["calibration"] as { fitted_steps?: unknown } | null | undefined;
  if (typeof calibration?.fitted_steps === "number") return calibration.fitted_steps;
  const found = notes.map((note) => /fitted up to step (\d+)/.exec(note)).find((match) => match !== null);
  return found ? Number(found[1]) : null;
}

function bandsText(document: PredictResponse): string {
  const fitted = document.state === "calibrated" ? fittedSteps(document) : null;
  if (fitted !== null && document.forecast.horizon > fitted) return t("result.calibrated_to", { step: fitted });
  return t(`result.states.${document.state}`);
}

/** Before the first forecast: what the candles say themselves. */
function DataFigures() {
  const loaded = data.value;
  if (!loaded) return null;
  const { info } = loaded;
  // Where a replay hides what happened, the last close is that of its origin.
  const candles = chartCandles.value?.candles ?? loaded.candles;
  return (
    <dl class="figures" data-figures>
      <Figure
        name={t("result.last_close")}
        value={formatPrice(candles.close.at(-1)!)}
        detail={formatTime(candles.time.at(-1)!)}
      />
      <Figure name={t("data.facts.rows")} value={integer(info.rows, language.value)} detail={info.timeframe} />
    </dl>
  );
}

/** Every result on the page: shown or not, in its hue and dash pattern. */
export function ResultList() {
  const results = shown.value;
  const moved = closedSince.value;
  if (!results.length) return null;
  return (
    <section class="results" aria-label={t("result.shown")}>
      <ul data-results>
        {results.map((result) => (
          <ResultEntry key={result.id} result={result} />
        ))}
      </ul>
      {moved > 0 && <p class="quiet">{plural("stale.moved", moved)}</p>}
    </section>
  );
}

function ResultEntry({ result }: { result: ShownResult }) {
  const base = selected.value;
  const { document } = result;
  const name = label(document);
  const chosen = base?.id === result.id;
  const full = `${name}, ${t("result.as_of", { time: formatOrigin(document) })}`;
  const drawable = !base || sameOrigin(document, base.document);
  return (
    <li class={`${chosen ? "chosen" : ""} ${result.visible && drawable ? "" : "off"}`} data-result={result.id}>
      <label class="check">
        <input
          type="checkbox"
          checked={result.visible && drawable}
          disabled={!drawable}
          aria-label={t("result.show", { label: full })}
          onChange={() => toggle(result.id)}
        />
        <Swatch colour={hue(result.slot)} dash={dash(result.slot)} />
      </label>
      <button
        type="button"
        class="link-button"
        aria-pressed={chosen}
        title={t("result.select", { label: name })}
        onClick={() => selectResult(result.id)}
      >
        <b>{name}</b> <span class="quiet">{t("result.as_of", { time: formatOrigin(document) })}</span>
      </button>
      {!drawable && (
        <span class="quiet">
          {t(sameMarket(document, base.document) ? "result.other_window" : "result.other_data")}
        </span>
      )}
      {!document.view && <span class="quiet">{t("errors.no_view")}</span>}
      <button
        type="button"
        class="icon-button"
        aria-label={t("result.remove", { label: full })}
        onClick={() => removeResult(result.id)}
      >
        <span aria-hidden="true">×</span>
      </button>
    </li>
  );
}

/** The calendar, and how it is known where its name does not say so. */
function calendarText(calendar: string, basis: string): string {
  const name = term("calendars", calendar);
  return basis === "inferred" && calendar !== basis ? t("data.detected", { name }) : name;
}

/** Caveats of the selected result, and how it was made. */
export function ResultNotes() {
  const result = selected.value;
  if (!result) return null;
  const { forecast, view } = result.document;
  const request = view?.request;
  const facts: [string, string][] = [
    [
      t("result.made.model"),
      t("result.label", { model: forecast.made.model, state: t(`result.states.${result.document.state}`) }),
    ],
    [t("result.made.as_of"), formatTime(origin(result.document))],
    [t("result.made.history"), integer(view?.history.time.length ?? result.document.lookback, language.value)],
    [t("result.made.horizon"), String(forecast.horizon)],
    [t("result.made.calendar"), calendarText(forecast.made.calendar, forecast.made.calendar_basis)],
  ];
  if (request) {
    const { sample_count: samples, temperature, top_p: topP, seed } = request;
    facts.push([t("result.made.sampling"), t("forecast.sampling_summary", { samples, temperature, topP })]);
    if (seed !== null) facts.push([t("result.made.seed"), String(seed)]);
  }
  return (
    <section class="card" aria-labelledby="made-title">
      <h2 id="made-title">{t("result.details")}</h2>
      <dl class="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {forecast.notes.length > 0 && (
        <ul class="notes">
          {forecast.notes.map((note) => (
            <ForecastNote key={note} text={note} />
          ))}
        </ul>
      )}
    </section>
  );
}
