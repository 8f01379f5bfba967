/** Rows that are candles: each has a time and four positive prices; the others are reported, or refused if many. */

import type { FindingCollector } from "./findings";
import type { ColumnLayout } from "./columns";
import type { TextTable } from "./table";
import { CHANNELS, VOLUME } from "../candles";
import { DataError } from "../errors";
import { truncate } from "../formatting";
import { DAY, modulo } from "../times";

export const MAX_UNUSABLE = 0.05; // share of the rows
const LEAST_LOST = 3; // rows lost at one time of day that are a pattern

interface Kind {
  readonly code: string;
  readonly fault: string;
  readonly rows: readonly number[];
}

/** Positions of the rows to keep, in the order of the source. */
export function findUsableRows(
  table: TextTable,
  layout: ColumnLayout,
  wall: Float64Array,
  values: Float64Array,
  findings: FindingCollector,
): number[] {
  const rows = [...wall.keys()];
  const states = rows.map((row) => stateOf(table.short[row]!, wall[row]!, values.subarray(row * CHANNELS)));
  const among = (...kinds: RowState[]): number[] => rows.filter((row) => kinds.includes(states[row]!));
  const kinds: Kind[] = [
    { code: "short-row", fault: "fewer cells than the others", rows: among("short") },
    { code: "unreadable-time", fault: "an unreadable time", rows: among("no time") },
    { code: "missing-price", fault: "a missing price (NaN)", rows: among("missing") },
    { code: "infinite-price", fault: "an infinite price", rows: among("infinite") },
    { code: "nonpositive-price", fault: "a zero or negative price", rows: among("negative") },
  ];
  const bad = kinds.flatMap((kind) => kind.rows).sort((a, b) => a - b);
  const present = rows.length - among("blank", "idle").length;
  if (present && bad.length > Math.max(1, MAX_UNUSABLE * present)) {
    throw describeUnusable(table, layout, { bad, kinds, present }, values);
  }
  checkPattern(wall, new Set(bad), bad, table.name, findings);
  if (among("blank").length) {
    findings.add("blank-row", "info", "{count} blank row(s) were skipped ({where}).", among("blank"));
  }
  if (among("idle").length) {
    const message = "{count} row(s) without any price are not candles and were skipped ({where}).";
    findings.add("idle-row", "info", message, among("idle"));
  }
  for (const { code, fault, rows: where } of kinds) {
    if (where.length) findings.add(code, "warning", `{count} row(s) with ${fault} were dropped ({where}).`, where);
  }
  const kept = among("usable");
  if (kept.length < 2) {
    throw new DataError(`${table.name} has ${kept.length} usable row(s); at least 2 candles are needed.`);
  }
  return kept;
}

type RowState = "usable" | "short" | "no time" | "blank" | "idle" | "missing" | "infinite" | "negative";

function stateOf(short: boolean, wall: number, candle: Float64Array): RowState {
  const prices = candle.subarray(0, VOLUME);
  const known = prices.filter((price) => !Number.isNaN(price));
  if (short) return "short";
  if (Number.isNaN(wall)) return candle.subarray(0, CHANNELS).every(Number.isNaN) ? "blank" : "no time";
  // A minute without trades is no candle; exchanges' dumps write it without prices.
  if (!known.length && !(candle[VOLUME]! > 0)) return "idle";
  if (known.length < prices.length) return "missing";
  if (prices.some((price) => !Number.isFinite(price))) return "infinite";
  return prices.some((price) => price <= 0) ? "negative" : "usable";
}

/** Refuse to drop every row of one time of day: that is a misunderstanding, not a fault of single rows. */
function checkPattern(
  wall: Float64Array,
  bad: ReadonlySet<number>,
  lost: readonly number[],
  name: string,
  findings: FindingCollector,
): void {
  if (lost.length < LEAST_LOST) return;
  const clock = (row: number): number => modulo(Math.floor(wall[row]! / 1000), DAY / 1000);
  const good = [...wall.keys()].filter((row) => !bad.has(row) && !Number.isNaN(wall[row]!));
  if (new Set(good.map(clock)).size < 2) return;
  const timed = lost.filter((row) => !Number.isNaN(wall[row]!));
  const distances = lost.slice(1).map((row, i) => row - lost[i]!);
  const regular = distances[0]! > 1 && distances.every((distance) => distance === distances[0]);
  let which = "";
  if (!timed.length && lost.length >= 4 && regular) which = `every ${distances[0]}th row`;
  else if (timed.length >= LEAST_LOST) {
    const first = clock(timed[0]!);
    if (timed.every((row) => clock(row) === first) && !good.some((row) => clock(row) === first)) {
      which = `every row of ${new Date(first * 1000).toISOString().slice(11, 16)}`;
    }
  }
  if (!which) return;
  throw new DataError(
    `The unusable rows of ${name} follow a pattern, ${which}: the first is line ${findings.line(lost[0]!)}. Correct the ` +
      "source, or give date_format= if its times are misread.",
  );
}

function describeUnusable(
  table: TextTable,
  layout: ColumnLayout,
  { bad, kinds, present }: { bad: readonly number[]; kinds: readonly Kind[]; present: number },
  values: Float64Array,
): DataError {
  const first = bad[0]!;
  const { code, fault } = kinds.find(({ rows }) => rows.includes(first))!;
  const cells = table.rows[first]!;
  let cell = "";
  let advice = "Correct the source.";
  if (code === "unreadable-time") {
    const parts = [layout.time, ...(layout.clock === null ? [] : [layout.clock])].map((position) => cells[position]!);
    cell = ` ('${truncate(parts.join(" "))}')`;
    advice = "Correct the source, or give the notation of its times as date_format=.";
  } else if (code === "short-row") {
    cell = ` ('${truncate(cells[Math.min(...usedPositions(layout))]!)}')`;
    advice = "Correct the source: each row needs as many cells as the header, separated by the same delimiter.";
  } else if (code === "nonpositive-price") {
    const negative = bad.filter((row) => values.subarray(row * CHANNELS, row * CHANNELS + VOLUME).some((p) => p < 0));
    if (negative.length > 0.5 * bad.length) {
      advice =
        "Negative prices come from forward adjustment for dividends (前复权): use unadjusted or back-adjusted prices, or " +
        "ratio adjustment. The models need prices above 0.";
    }
  }
  return new DataError(
    `${bad.length} of ${present} rows of ${table.name} are unusable, above the limit of 5%; the first is line ` +
      `${first + table.firstLine} with ${fault}${cell}. ${advice}`,
  );
}

function usedPositions(layout: ColumnLayout): number[] {
  const optional = [layout.clock, layout.symbol, layout.ticks, layout.flag].filter((position) => position !== null);
  return [layout.time, ...layout.columns.values(), ...optional];
}

/** Positions of rows that are marked as still forming, after all those that are complete. */
export function findFormingRows(
  table: TextTable,
  layout: ColumnLayout,
  wall: Float64Array,
  kept: readonly number[],
  findings: FindingCollector,
): Set<number> {
  const { flag } = layout;
  if (flag === null) return new Set();
  const marks = table.rows.map((cells) => cells[flag]!.toLowerCase().replace(/\.0$/, ""));
  const complete = (row: number): boolean => ["1", "true"].includes(marks[row]!);
  const forming = (row: number): boolean => ["0", "false"].includes(marks[row]!);
  if (!kept.some(complete) || !kept.every((row) => complete(row) || forming(row))) return new Set();
  const last = Math.max(...kept.filter(complete).map((row) => wall[row]!));
  const rows = [...wall.keys()].filter((row) => forming(row) && kept.includes(row) && wall[row]! > last);
  if (rows.length) {
    const label = truncate(layout.labels[flag]!);
    const message = `{count} row(s) are still forming, as column '${label}' says, and were left out ({where}).`;
    findings.add("forming-candle", "info", message, rows);
  }
  return new Set(rows);
}
