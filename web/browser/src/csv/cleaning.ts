/** Cleaning of rows: sorted, repeated times merged, highs and lows repaired, as Python's `kronos.candles.cleaning`. */

import type { FindingCollector } from "./findings";
import { MAX_UNUSABLE } from "./usable_rows";
import { CHANNELS, CLOSE, HIGH, LOW, OPEN, VOLUME } from "../candles";
import { DataError } from "../errors";
import { median } from "../statistics";
import { formatTime } from "../times";

/** Rows of a source that are candles. */
export interface Rows {
  readonly wall: Float64Array;
  readonly offset: number | null;
  /** `[n, 6]` */
  readonly values: Float64Array;
  /** Position of each row in the source. */
  readonly positions: readonly number[];
}

const MAX_COPIES = 0.05; // share of times that may occur twice before two copies are suspected
const MAX_REPAIRED = 0.05; // share of the rows
const ROUNDING = 1e-5; // relative: adjusted prices are rounded one by one
const LEAST_ROWS = 20; // that continuity is judged by
const CONTINUOUS = 0.5; // distance of the exchanged order as a share of the other
const MOST = 0.6; // share of rows with less

/** Some rows, in the order given. */
export function takeRows(rows: Rows, order: readonly number[]): Rows {
  const values = new Float64Array(order.length * CHANNELS);
  order.forEach((from, to) => values.set(candleAt(rows, from), to * CHANNELS));
  return {
    wall: Float64Array.from(order, (i) => rows.wall[i]!),
    offset: rows.offset,
    values,
    positions: order.map((i) => rows.positions[i]!),
  };
}

function candleAt({ values }: Rows, row: number): Float64Array {
  return values.subarray(row * CHANNELS, (row + 1) * CHANNELS);
}

/** Sort by time; of rows with the same time, keep the last one in the source. */
export function sortAndMerge(source: Rows, findings: FindingCollector): Rows {
  const { wall } = source;
  const back = [...wall.keys()].slice(1).filter((i) => wall[i]! < wall[i - 1]!);
  const moves = [...wall.keys()].slice(1).filter((i) => wall[i]! !== wall[i - 1]!).length;
  if (back.length && back.length === moves) {
    findings.add("newest-first", "info", `${findings.name} was sorted from new to old and has been reversed.`);
  } else if (back.length) {
    const where = back.map((i) => source.positions[i]!);
    findings.add(
      "unsorted-times",
      "warning",
      "Times go backwards {count} time(s) ({where}); the rows were sorted.",
      where,
    );
  }
  const rows = takeRows(
    source,
    [...wall.keys()].sort((a, b) => wall[a]! - wall[b]!),
  );
  const last = [...rows.wall.keys()].filter((i) => rows.wall[i] !== rows.wall[i + 1]);
  const repeated = [...rows.wall.keys()].filter((i) => rows.wall[i] === rows.wall[i + 1]);
  if (repeated.length) reportRepeated(rows, repeated, last.length, findings);
  if (last.length < 2) {
    throw new DataError(`${findings.name} has ${last.length} distinct time(s); at least 2 candles are needed.`);
  }
  return takeRows(rows, last);
}

/** Report rows with the time of the next one, or refuse them if many have other prices. */
function reportRepeated(rows: Rows, repeated: readonly number[], distinct: number, findings: FindingCollector): void {
  const { name } = findings;
  const positionsOf = (some: readonly number[]): number[] => some.map((i) => rows.positions[i]!);
  const differs = (i: number, columns: number): boolean => {
    const [one, next] = [candleAt(rows, i), candleAt(rows, i + 1)];
    return one.subarray(0, columns).some((value, c) => !Object.is(value, next[c]) && value !== next[c]);
  };
  const other = repeated.filter((i) => differs(i, VOLUME));
  if (other.length > Math.max(1, MAX_UNUSABLE * rows.wall.length)) {
    throw new DataError(
      `${other.length} rows of ${name} have the time of another row but other prices, first ` +
        `${formatTime(rows.wall[other[0]!]!, rows.offset)} in line ${findings.line(rows.positions[other[0]!]!)}. If they ` +
        "are of several instruments, name the column that tells them apart with columns={'symbol': '…'} or split the " +
        "file; if the times lost their time of day or were rounded, export them in full; if two intervals are joined, " +
        "split them.",
    );
  }
  if (repeated.length >= MAX_COPIES * distinct) {
    const [first, end] = [repeated[0]!, repeated[repeated.length - 1]!].map((i) =>
      formatTime(rows.wall[i]!, rows.offset),
    );
    const message = `{count} times from ${first} to ${end} occur more than once: two copies seem to be joined ({where}).`;
    findings.add("duplicate-session", "warning", message, positionsOf(repeated));
  }
  const different = repeated.filter((i) => differs(i, CHANNELS));
  const same = repeated.filter((i) => !different.includes(i));
  if (same.length) {
    const message = "{count} row(s) that repeat another were merged ({where}).";
    findings.add("duplicate-row", "info", message, positionsOf(same));
  }
  if (different.length) {
    const message = "{count} row(s) with the time of a later row but other values were dropped ({where}).";
    findings.add("duplicate-time", "warning", message, positionsOf(different));
  }
}

/** Exchange high and low if high is below low; widen the range to include open and close; in place. */
export function repairPrices(rows: Rows, findings: FindingCollector): void {
  const count = rows.wall.length;
  const original = rows.values.slice();
  const swapped: number[] = [];
  const widened: number[] = [];
  const repaired: number[] = [];
  for (let i = 0; i < count; i++) {
    const candle = candleAt(rows, i);
    const isSwapped = candle[HIGH]! < candle[LOW]!;
    if (isSwapped) [candle[HIGH], candle[LOW]] = [candle[LOW]!, candle[HIGH]!];
    const prices = [...candle.subarray(0, VOLUME)];
    const [high, low] = [Math.max(...prices), Math.min(...prices)];
    if (isSwapped) swapped.push(i);
    if (high > candle[HIGH]! || low < candle[LOW]!) widened.push(i);
    const beyond = high > candle[HIGH]! * (1 + ROUNDING) || low < candle[LOW]! * (1 - ROUNDING);
    if (isSwapped || beyond) repaired.push(i);
    candle[HIGH] = high;
    candle[LOW] = low;
  }
  if (repaired.length > Math.max(1, MAX_REPAIRED * count)) {
    throw new DataError(
      `${repaired.length} of ${count} rows of ${findings.name} have open or close outside the range from low to high, or ` +
        `high below low, above the limit of 5%; the first is line ${findings.line(rows.positions[repaired[0]!]!)}. Likely ` +
        `cause: ${likelyCause(original, count)}. Correct the source, or name the columns with columns={'close': '…'}.`,
    );
  }
  const where = (some: readonly number[]): number[] => some.map((i) => rows.positions[i]!);
  if (swapped.length) {
    const message = "{count} row(s) had high below low; the two were swapped ({where}).";
    findings.add("high-below-low", "warning", message, where(swapped));
  }
  if (widened.length) {
    const message = "{count} row(s) had open or close outside the range from low to high, which was widened ({where}).";
    findings.add("range-too-narrow", "warning", message, where(widened));
  }
  if (rows.values.every((value, i) => i % CHANNELS >= VOLUME || value === rows.values[0])) {
    const message = `All prices of ${findings.name} are equal, so forecasts of it have no meaning.`;
    findings.add("constant-prices", "warning", message);
  }
}

function likelyCause(values: Float64Array, count: number): string {
  const share = (test: (candle: Float64Array) => boolean): number => {
    let hits = 0;
    for (let i = 0; i < count; i++) if (test(values.subarray(i * CHANNELS, i * CHANNELS + VOLUME))) hits++;
    return hits / count;
  };
  const others = (candle: Float64Array, column: number): number[] => [...candle].filter((_, c) => c !== column);
  const isShifted = (column: number): boolean =>
    share((candle) => candle[column]! < Math.min(...others(candle, column))) > 0.5 ||
    share((candle) => candle[column]! > Math.max(...others(candle, column))) > 0.5;
  if (share((candle) => candle[HIGH]! < candle[LOW]!) > 0.5) {
    return "high and low seem to be exchanged, so the columns may be in another order";
  }
  if (isShifted(CLOSE)) return "the close seems to be adjusted for dividends or splits beside raw prices";
  if (isShifted(OPEN)) return "the open is in another scale than the other prices";
  return "the columns may be in another order, or their numbers in different notations";
}

/** Warn if closes continue the next opens instead of opens the closes before: the two may be exchanged. */
export function checkContinuity({ wall, values }: Rows, findings: FindingCollector): void {
  if (wall.length < LEAST_ROWS) return;
  const distance = (later: number, earlier: number): Float64Array =>
    Float64Array.from({ length: wall.length - 1 }, (_, i) =>
      Math.abs(Math.log(values[(i + 1) * CHANNELS + later]! / values[i * CHANNELS + earlier]!)),
    );
  const named = distance(OPEN, CLOSE);
  const exchanged = distance(CLOSE, OPEN);
  const nearer = exchanged.filter((value, i) => value < named[i]!).length / named.length;
  if (!(median(exchanged) < CONTINUOUS * median(named)) || nearer < MOST) return;
  findings.add(
    "open-and-close",
    "warning",
    `Each close of ${findings.name} is near the open before it, but not each open near the close before: open and close ` +
      "may be exchanged, or the times reversed. If so, name the columns with columns={'open': '…'}.",
  );
}
