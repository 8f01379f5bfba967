/** The age of an exchange's candles, computed in the browser, so that a dead server is noticed too. */

import { computed } from "@preact/signals";

import { data, isExchange, position, refreshCandles, seconds } from "./data";
import { drawn, origin } from "./results";
import { now } from "./server";

/** Intervals since the close of the newest candle. */
const LATE = 1.5;
const STALE = 3;
/** Exchanges publish a candle some seconds after its close. */
const GRACE_SECONDS = 5;

export interface Staleness {
  level: "fresh" | "late" | "stale";
  /** Seconds for which the next candle has been due; negative before. */
  overdue: number;
}

/**
 * Judge the age of candles. Counted from when the next one is due, so that nights and weekends do not count:
 * a candle that is due closes one interval after the newest one did.
 */
export function judgeAge(time: number, nextClose: number, interval: number): Staleness {
  const overdue = time - nextClose;
  const intervals = 1 + overdue / interval;
  return { level: intervals > STALE ? "stale" : intervals > LATE ? "late" : "fresh", overdue };
}

/** Null for files: they are as old as their owner wants. */
export const staleness = computed<Staleness | null>(() => {
  const loaded = data.value;
  if (!loaded || !isExchange.value || loaded.info.simulated || loaded.nextClose === null || !seconds.value) return null;
  return judgeAge(now.value, loaded.nextClose, seconds.value);
});

/** Seconds until the next candle closes; negative while it is due. */
export const untilClose = computed<number | null>(() => {
  const loaded = data.value;
  return loaded && isExchange.value && loaded.nextClose !== null ? loaded.nextClose - now.value : null;
});

/** Candles that have closed since the newest forecast on the chart was made. */
export const closedSince = computed(() => {
  const loaded = data.value;
  const live = drawn.value.filter((result) => !result.document.has_comparison);
  if (!loaded || !isExchange.value || !live.length) return 0;
  const made = Math.max(...live.map((result) => origin(result.document)));
  return loaded.candles.time.length - 1 - position(loaded.candles.time, made);
});

/** Fetch the new candle once it has closed, and again while it is missing. */
export function watchCandles(): void {
  let asked = 0;
  now.subscribe((time) => {
    const left = untilClose.peek();
    if (left === null || left > -GRACE_SECONDS || document.visibilityState !== "visible") return;
    const pause = Math.max(10, Math.min(60, seconds.peek() / 4));
    if (time - asked < pause) return;
    asked = time;
    void refreshCandles();
  });
}
