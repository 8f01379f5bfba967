/**
 * Tables of text: a line of names, and one line for each candle, with cells separated by commas, semicolons, tabs or bars.
 *
 * What Python reads besides (titles, footers, tables without names) is refused.
 */

import { countPrices } from "./columns";
import { DataError } from "../errors";
import { truncate } from "../formatting";

const DELIMITERS = [",", ";", "\t", "|"];
const LEAST_PRICES = 4;
/** A number with a sign, currency or unit. */
export const NUMBER_LIKE =
  /^[\s$€£¥￥₩+\-−(]*\d[\d.,'’\s]*(?:e[+-]?\d+)?\s*(?:%|[A-Za-z\u4e00-\u9fff억만조円원$€£]{1,4})?\)?$/i;

export interface TextTable {
  readonly name: string;
  readonly delimiter: string;
  readonly labels: readonly string[];
  /** Cells of each row, as many as labels. */
  readonly rows: readonly (readonly string[])[];
  /** Number of the line of the first row. */
  readonly firstLine: number;
  /** Whether each row lacks cells, so that what they mean is unknown. */
  readonly short: readonly boolean[];
}

/** Divide a text into cells; throws a `DataError` if it is no table with names of prices in its first line. */
export function readTable(content: string, name: string): TextTable {
  const text = content.replace(/^\ufeff/, "").replace(/\r\n?/g, "\n");
  if (!text.trim()) throw new DataError(`${name} is empty; it needs a header and rows of candles.`);
  if (/<html|<!doctype/i.test(text.slice(0, 2000))) {
    throw new DataError(`${name} is a web page, not a table; download the file itself, or save the table as CSV.`);
  }
  const lines = text.replace(/\n$/, "").split("\n");
  const top = lines.findIndex((line) => line.trim());
  const header = lines[top]!;
  const delimiter = findDelimiter(header);
  const labels = splitLine(header, delimiter, name, top + 1).map((label, i) => label || `Unnamed: ${i}`);
  checkHeader(labels, name);
  const first = lines.findIndex((line, i) => i > top && line.trim());
  if (first < 0) throw new DataError(`${name} has a header but no rows; it needs at least 2 candles.`);
  const rows = lines.slice(first).map((line, i) => splitLine(line, delimiter, name, first + i + 1));
  checkEnds(rows, labels, name, first + 1);
  return dropUnnamed(fitRows(rows, { name, delimiter, labels, firstLine: first + 1 }));
}

/** Names of the columns of a text, as `readTable` divides it. */
export function readLabels(content: string, name: string): readonly string[] {
  return readTable(content, name).labels;
}

function findDelimiter(header: string): string {
  const score = (delimiter: string): number => {
    const cells = header.split(delimiter).map((cell) => cell.replaceAll('"', ""));
    return countPrices(cells) * header.length + cells.length;
  };
  return DELIMITERS.reduce((best, one) => (score(one) > score(best) ? one : best));
}

function checkHeader(labels: readonly string[], name: string): void {
  if (!countPrices(labels) && isRow(labels)) {
    throw new DataError(
      `${name} has no header line: add one with the names of the columns, such as timestamps, open, high, low, close.`,
    );
  }
}

/** The cells of a line, without surrounding spaces. */
function splitLine(line: string, delimiter: string, name: string, number: number): string[] {
  if (!line.includes('"')) return line.split(delimiter).map((cell) => cell.trim());
  const cells: string[] = [];
  let cell = "";
  let quoted = false;
  for (let i = 0; i < line.length; i++) {
    const sign = line[i]!;
    if (sign === '"' && quoted && line[i + 1] === '"') {
      cell += sign;
      i++;
    } else if (sign === '"') quoted = !quoted;
    else if (sign === delimiter && !quoted) {
      cells.push(cell.trim());
      cell = "";
    } else cell += sign;
  }
  if (quoted) {
    throw new DataError(
      `Line ${number} of ${name} has a quote that does not end on it: write each candle on one line.`,
    );
  }
  return [...cells, cell.trim()];
}

/** Whether cells are those of a candle: at least four numbers, or empty but for a first cell with digits. */
function isRow(cells: readonly string[]): boolean {
  const filled = cells.filter(Boolean);
  const numbers = filled.filter((cell) => NUMBER_LIKE.test(cell)).length;
  if (numbers >= LEAST_PRICES) return 2 * numbers >= filled.length;
  return cells.length > LEAST_PRICES && filled.length === 1 && /\d/.test(cells[0]!);
}

/** Refuse titles between header and rows, and sources or totals below them. */
function checkEnds(
  rows: readonly (readonly string[])[],
  labels: readonly string[],
  name: string,
  firstLine: number,
): void {
  const filled = rows.flatMap((cells, i) => (cells.some(Boolean) ? [i] : []));
  for (const i of [filled[0]!, filled[filled.length - 1]!]) {
    const cells = rows[i]!;
    const likeHeader = cells.length === labels.length && (i !== filled[0] || /^\d/.test(cells[0]!));
    if (!isRow(cells) && !likeHeader) {
      throw new DataError(
        `Line ${i + firstLine} of ${name} ('${truncate(cells.find(Boolean))}') is no row of candles: leave only the names of the ` +
          "columns and the rows.",
      );
    }
  }
}

/** Bring all rows to the number of labels, and find those that lack cells. */
function fitRows(rows: readonly (readonly string[])[], head: Omit<TextTable, "rows" | "short">): TextTable {
  const { labels, name } = head;
  const width = labels.length;
  const wider = (cells: readonly string[]): boolean => cells.length > width;
  const filled = rows.filter((cells) => cells.some(Boolean));
  // Each row may end with a delimiter.
  const ended = filled.every((cells) => cells.length <= width + 1 && !cells[width]);
  if (!ended && filled.every(wider)) {
    throw new DataError(
      `The rows of ${name} have ${filled[0]!.length} cells, but the header has ${width}; quote numbers with commas, ` +
        "name each column in the header, or give its line as header=.",
    );
  }
  const long = ended ? -1 : rows.findIndex(wider);
  if (long >= 0) {
    throw new DataError(
      `Line ${long + head.firstLine} of ${name} has ${rows[long]!.length} cells, but the header has ${width}; correct that line.`,
    );
  }
  let needed = width;
  while (needed > 1 && labels[needed - 1]!.startsWith("Unnamed:")) needed--; // the header ends with delimiters
  return {
    ...head,
    rows: rows.map((cells) => Array.from({ length: width }, (_, i) => cells[i] ?? "")),
    short: rows.map((cells) => cells.some(Boolean) && cells.length < needed),
  };
}

/** Drop unnamed columns without values. */
function dropUnnamed(table: TextTable): TextTable {
  const kept = [...table.labels.keys()].filter(
    (i) => !table.labels[i]!.startsWith("Unnamed:") || table.rows.some((cells) => cells[i]),
  );
  if (kept.length === table.labels.length) return table;
  return {
    ...table,
    labels: kept.map((i) => table.labels[i]!),
    rows: table.rows.map((cells) => kept.map((i) => cells[i]!)),
  };
}
