/** Scores of a replay: the model, raw and calibrated, in one table with the baselines. */

import type { PredictResponse, ReplayRow, ReplayScores } from "../api/types";
import { decimal, percent } from "../formats";
import { language, plural, t, term } from "../i18n";
import { selected } from "../state/results";
import { Hint } from "./controls";

export function ReplayTable() {
  const result = selected.value;
  if (!result?.document.has_comparison) return null;
  const scores = result.document.view?.scores;
  return (
    <section class="card wide" aria-labelledby="replay-title" data-replay>
      <h2 id="replay-title">{t("replay.title")}</h2>
      {scores ? <Scores scores={scores} document={result.document} /> : <p class="quiet">{t("replay.none_known")}</p>}
    </section>
  );
}

function Scores({ scores, document }: { scores: ReplayScores; document: PredictResponse }) {
  const { forecast, state, view } = document;
  const wanted = view?.request.windows ?? scores.windows;
  const alone = scores.rows.some((row) => row.window_crps != null);
  const reference = term("names", scores.reference);
  const best = Math.min(...scores.rows.map((row) => row.crps));
  return (
    <>
      <p class="verdict" data-verdict>
        {verdict(scores, state)}
        {scores.look_ahead && ` ${t("replay.look_ahead")}`}
      </p>
      <p class="quiet">
        {plural("replay.known", scores.windows, {
          windows: scores.windows,
          known: scores.known_steps,
          horizon: forecast.horizon,
        })}
        {scores.windows < wanted &&
          ` ${t("replay.fewer", {
            windows: scores.windows,
            wanted,
            lookback: view?.request.lookback ?? document.lookback,
            horizon: forecast.horizon,
          })}`}
      </p>
      <div class="scroll" tabIndex={0} role="group" aria-label={t("replay.title")}>
        <table class="scores stack">
          <thead>
            <tr>
              <th scope="col">{t("replay.contender")}</th>
              <Column name={t("replay.crps")} definition={`${t("replay.crps_definition")} ${t("replay.scaled")}`} />
              <Column name={t("replay.skill")} definition={t("replay.skill_definition", { reference })} />
              <Column name={t("replay.mae")} definition={`${t("replay.mae_definition")} ${t("replay.scaled")}`} />
              <Column name={t("replay.inside")} definition={t("replay.inside_definition")} />
              {alone && <Column name={t("replay.window")} definition={t("replay.window_definition")} />}
            </tr>
          </thead>
          <tbody>
            {scores.rows.map((row) => (
              <Row key={row.name} row={row} best={row.crps === best} alone={alone} />
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function Column({ name, definition }: { name: string; definition: string }) {
  return (
    <th scope="col">
      {name} <Hint name={name}>{definition}</Hint>
    </th>
  );
}

/** Skill from which an interval is clear of 0: what is nearer changes with the draw of the bootstrap. */
const CLEAR_SKILL = 0.01;

const isModel = (row: ReplayRow): boolean => row.kind === "raw" || row.kind === "calibrated";

function Row({ row, best, alone }: { row: ReplayRow; best: boolean; alone: boolean }) {
  return (
    <tr class={isModel(row) ? "model-row" : ""} data-contender={row.name}>
      <th scope="row">
        {contenderName(row)} <span class="quiet">{term("kinds", row.kind)}</span>
      </th>
      <td class={best ? "best" : ""} data-label={t("replay.crps")}>
        {percent(row.crps, 3, language.value)}
        <Scaled value={row.crps_scaled} />
      </td>
      <td data-label={t("replay.skill")}>
        {row.skill === null ? t("replay.none") : withInterval(row.skill, row.skill_low, row.skill_high)}
      </td>
      <td data-label={t("replay.mae")}>
        {percent(row.mae, 3, language.value)}
        <Scaled value={row.mae_scaled} />
      </td>
      <td data-label={t("replay.inside")}>
        {row.inside_50 === null
          ? t("replay.none")
          : [row.inside_50, row.inside_80, row.inside_95].map(share).join(" / ")}
        {row.inside_50_low !== null && <span class="interval">{insideIntervals(row)}</span>}
      </td>
      {alone && <WindowCell row={row} />}
    </tr>
  );
}

/** The same loss where every step counts alike: in units of the usual move until then. */
function Scaled({ value }: { value: number | null | undefined }) {
  return value == null ? null : <span class="interval">{`${decimal(value, 2, language.value)} σ√h`}</span>;
}

/** Scores of the window on the chart alone, beside the means over all windows. */
function WindowCell({ row }: { row: ReplayRow }) {
  const { window_crps: crps, window_mae: mae, window_inside_80: inside } = row;
  const details = [
    mae != null && t("replay.window_mae", { mae: percent(mae, 3, language.value) }),
    inside != null && t("replay.window_inside", { inside: share(inside) }),
  ].filter(Boolean);
  return (
    <td data-label={t("replay.window")}>
      {crps == null ? t("replay.none") : percent(crps, 3, language.value)}
      {details.length > 0 && <span class="interval">{details.join(" · ")}</span>}
    </td>
  );
}

function contenderName(row: ReplayRow): string {
  const [name, state] = row.name.split(", ");
  return isModel(row) && state ? name! : term("names", row.name);
}

function insideIntervals(row: ReplayRow): string {
  const ends = [
    [row.inside_50_low, row.inside_50_high],
    [row.inside_80_low, row.inside_80_high],
    [row.inside_95_low, row.inside_95_high],
  ] as const;
  return ends.map(([low, high]) => `${share(low)}–${share(high)}`).join(" / ");
}

function share(value: number | null): string {
  return value === null ? t("replay.none") : percent(value, 0, language.value);
}

export function skillText(value: number): string {
  return `${value > 0 ? "+" : value < 0 ? "−" : ""}${decimal(Math.abs(value), 2, language.value)}`;
}

function withInterval(value: number, low: number | null, high: number | null) {
  return (
    <>
      {skillText(value)}
      {low !== null && high !== null && (
        <span class="interval">
          {skillText(low)} … {skillText(high)}
        </span>
      )}
    </>
  );
}

/** The model's row that was asked for: calibrated or raw. */
export function ownRow(scores: ReplayScores, state: "raw" | "calibrated"): ReplayRow | undefined {
  return scores.rows.find((row) => row.kind === state) ?? scores.rows.find(isModel);
}

/** One sentence that says no more than the interval allows, about a row that the test is fair to. */
function verdict(scores: ReplayScores, state: "raw" | "calibrated"): string {
  const row = scores.look_ahead ? scores.rows.find((each) => each.kind === "raw") : ownRow(scores, state);
  const reference = term("names", scores.reference);
  const name = row ? contenderName(row) : "";
  const model = row && scores.look_ahead ? t("result.label", { model: name, state: term("kinds", row.kind) }) : name;
  if (!row || row.skill === null) return t("replay.unclear", { model, reference });
  const values = { model, reference, windows: scores.windows, skill: skillText(row.skill) };
  if (row.skill_low === null || row.skill_high === null)
    return t("replay.single", { ...values, count: plural("replay.windows", scores.windows) });
  const bounds = { ...values, low: skillText(row.skill_low), high: skillText(row.skill_high) };
  if (row.skill_low >= CLEAR_SKILL) return t("replay.better", bounds);
  return t(row.skill_high <= -CLEAR_SKILL ? "replay.worse" : "replay.even", bounds);
}
