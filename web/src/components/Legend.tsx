/** The legend over the chart: the candle or forecast step under the crosshair, the last candle otherwise. */

import { change, compact } from "../formats";
import { language, t } from "../i18n";
import { data, isExchange } from "../state/data";
import { picking } from "../state/forecast";
import { ownInterval, resampled, shownCandles, shownInterval } from "../state/intervals";
import { simulated } from "../state/page";
import { dash, drawn, hue, label, LEAST_PATHS, selected, seriesName, type ShownResult } from "../state/results";
import { formatPrice, formatChartTime, reading } from "./ChartView";
import { Swatch } from "./controls";

const QUANTILES = [0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975];

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
      <CandleLine />
      {at &&
        drawn.value.map((result) => {
          const found = at.forecasts.find((forecast) => forecast.id === result.id);
          return found && <QuantileLine key={result.id} result={result} quantiles={found.quantiles} />;
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

function CandleLine() {
  const at = reading.value;
  const candles = shownCandles.value?.candles;
  const end = candles ? candles.time.length - 1 : -1;
  if (at && !at.candle) return <p class="legend-line">{formatChartTime(at.time)}</p>;
  if (!at && (!candles || end < 0)) return null;
  const candle = at?.candle ?? {
    open: candles!.open[end]!,
    high: candles!.high[end]!,
    low: candles!.low[end]!,
    close: candles!.close[end]!,
    volume: candles!.volume?.[end] ?? null,
  };
  const before = (at ? at.previousClose : candles!.close[end - 1]) ?? candle.open;
  const share = (candle.close - before) / before;
  const direction = share > 0 ? "rise" : share < 0 ? "fall" : "";
  return (
    <p class="legend-line">
      <span>{formatChartTime(at?.time ?? candles!.time[end]!)}</span>
      {(["open", "high", "low", "close"] as const).map((name) => (
        <span key={name}>
          <i>{t(`chart.${name}`)}</i>
          {formatPrice(candle[name])}
        </span>
      ))}
      {candle.volume !== null && (
        <span>
          <i>{t("chart.volume")}</i>
          {compact(candle.volume, language.value)}
        </span>
      )}
      <span class={direction}>{change(share, language.value)}</span>
    </p>
  );
}

function QuantileLine({ result, quantiles }: { result: ShownResult; quantiles: Record<string, number> }) {
  const entries = Object.entries(quantiles).map(([name, value]) => [Number(name), value] as const);
  return (
    <p class="legend-line">
      <Swatch colour={hue(result.slot)} dash={dash(result.slot)} />
      {QUANTILES.map((probability) => {
        const found = entries.find(([name]) => Math.abs(name - probability) < 1e-9);
        return (
          found && (
            <span key={probability} class={probability === 0.5 ? "strong" : ""}>
              <i>{`${100 * probability}%`}</i>
              {formatPrice(found[1])}
            </span>
          )
        );
      })}
    </p>
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
