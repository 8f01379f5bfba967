/** The result in figures and one sentence, and how it was made. */

import { Figure } from "../../../src/components/Figure";
import { decimal, percent } from "../../../src/formats";
import { language, plural, t } from "../../../src/i18n";
import { LEAST_PATHS } from "../../../src/quantiles";
import { formatPrice, formatTime } from "../state/file";
import { type ForecastResult, quantile, result } from "../state/forecast";
import { text } from "../texts";
import { groupName } from "./markets";

export function Summary() {
  const shown = result.value;
  if (!shown) return null;
  const { upside, lastClose, time, samples, seconds } = shown.answer;
  const share = (value: number): string => percent(value, 0, language.value);
  const at = (probability: number): string => formatPrice(quantile(shown, probability).at(-1)!);
  const end = formatTime(time.at(-1)!);
  const bands = samples >= LEAST_PATHS;
  const state = t(`result.states.${shown.answer.metadata.calibration ? "calibrated" : "raw"}`);
  const [paths, steps] = [plural("result.paths", samples), plural("result.steps", time.length)];
  const chance = {
    time: end,
    last: formatPrice(lastClose),
    up: share(upside.value),
    paths,
    low: share(upside.low),
    high: share(upside.high),
  };
  return (
    <section class="summary" aria-label={text("summary.title")} data-summary>
      <dl class="figures" data-figures>
        <Figure
          name={t("result.last_close")}
          value={formatPrice(lastClose)}
          detail={formatTime(shown.file.candles.time.at(-1)!)}
        />
        <Figure
          name={t("result.upside")}
          value={share(upside.value)}
          detail={t("result.interval95", { low: share(upside.low), high: share(upside.high) })}
          definition={t("result.upside_definition", { count: upside.count, paths: upside.paths })}
        />
        {bands && (
          <Figure
            name={t("result.range80")}
            value={`${at(0.1)} – ${at(0.9)}`}
            detail={end}
            definition={t("result.range80_definition", { time: end })}
          />
        )}
        <Figure name={t("result.median")} value={at(0.5)} detail={end} definition={t("result.median_definition")} />
        <Figure name={t(bands ? "result.state" : "chart.paths")} value={state} detail={`${paths} · ${steps}`} />
      </dl>
      <p data-sentence>
        {bands
          ? text("summary.sentence", { ...chance, lowest: at(0.1), highest: at(0.9) })
          : text("summary.sentence_few", chance)}
        {text("lists.sentence")}
        {bands ? bandsText(shown) : t("result.paths_only")}
      </p>
      <p class="quiet" data-took={seconds} role="status">
        {text("summary.took", { seconds: decimal(seconds, 2, language.value) })}
      </p>
    </section>
  );
}

function bandsText({ answer: { metadata } }: ForecastResult): string {
  const { calibration } = metadata;
  if (!calibration) return text("summary.raw");
  return calibration.group === null
    ? text("summary.pooled")
    : text("summary.calibrated", { group: groupName(calibration.group) });
}
