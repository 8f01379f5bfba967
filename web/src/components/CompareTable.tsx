/** All results on the page in one table. */

import type { PredictResponse } from "../api/types";
import { percent, price } from "../formats";
import { language, t } from "../i18n";
import {
  dash,
  hue,
  label,
  quantile,
  sameMarket,
  sameOrigin,
  sameWindow,
  selected,
  shown,
  type ShownResult,
} from "../state/results";
import { formatOrigin } from "./ChartView";
import { Swatch } from "./controls";
import { ownRow, skillText } from "./ReplayTable";

export function CompareTable() {
  const results = shown.value;
  if (results.length < 2) return null;
  const base = selected.value!.document;
  const others = results.filter((result) => !sameOrigin(result.document, base));
  const ranked = results.every((result) => sameWindow(result.document, base));
  const scored = results.some((result) => result.document.view?.scores);
  return (
    <section class="card wide" aria-labelledby="compare-title" data-compare>
      <h2 id="compare-title">{t("compare.title")}</h2>
      <div class="scroll" tabIndex={0} role="group" aria-label={t("compare.title")}>
        <table class="stack plain">
          <thead>
            <tr>
              <th scope="col">{t("compare.forecast")}</th>
              <th scope="col">{t("compare.as_of")}</th>
              <th scope="col">{t("compare.horizon")}</th>
              <th scope="col">{t("compare.sampling")}</th>
              <th scope="col">{t("result.upside")}</th>
              <th scope="col">{t("result.range80")}</th>
              {scored && <th scope="col">{t("replay.crps")}</th>}
              {scored && <th scope="col">{t("replay.skill")}</th>}
              {scored && <th scope="col">{t("replay.inside")}</th>}
            </tr>
          </thead>
          <tbody>
            {results.map((result) => (
              <Row key={result.id} result={result} scored={scored} />
            ))}
          </tbody>
        </table>
      </div>
      {others.length > 0 && (
        <p class="field-hint" data-not-drawn>
          {t(
            others.some((result) => !sameMarket(result.document, base))
              ? "compare.other_series"
              : "compare.other_windows",
          )}
        </p>
      )}
      {!ranked && <p class="field-hint">{t("compare.hint")}</p>}
    </section>
  );
}

function Row({ result, scored }: { result: ShownResult; scored: boolean }) {
  const { document } = result;
  const { forecast, view } = document;
  const up = forecast.upside_probability;
  const share = (value: number): string => percent(value, 0, language.value);
  // Each row has the digits and the time zone of its own series.
  const formatPrice = (value: number): string => price(value, view?.digits ?? 2, language.value);
  const low = quantile(document, 0.1)?.at(-1);
  const high = quantile(document, 0.9)?.at(-1);
  const request = view?.request;
  const sampling = request
    ? t("compare.settings", { samples: forecast.samples, temperature: request.temperature, topP: request.top_p })
    : String(forecast.samples);
  return (
    <tr>
      <th scope="row">
        <Swatch colour={hue(result.slot)} dash={dash(result.slot)} /> {label(document)}
      </th>
      <td data-label={t("compare.as_of")}>{formatOrigin(document)}</td>
      <td data-label={t("compare.horizon")}>{forecast.horizon}</td>
      <td data-label={t("compare.sampling")}>{sampling}</td>
      <td data-label={t("result.upside")}>
        {share(up.value)} <span class="interval">{`${share(up.low)}–${share(up.high)}`}</span>
      </td>
      <td data-label={t("result.range80")}>
        {low !== undefined && high !== undefined ? `${formatPrice(low)} – ${formatPrice(high)}` : t("replay.none")}
      </td>
      {scored && <ScoreCells document={document} />}
    </tr>
  );
}

function ScoreCells({ document }: { document: PredictResponse }) {
  const scores = document.view?.scores;
  const row = scores && ownRow(scores, document.state);
  const none = t("replay.none");
  const inside = row ? [row.inside_50, row.inside_80, row.inside_95] : [];
  return (
    <>
      <td data-label={t("replay.crps")}>{row ? percent(row.crps, 3, language.value) : none}</td>
      <td data-label={t("replay.skill")}>{row?.skill == null ? none : skillText(row.skill)}</td>
      <td data-label={t("replay.inside")}>
        {inside.length
          ? inside.map((value) => (value === null ? none : percent(value, 0, language.value))).join(" / ")
          : none}
      </td>
    </>
  );
}
