/** Meaning of columns by their names, as Python's `kronos.candles.columns`. */

import {
  CLOCK_ALIASES,
  COLUMN_ALIASES,
  DATE_ALIASES,
  FLAG_ALIASES,
  NAME_ALIASES,
  NEAR_AMOUNT,
  NEAR_VOLUME,
  QUOTE_UNITS,
  SYMBOL_ALIASES,
  TICK_ALIASES,
  TIME_ALIASES,
} from "./aliases";
import { COLUMNS, PRICES, type Column } from "../candles";
import { DataError, ParameterError } from "../errors";
import { joinNames, truncate } from "../formatting";

export const TIME = "timestamps";
export const SYMBOL = "symbol";
export type Role = Column | typeof TIME | typeof SYMBOL;
/** Names of columns that the usual names do not tell, such as `{ close: "Last Price" }`. */
export type ColumnNames = Partial<Record<Role, string>>;

const MAX_COLUMNS = 2_000;
const UNIT = /[_\s]*[([（【]([^()[\]（）【】]*)[)\]）】]\s*$/;
const NUMBERED = /^\d+[a-z]?\.\s+/; // Alpha Vantage writes "1. open" and "1a. open (USD)"

/** A label in the form that is compared: lower case, without number, spaces, byte-order mark, `_ < > . / -`. */
export function normalizeLabel(label: string): string {
  return label
    .replaceAll("\ufeff", "")
    .trim()
    .toLowerCase()
    .replace(NUMBERED, "")
    .replace(/[\s_<>./-]+/g, "");
}

/** A label without its unit in brackets, and the unit; empty if there is none. */
export function splitUnit(label: string): [string, string] {
  const text = label.trim();
  const match = UNIT.exec(text);
  return match && match.index ? [text.slice(0, match.index), match[1]!.trim()] : [text, ""];
}

/** How many of the four price columns have a label. */
export function countPrices(labels: readonly string[]): number {
  const found = new Set(labels.flatMap((label) => [label, splitUnit(label)[0]].map(normalizeLabel)));
  return PRICES.filter((price) => COLUMN_ALIASES[price].some((alias) => found.has(alias))).length;
}

/** Positions of the columns of a source. */
export interface ColumnLayout {
  readonly labels: readonly string[];
  readonly columns: ReadonlyMap<Column, number>;
  readonly time: number;
  /** Time of day, if `time` holds only dates. */
  readonly clock: number | null;
  readonly symbol: number | null;
  /** A column that may name the instrument. */
  readonly doubtfulSymbol: number | null;
  /** A tick count in addition to the traded volume. */
  readonly ticks: number | null;
  /** A column that is 0 or false while a candle is still forming. */
  readonly flag: number | null;
  /** Units in brackets of the columns in use. */
  readonly units: ReadonlyMap<Column | typeof TIME, string>;
  /** Columns that resemble a missing volume or amount. */
  readonly near: ReadonlyMap<Column, number>;
  /** Roles that the caller named. */
  readonly given: ReadonlySet<Role>;
}

/** Match labels to the meanings of columns; throws a `DataError` if a price or the time is missing, or twice there. */
export function findLayout(labels: readonly string[], names: ColumnNames, name: string): ColumnLayout {
  if (labels.length > MAX_COLUMNS) {
    throw new DataError(`${name} has ${labels.length} columns, too many for candles; select at most ${MAX_COLUMNS}.`);
  }
  const given = givenColumns(labels, names, name);
  const matcher = new Matcher(labels, new Set(given.values()), name);
  const columns = new Map<Column, number>();
  for (const column of COLUMNS) {
    const position = given.get(column) ?? matcher.match(COLUMN_ALIASES[column]);
    if (position === null) continue;
    columns.set(column, position);
    matcher.take(position);
  }
  checkPrices(columns, labels, name);
  if (!columns.has("volume")) for (const [column, position] of matcher.volumes()) columns.set(column, position);
  const symbol = given.get(SYMBOL) ?? matcher.match(SYMBOL_ALIASES);
  const ticks = given.has("volume") ? null : matcher.match(TICK_ALIASES);
  const givenTime = given.get(TIME);
  const [time, clock] = givenTime === undefined ? matcher.times() : [givenTime, null];
  if (time === null) {
    throw new DataError(`${name} has no time column; call it timestamps, or map it with columns={'timestamps': '…'}.`);
  }
  const units = new Map<Column | typeof TIME, string>();
  for (const [column, position] of [...columns, [TIME, time] as const]) {
    const [, unit] = splitUnit(labels[position]!);
    if (unit) units.set(column, unit);
  }
  return {
    labels,
    columns,
    time,
    clock,
    symbol,
    doubtfulSymbol: symbol === null ? matcher.first(NAME_ALIASES) : null,
    ticks: ticks === columns.get("volume") ? null : ticks,
    flag: matcher.first(FLAG_ALIASES),
    units,
    near: matcher.near(columns),
    given: new Set(given.keys()),
  };
}

function givenColumns(labels: readonly string[], names: ColumnNames, name: string): Map<Role, number> {
  const roles: readonly string[] = [...COLUMNS, TIME, SYMBOL];
  const given = new Map<Role, number>();
  for (const [role, label] of Object.entries(names)) {
    if (!roles.includes(role)) {
      throw new ParameterError(`Unknown name '${role}' in columns=: choose from ${roles.join(", ")}.`);
    }
    const exact = labels.indexOf(label);
    const position = exact < 0 ? labels.findIndex((one) => one.trim() === label) : exact;
    if (position < 0) {
      throw new DataError(`${name} has no column '${label}', given in columns= as ${role}; it has ${quote(labels)}.`);
    }
    given.set(role as Role, position);
  }
  return given;
}

function checkPrices(columns: ReadonlyMap<Column, number>, labels: readonly string[], name: string): void {
  const missing = PRICES.filter((price) => !columns.has(price));
  if (!missing.length) return;
  const word = missing.length === 1 ? "column" : "columns";
  throw new DataError(
    `${name} has no ${word} for ${missing.join(", ")}; it has ${quote(labels)}: rename them, or map them with ` +
      `columns={'${missing[0]!}': '…'}.`,
  );
}

function quote(labels: readonly string[]): string {
  return (
    joinNames(
      labels.map((label) => `'${truncate(label)}'`),
      8,
    ) || "none"
  );
}

/** Matches the columns that the caller did not name. */
class Matcher {
  private readonly exact = new Map<string, number[]>();
  private readonly bare = new Map<string, number[]>(); // without their units

  constructor(
    private readonly labels: readonly string[],
    given: ReadonlySet<number>,
    private readonly name: string,
  ) {
    labels.forEach((label, position) => {
      if (given.has(position)) return;
      push(this.exact, normalizeLabel(label), position);
      const [stem, unit] = splitUnit(label);
      if (unit) push(this.bare, normalizeLabel(stem), position);
    });
  }

  /** Leave a column out of later matches. */
  take(position: number): void {
    for (const positions of [...this.exact.values(), ...this.bare.values()]) {
      const at = positions.indexOf(position);
      if (at >= 0) positions.splice(at, 1);
    }
  }

  /** The column of the first alias that one has. */
  match(aliases: readonly string[]): number | null {
    for (const known of [this.exact, this.bare]) {
      for (const alias of aliases) {
        const matching = known.get(alias) ?? [];
        if (matching.length > 1) {
          if (known === this.bare && COLUMN_ALIASES.volume.includes(alias)) return null; // volumes in two units
          const both = quote(matching.slice(0, 2).map((position) => this.labels[position]!));
          throw new DataError(
            `${this.name} has two columns with the same meaning, ${both}; drop one or pass columns=.`,
          );
        }
        if (matching.length) return matching[0]!;
      }
    }
    return null;
  }

  /** The first column of the first alias that one has. */
  first(aliases: readonly string[]): number | null {
    for (const alias of aliases) {
      const position = this.exact.get(alias)?.[0];
      if (position !== undefined) return position;
    }
    return null;
  }

  /** The columns of the times, and of the times of day if the former are only dates. */
  times(): [number | null, number | null] {
    const [date, clock, time] = [DATE_ALIASES, CLOCK_ALIASES, TIME_ALIASES].map((aliases) => this.match(aliases)) as [
      number | null,
      number | null,
      number | null,
    ];
    if (date === null || clock === null || time === null || date === clock) return [time, null];
    const label = this.labels[time]!;
    const stems = [label, splitUnit(label)[0]].map(normalizeLabel);
    const parts = stems.some((stem) => DATE_ALIASES.includes(stem) || CLOCK_ALIASES.includes(stem));
    return parts ? [date, clock] : [time, null];
  }

  /** Volume and amount if both are called volume with their unit: `Volume BTC` and `Volume USDT`. */
  volumes(): [Column, number][] {
    const inUnits = COLUMN_ALIASES.volume.flatMap((alias) => this.bare.get(alias) ?? []);
    const named = [...this.exact].flatMap(([label, positions]) => (/^volume[a-z]{3,5}$/.test(label) ? positions : []));
    const pair = inUnits.length ? [...inUnits] : named;
    if (pair.length !== 2) return [];
    const unit = splitUnit(this.labels[pair[0]!]!)[1].toLowerCase();
    if (inUnits.length && QUOTE_UNITS.includes(unit)) pair.reverse();
    return [
      ["volume", pair[0]!],
      ["amount", pair[1]!],
    ];
  }

  /** Columns that resemble a missing optional one. */
  near(found: ReadonlyMap<Column, number>): Map<Column, number> {
    const used = new Set(found.values());
    const unused = [...this.exact.values()].flat().filter((position) => !used.has(position));
    const near = new Map<Column, number>();
    for (const [column, pattern] of [
      ["volume", NEAR_VOLUME],
      ["amount", NEAR_AMOUNT],
    ] as const) {
      const position = unused.find((one) => pattern.test(this.labels[one]!));
      if (!found.has(column) && position !== undefined) near.set(column, position);
    }
    return near;
  }
}

function push(map: Map<string, number[]>, key: string, value: number): void {
  map.set(key, [...(map.get(key) ?? []), value]);
}
