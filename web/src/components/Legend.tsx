/** The legend over the chart: the candle or forecast step under the crosshair, the last candle otherwise. */

import { t } from "../i18n";
import { data, isExchange } from "../state/data";
import { picking } from "../state/forecast";
import { ownInterval, resampled, shownCandles, shownInterval } from "../state/intervals";
import { simulated } from "../state/page";
import { LEAST_PATHS } from "../quantiles";
import { dash, drawn, hue, label, selected, seriesName, type ShownResult } from "../state/results";
import { formatPrice, formatChartTime, reading } from "./ChartView";
import { Swatch } from "./controls";
import { CandleLine, QuantileLine } from "./legend_lines";

const LEGEND_FORMATS = { formatTime: formatChartTime, formatPrice };

export function Legend() {
  const document = selected.value?.document;
  const loaded = data.value;
  const symbol = document ? seriesName(document) : (loaded?.info.symbol ?? loaded?.name ?? "");
  const source = document ? (document.view?.file_name ?? null) : loaded && !isExchange.value ? loaded.name : null;
  const at = reading.value;
  return (
    <div class="legend" data-legend>
      <p class="legend-title">
        <b>{symbol}</b>
        {source && source !== symbol && <span> · {source}</span>}
        <span> · {shownInterval.value}</span>
        {simulated.value && <span class="tag warning"> {t("page.simulated")}</span>}
      </p>
      <CandleLine at={at} candles={shownCandles.value?.candles ?? null} {...LEGEND_FORMATS} />
      {at &&
        drawn.value.map((result) => {
          const found = at.forecasts.find((forecast) => forecast.id === result.id);
          return (
            found && (
              <QuantileLine
                key={result.id}
                colour={hue(result.slot)}
                dash={dash(result.slot)}
                quantiles={found.quantiles}
                formatPrice={formatPrice}
              />
            )
          );
        })}
      {!at?.forecasts.length &&
        !resampled.value &&
        drawn.value.map((result) => <ForecastLine key={result.id} result={result} />)}
      {picking.value && (
        <p class="legend-line whole strong" role="status">
          {t("chart.picking")}
        </p>
      )}
      {resampled.value && drawn.value.length > 0 && (
        <p class="legend-line whole" data-resampled>
          {t("chart.resampled", { interval: ownInterval.value })}
        </p>
      )}
    </div>
  );
}

function ForecastLine({ result }: { result: ShownResult }) {
  const { forecast } = result.document;
  return (
    <p class="legend-line whole">
      <Swatch colour={hue(result.slot)} dash={dash(result.slot)} />
      <span>
        {label(result.document)} · {forecast.samples >= LEAST_PATHS && `${t("chart.bands")} · `}
        {t(`result.paths.${forecast.samples === 1 ? "one" : "other"}`, { count: forecast.samples })}
      </span>
    </p>
  );
}
