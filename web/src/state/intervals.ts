/** The interval of the chart: that of the candles, or a longer one to look at them from further away. */

import { computed } from "@preact/signals";

import { concatenate } from "../chart/candles";
import { canResample, resample } from "../chart/resampling";
import { ZoneClock } from "../chart/time_zone";
import { intervalSeconds } from "../formats";
import { data, position } from "./data";
import { type ChartCandles, chartCandles } from "./page";
import { actualShown, selected } from "./results";
import { intervalChoice, shownZone } from "./settings";

const DAY = 86_400;
const INTERVALS = ["1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w"];
/** Fewer candles than this do not make a chart. */
export const LEAST_CANDLES = 6;

/** Interval of the candles: that of the selected result, or of the data before one. */
export const ownInterval = computed(
  () => selected.value?.document.forecast.interval ?? data.value?.info.timeframe ?? "",
);

const dataZone = computed(() => (selected.value?.document.forecast ?? data.value?.info)?.timezone ?? null);

export interface IntervalOption {
  interval: string;
  /** Too few candles of the interval to look at. */
  tooFew: boolean;
}

/** The candles' own interval, and the longer ones that they can be resampled to. */
export const intervalOptions = computed<IntervalOption[]>(() => {
  const own = ownInterval.value;
  const seconds = intervalSeconds(own);
  const times = chartCandles.value?.candles.time ?? [];
  const span = times.length ? times.at(-1)! - times[0]! + seconds : 0;
  const longer = INTERVALS.filter((interval) => canResample(seconds, intervalSeconds(interval)));
  return [
    { interval: own, tooFew: false },
    ...longer.map((interval) => ({ interval, tooFew: span < LEAST_CANDLES * intervalSeconds(interval) })),
  ];
});

export const shownInterval = computed(() => {
  const chosen = intervalOptions.value.find(({ interval, tooFew }) => interval === intervalChoice.value && !tooFew);
  return chosen?.interval ?? ownInterval.value;
});

/** Forecasts have the interval of their candles: at a longer one they are not drawn. */
export const resampled = computed(() => shownInterval.value !== ownInterval.value);

/** Below a day the grid is that of the exchange, which the candles lie on; days are those of the clock that is shown. */
const gridZone = computed(() =>
  intervalSeconds(shownInterval.value) < DAY ? (dataZone.value ?? "UTC") : shownZone(dataZone.value),
);
const gridClock = computed(() => new ZoneClock(gridZone.value));

/** The candles that the chart draws, in the interval that it shows. */
export const shownCandles = computed<ChartCandles | null>(() => {
  const own = chartCandles.value;
  if (!own || !resampled.value) return own;
  const interval = shownInterval.value;
  const known = actualShown.value && own.actual ? concatenate(own.candles, own.actual) : own.candles;
  const candles = resample(known, intervalSeconds(interval), gridClock.value, !own.whole);
  return { ...own, key: `${own.key} ${interval}`, candles, actual: null };
});

/** Time of the shown candle that a candle is part of. */
export function shownTime(time: number): number {
  const times = shownCandles.value?.candles.time ?? [];
  return resampled.value ? (times[position(times, time)] ?? time) : time;
}
