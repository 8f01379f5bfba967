/** Buttons over the chart: interval, visible range, price scale, what is drawn, exports. */

import type { Signal } from "@preact/signals";

import { t } from "../i18n";
import { data, position } from "../state/data";
import { originIsFree, picking } from "../state/forecast";
import { intervalOptions, LEAST_CANDLES, resampled, shownCandles, shownInterval } from "../state/intervals";
import { chartCandles } from "../state/page";
import { LEAST_PATHS } from "../quantiles";
import { drawn, showActual, showAhead, showCentral, showPaths, toggleCentral } from "../state/results";
import { intervalChoice, scale, SCALES } from "../state/settings";
import { chart } from "./ChartView";
import { Segmented, Select } from "./controls";
import { ExportMenu } from "./ExportMenu";

const DAY = 86_400;
const PERIODS = [
  ["day", DAY],
  ["week", 7 * DAY],
  ["month", 30 * DAY],
  ["year", 365 * DAY],
] as const;

export function ChartToolbar({ table }: { table: Signal<boolean> }) {
  const bands = !resampled.value && drawn.value.some((result) => result.document.forecast.samples >= LEAST_PATHS);
  const hasActual = Boolean(chartCandles.value?.actual);
  return (
    <div class="toolbar" role="group" aria-label={t("chart.label")}>
      <Intervals />
      <div class="group" role="group" aria-label={t("chart.ranges")}>
        {PERIODS.map(([name, seconds]) => (
          <RangeButton key={name} name={name} seconds={seconds} />
        ))}
        <button type="button" class="button flat" onClick={() => chart.value?.fit()} title={t("chart.fit")}>
          {t("chart.range.all")}
        </button>
        <button type="button" class="button flat" onClick={() => chart.value?.showLast(120)}>
          {t("chart.latest")}
        </button>
      </div>
      <Select
        hidden
        label={t("settings.scale")}
        value={scale.value}
        options={SCALES.map((one) => [one, t(`settings.scales.${one}`)] as const)}
        onChange={(value) => (scale.value = SCALES.find((one) => one === value)!)}
      />
      {bands && (
        <Toggle
          pressed={showCentral.value}
          label={t("chart.central")}
          title={t("chart.central_hint")}
          onToggle={toggleCentral}
        />
      )}
      {bands && <Toggle {...flip(showPaths)} label={t("chart.paths")} title={t("chart.paths_hint")} />}
      {originIsFree.value && <Toggle {...flip(picking)} label={t("chart.pick")} title={t("chart.pick_hint")} />}
      {hasActual && (
        <Toggle
          {...flip(drawn.value.length ? showActual : showAhead)}
          label={t("chart.actual")}
          title={t("chart.actual_hint")}
        />
      )}
      <div class="group end">
        <Toggle {...flip(table)} label={t("chart.table")} title={t("chart.table_hint")} />
        {drawn.value.length > 0 && <ExportMenu />}
      </div>
    </div>
  );
}

/** Where there are no longer intervals, there is nothing to choose. */
function Intervals() {
  const options = intervalOptions.value;
  if (options.length < 2) return null;
  return (
    <Segmented
      label={t("chart.interval")}
      value={shownInterval.value}
      options={options.map(({ interval, tooFew }) => [
        interval,
        interval,
        tooFew ? t("chart.interval_short", { interval }) : undefined,
      ])}
      onChange={(interval) => (intervalChoice.value = interval === options[0]!.interval ? null : interval)}
    />
  );
}

function RangeButton({ name, seconds }: { name: "day" | "week" | "month" | "year"; seconds: number }) {
  const times = shownCandles.value?.candles.time ?? [];
  const end = times.at(-1) ?? 0;
  const count = times.length - 1 - position(times, end - seconds);
  const covered = count >= LEAST_CANDLES && (count < times.length || (data.value?.offset ?? 0) === 0);
  return (
    <button
      type="button"
      class="button flat"
      disabled={!covered || count >= times.length}
      onClick={() => chart.value?.showLast(count)}
    >
      {t(`chart.range.${name}`)}
    </button>
  );
}

function flip(state: Signal<boolean>): { pressed: boolean; onToggle: () => void } {
  return { pressed: state.value, onToggle: () => (state.value = !state.value) };
}

interface ToggleProps {
  pressed: boolean;
  label: string;
  title: string;
  onToggle: () => void;
}

function Toggle({ pressed, label, title, onToggle }: ToggleProps) {
  return (
    <button type="button" class="button flat toggle" aria-pressed={pressed} title={title} onClick={onToggle}>
      {label}
    </button>
  );
}
