/** Reading of candles from CSV text: the common formats, by the rules and with the words of Python's `read_candles`. */

import { checkContinuity, repairPrices, sortAndMerge, takeRows, type Rows } from "./cleaning";
import { SYMBOL, TIME, findLayout, type ColumnLayout, type ColumnNames } from "./columns";
import { FindingCollector } from "./findings";
import { checkInterval, inferInterval, isOffGrid } from "./interval_inference";
import { checkNotation, isMissing, parseNumbers, type NumberColumn } from "./numbers";
import { readTable, type TextTable } from "./table";
import { joinClock, parseTimestamps, type ParsedTimes } from "./timestamps";
import { MAX_UNUSABLE, findFormingRows, findUsableRows } from "./usable_rows";
import { checkAmounts, fillVolume } from "./volumes";
import { CHANNELS, COLUMNS, PRICES, VOLUME, columnOf, type Candles } from "../candles";
import { DataError } from "../errors";
import { truncate } from "../formatting";
import { parseInterval, type Interval } from "../intervals";
import { formatTime } from "../times";

export interface ReadOptions {
  /** Name of the file, for messages. */
  readonly name?: string;
  /** Name of the instrument; by default that of a symbol column with one value. */
  readonly symbol?: string;
  /** Interval such as `1h`; inferred by default. */
  readonly interval?: string;
  /** Names of columns that the usual names do not tell, such as `{ close: "Last Price" }`. */
  readonly columns?: ColumnNames;
  /** Says that numbers such as `5.916` have decimals, if the cells do not show it. */
  readonly decimal?: ".";
  /** The current time in milliseconds, which dates cannot exceed. */
  readonly now?: number;
}

const REPEATED = 0.05; // share of rows with the time of another, from which on several instruments are looked for

/**
 * Read one instrument's candles.
 *
 * @param text A line of names and one line for each candle, separated by commas, semicolons, tabs or bars.
 * @returns The candles; their findings list what was inferred, and the rows that were dropped or changed.
 * @throws DataError if the text cannot be used; the message names the line or column, and the fix.
 */
export function readCandles(text: string, options: ReadOptions = {}): Candles {
  const table = readTable(text, options.name ?? "The text");
  const layout = tableLayout(table, options.columns ?? {});
  const findings = new FindingCollector(table.name, table.firstLine);
  const given = options.interval === undefined ? null : parseInterval(options.interval);
  const symbol = options.symbol ?? singleSymbol(table, layout) ?? "";
  reportColumns(layout, findings);
  const values = parseColumns(table, layout, options, findings);
  const hasAmount = checkAmounts(values, layout, findings);
  const times = parseTimes(table, layout, options.now ?? Date.now());
  for (const { code, severity, message } of times.notes) findings.add(code, severity, message);
  const kept = findUsableRows(table, layout, times.wall, values, findings);
  const forming = findFormingRows(table, layout, times.wall, kept, findings);
  const source = { wall: times.wall, offset: times.offset, values, positions: [...times.wall.keys()] };
  const usable = takeRows(
    source,
    kept.filter((row) => !forming.has(row)),
  );
  checkSymbols(table, layout, usable);
  const rows = sortAndMerge(usable, findings);
  repairPrices(rows, findings);
  if (!layout.given.has("open") && !layout.given.has("close")) checkContinuity(rows, findings);
  fillVolume(rows, layout, hasAmount, findings);
  return toCandles(dropForming(rows, findings), symbol, given, findings);
}

function toCandles(rows: Rows, symbol: string, given: Interval | null, findings: FindingCollector): Candles {
  if (given) checkInterval(rows.wall, given, findings.name);
  return {
    symbol,
    interval: given ?? namedInterval(rows.wall, findings.name),
    times: { wall: rows.wall, offset: rows.offset },
    values: rows.values,
    hasVolume: columnOf(rows.values, VOLUME).some((volume) => volume > 0),
    findings: findings.findings,
  };
}

function namedInterval(wall: Float64Array, name: string): Interval {
  try {
    return inferInterval(wall);
  } catch (error) {
    throw error instanceof DataError ? new DataError(`${name}: ${error.message}`) : error;
  }
}

function tableLayout(table: TextTable, names: ColumnNames): ColumnLayout {
  const labels = table.labels.map((label) =>
    label
      .trim()
      .replace(/^<+|>+$/g, "")
      .toLowerCase(),
  );
  if (["year", "month", "day"].every((part) => labels.includes(part)) && !labels.includes("date")) {
    throw new DataError(
      `${table.name} has its dates in columns for year, month and day, which are not read here: write them in one column ` +
        "as YYYY-MM-DD.",
    );
  }
  return findLayout(table.labels, names, table.name);
}

function singleSymbol(table: TextTable, layout: ColumnLayout): string | null {
  if (layout.symbol === null) return null;
  const names = [...new Set(table.rows.map((cells) => cells[layout.symbol!]!))].filter(Boolean);
  if (names.length > 1) {
    throw new DataError(
      `${table.name} has ${names.length} instruments (${names[0]!}, ${names[1]!} …); read it with read_many or split_long.`,
    );
  }
  return names[0] ?? null;
}

/** Refuse rows that repeat the times of others beside a column that may tell their instruments apart. */
function checkSymbols(table: TextTable, layout: ColumnLayout, { wall }: Rows): void {
  if (layout.doubtfulSymbol === null || wall.length - new Set(wall).size <= REPEATED * wall.length) return;
  const label = truncate(layout.labels[layout.doubtfulSymbol]!);
  throw new DataError(
    `${table.name} seems to have several instruments, named by column '${label}': split it, or name the column with ` +
      `columns={'${SYMBOL}': '${label}'}.`,
  );
}

/** Report units of columns, and columns that resemble one that was not found. */
function reportColumns(layout: ColumnLayout, findings: FindingCollector): void {
  const { name } = findings;
  for (const [column, unit] of layout.units) {
    if (column === TIME) {
      const label = truncate(layout.labels[layout.time]!);
      const message = `Column '${label}' of ${name} names a clock; its times are kept as they are written.`;
      findings.add("column-unit", "info", message);
    } else if (column === "close" || !PRICES.includes(column)) {
      const label = truncate(layout.labels[layout.columns.get(column)!]!);
      const message = `Column '${label}' of ${name} is in ${truncate(unit)}; its values are kept as they are.`;
      findings.add("column-unit", "info", message);
    }
  }
  for (const [column, position] of layout.near) {
    const label = truncate(layout.labels[position]!);
    findings.add(
      "unused-column",
      column === "volume" ? "warning" : "info",
      `Column '${label}' of ${name} was not read as ${column}; if it is, give columns={'${column}': '${label}'}.`,
    );
  }
}

/** The six columns as numbers, NaN if missing. `[rows, 6]` */
function parseColumns(
  table: TextTable,
  layout: ColumnLayout,
  options: ReadOptions,
  findings: FindingCollector,
): Float64Array {
  const cellsOf = (position: number): string[] => table.rows.map((cells) => cells[position]!);
  const columns: NumberColumn[] = [...layout.columns].map(([name, position]) => ({
    name,
    group: name === "volume" || name === "amount" ? name : "prices",
    cells: cellsOf(position),
  }));
  if (layout.ticks !== null) columns.push({ name: "ticks", group: "ticks", cells: cellsOf(layout.ticks) });
  const first = table.rows[0]![layout.time]!;
  const notes = checkNotation(columns, {
    name: table.name,
    firstLine: table.firstLine,
    labels: table.labels,
    delimiter: table.delimiter,
    datesOnly: layout.clock === null && !first.includes(":") && !/^\d{9,}(\.\d*)?$/.test(first),
    decimalPoints: options.decimal === ".",
  });
  for (const { severity, message } of notes) findings.add("number-notation", severity, message);
  const values = new Float64Array(table.rows.length * CHANNELS).fill(NaN);
  let ticks: Float64Array | null = null;
  for (const { name, cells } of columns) {
    const numbers = parseNumbers(cells);
    reportUnreadable(name, cells, numbers, findings);
    const column = COLUMNS.findIndex((one) => one === name);
    if (column < 0) ticks = numbers;
    else numbers.forEach((number, row) => (values[row * CHANNELS + column] = number));
  }
  if (ticks && !columnOf(values, VOLUME).some((volume) => volume > 0)) useTicks(values, ticks, layout, findings);
  return values;
}

/** MetaTrader exports both, and markets without an exchange have no traded volume. */
function useTicks(values: Float64Array, ticks: Float64Array, layout: ColumnLayout, findings: FindingCollector): void {
  ticks.forEach((count, row) => (values[row * CHANNELS + VOLUME] = count));
  const [column, source] = [layout.columns.get("volume")!, layout.ticks!].map((at) => truncate(layout.labels[at]!));
  const message = `Column ${column} of ${findings.name} is 0 throughout; the volume was read from ${source}.`;
  findings.add("tick-volume", "info", message);
}

/** Report cells that are neither numbers nor missing, or refuse them if they are many. */
function reportUnreadable(
  column: string,
  cells: readonly string[],
  numbers: Float64Array,
  findings: FindingCollector,
): void {
  const unreadable = [...numbers.keys()].filter((i) => Number.isNaN(numbers[i]!) && !isMissing(cells[i]!));
  if (!unreadable.length) return;
  const cell = truncate(cells[unreadable[0]!]!);
  if (unreadable.length > Math.max(1, MAX_UNUSABLE * cells.length)) {
    throw new DataError(
      `${findings.name}, line ${findings.line(unreadable[0]!)}: ${column} '${cell}' is not a number; correct the ` +
        `${unreadable.length} such cell(s).`,
    );
  }
  const message = `{count} ${column} value(s) are not numbers, such as '${cell}' ({where}), and count as missing.`;
  findings.add("unreadable-number", "warning", message, unreadable);
}

function parseTimes(table: TextTable, layout: ColumnLayout, now: number): ParsedTimes {
  const cells = table.rows.map((row) => row[layout.time]!);
  if (layout.clock === null) return parseTimestamps(cells, table.name, now);
  const clocks = table.rows.map((row) => row[layout.clock!]!);
  return parseTimestamps(joinClock(cells, clocks, table.name), table.name, now);
}

/** Leave out a last candle that is still forming: its time is off the grid of all others. */
function dropForming(rows: Rows, findings: FindingCollector): Rows {
  if (!isOffGrid(rows.wall)) return rows;
  const time = formatTime(rows.wall[rows.wall.length - 1]!, rows.offset);
  const message = `The last candle of ${findings.name}, of ${time}, is off the grid of the others: it is still forming and was left out.`;
  findings.add("forming-candle", "info", message);
  return takeRows(rows, [...rows.wall.keys()].slice(0, -1));
}
