/**
 * Numbers in text. Only plain ones are read: with a decimal point, without thousands signs, currencies or units.
 *
 * `5.916` may be five or nearly six thousand. Where Python's `kronos.candles.number_format` decides by the other cells
 * that it has decimals, so does this module; otherwise it refuses the file.
 */

import { COMMA_LOCALES } from "./aliases";
import { DataError } from "../errors";
import { truncate } from "../formatting";
import { median } from "../statistics";
import type { Severity } from "./findings";
import { NUMBER_LIKE } from "./table";

const MISSING = new Set(["", "-", "--", "nan", "na", "n/a", "#n/a", "null", "none", "nat", "<na>", "."]);
const PLAIN = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;
const GROUPED = /^[+-]?\d[\d.,'’_\s]*$/; // also by underscores
const INFINITE = /^[+-]?inf(?:inity)?$/i;
const CONFLICT = 0.05; // share of cells that may contradict the others in Python
const LEAST_CELLS = 20; // from which on whole numbers below 1000 beside 5.916 are no coincidence
const LEAST_WHOLE = 3; // of those whole numbers
const LARGER = 0.9; // share of whole numbers above 5.916 that shows thousands
const MIXED = 0.8; // below which both are of one size
const TRADED_DAILY = 1e5; // what whole volumes with thousands points would seem to be worth less than

export const GROUPS = ["prices", "volume", "amount", "ticks"] as const;
export type Group = (typeof GROUPS)[number];

/** A column of cells with its group; prices are judged as one column. */
export interface NumberColumn {
  readonly name: string;
  readonly group: Group;
  readonly cells: readonly string[];
}

export interface NumberNote {
  readonly severity: Severity;
  readonly message: string;
}

/** What decides open notations besides the cells. */
export interface NumberContext {
  readonly name: string;
  /** Number of the line of the first row. */
  readonly firstLine: number;
  readonly labels: readonly string[];
  readonly delimiter: string;
  /** Whether times are dates without a time of day. */
  readonly datesOnly: boolean;
  /** Whether the caller said that numbers have decimal points. */
  readonly decimalPoints: boolean;
}

export function isMissing(cell: string): boolean {
  return MISSING.has(cell.toLowerCase());
}

/** Numbers of plain cells, NaN for others. */
export function parseNumbers(cells: readonly string[]): Float64Array {
  return Float64Array.from(cells, (cell) => {
    if (PLAIN.test(cell)) return Number(cell);
    return INFINITE.test(cell) ? (cell.startsWith("-") ? -Infinity : Infinity) : NaN;
  });
}

/**
 * Check that the numbers of all columns have decimal points.
 *
 * @returns Notes about what the cells alone did not decide.
 */
export function checkNotation(columns: readonly NumberColumn[], context: NumberContext): NumberNote[] {
  const odd = columns.flatMap(({ name, cells }) => {
    const numbers = parseNumbers(cells);
    return cells.flatMap((cell, i) => (Number.isNaN(numbers[i]!) && !isMissing(cell) ? [{ name, cell, row: i }] : []));
  });
  const evidence = new Map(
    GROUPS.map((group) => [group, new Evidence(columns.filter((column) => column.group === group))]),
  );
  const written = odd.find(({ cell }) => NUMBER_LIKE.test(cell) || GROUPED.test(cell));
  if (written) throw refuseNotation(written, evidence, context);
  if (context.decimalPoints || (!odd.length && !columns.some(({ cells }) => mayBeGrouped(cells)))) return [];
  return new PointInference(columns, evidence, context).notes();
}

/** The refusal of a cell in another notation, in Python's words if Python refuses it too. */
function refuseNotation(
  { name: column, cell, row }: { name: string; cell: string; row: number },
  evidence: ReadonlyMap<Group, Evidence>,
  { name, firstLine }: NumberContext,
): DataError {
  for (const [group, shown] of evidence) {
    const points = shown.decimal["."] + shown.thousands[","];
    const commas = shown.decimal[","] + shown.thousands["."];
    if (Math.min(points, commas) > CONFLICT * (points + commas)) {
      return new DataError(
        `The ${group} of ${name} mixes decimal points and decimal commas; write it in one notation, or give ` +
          "decimal='.' or decimal=','.",
      );
    }
  }
  const group = column in { volume: 1, amount: 1, ticks: 1 } ? (column as Group) : "prices";
  const own = evidence.get(group)!;
  const others = [...evidence].some(([other, shown]) => other !== group && shown.shows);
  if (own.openSign === "," && !own.large && !others) return ambiguousSign(group, ",", own.example, name);
  return new DataError(
    `Line ${row + firstLine} of ${name}: ${column} '${truncate(cell)}' is not in plain notation; write numbers with a decimal ` +
      "point, without thousands signs, currencies and units.",
  );
}

function ambiguousSign(group: Group, sign: Sign, example: string, name: string): DataError {
  const written = truncate(example);
  return new DataError(
    `The ${group} of ${name} such as ${written} may be ${written.replace(sign, "")} or ${written.replace(sign, ".")}, ` +
      `and the other columns do not decide it: give thousands='${sign}' or decimal='${sign}'.`,
  );
}

type Sign = "." | ",";
type Counts = Record<Sign, number>;

/** What the cells of a group of columns show about `.` and `,`. */
class Evidence {
  /** Number of cells in which a sign must be the decimal sign. */
  readonly decimal: Counts = { ".": 0, ",": 0 };
  /** Number of cells in which it must be the thousands sign. */
  readonly thousands: Counts = { ".": 0, ",": 0 };
  /** Number of cells in which it may be either: `5.916`. */
  readonly open: Counts = { ".": 0, ",": 0 };
  /** Number of whole numbers below 1000. */
  small = 0;
  /** Number of cells with a group of four or more digits, which a thousands sign would divide. */
  large = 0;
  /** A cell with an open sign. */
  example = "";

  constructor(columns: readonly NumberColumn[]) {
    for (const { cells } of columns) for (const cell of cells) if (!isMissing(cell)) this.add(cell);
  }

  private add(cell: string): void {
    const match = /^[+-]?([\d.,]+)(?:e[+-]?\d+)?$/i.exec(cell);
    if (!match) return;
    const shape = match[1]!;
    const signs = [...shape].filter((sign): sign is Sign => sign === "." || sign === ",");
    const [first] = signs;
    const whole = shape.split(/[.,]/)[0]!;
    if (!first) {
      if (whole.length > 3) this.large++;
      else this.small++;
    } else if (new Set(signs).size === 2) {
      const last = signs[signs.length - 1]!;
      if (signs.filter((sign) => sign === last).length === 1 && isGrouped(shape.split(last)[0]!, first)) {
        this.decimal[last]++;
        this.thousands[first]++;
      }
    } else if (signs.length > 1) {
      if (isGrouped(shape, first)) this.thousands[first]++;
    } else if (shape.length - whole.length - 1 !== 3 || whole.length > 3 || !whole || whole.startsWith("0")) {
      this.decimal[first]++;
      if (whole.length > 3) this.large++;
    } else {
      this.open[first]++;
      this.example ||= cell.replace(/^[+-]+/, "");
    }
  }

  /** Whether the cells show any sign for certain. */
  get shows(): boolean {
    return [this.decimal, this.thousands].some((counts) => counts["."] + counts[","] > 0);
  }

  /** The sign that the cells leave open; null if there is none, or they decide it. */
  get openSign(): Sign | null {
    if (this.shows) return null;
    return ([".", ","] as const).find((sign) => this.open[sign] > 0) ?? null;
  }

  /** Whether the notation is known: the cells show it, or a group of four digits rules out thousands signs. */
  get decided(): boolean {
    return this.shows || (this.openSign !== null && this.large > 0);
  }
}

function isGrouped(digits: string, sign: Sign): boolean {
  const s = sign === "." ? "\\." : ",";
  return new RegExp(`^(?:\\d{1,3}(?:${s}\\d{3})+|\\d{1,2}(?:${s}\\d{2})*${s}\\d{3})$`).test(digits);
}

/** Whether a column of plain numbers may have thousands points: no cell rules it out. */
function mayBeGrouped(cells: readonly string[]): boolean {
  const known = parseNumbers(cells).filter(Number.isFinite);
  if (!known.length || known.some((value) => Math.abs(value) >= 1000) || known.every(Number.isInteger)) return false;
  return cells.every((cell) => /^(?:(?:[1-9]\d{0,2}|0)(?:\.\d{3})?)?$/.test(cell));
}

/** Decision on groups of columns whose cells are all like `5.916`, or whole. */
class PointInference {
  private readonly found: NumberNote[] = [];

  constructor(
    private readonly columns: readonly NumberColumn[],
    private readonly evidence: ReadonlyMap<Group, Evidence>,
    private readonly context: NumberContext,
  ) {}

  notes(): NumberNote[] {
    const decided = new Set(GROUPS.filter((group) => this.evidence.get(group)!.decided));
    const open = GROUPS.filter((group) => !decided.has(group) && this.evidence.get(group)!.openSign);
    const larger = new Map(open.map((group) => [group, this.shareOfLarger(group)]));
    const thousands = open.find((group) => (larger.get(group) ?? 0) > LARGER);
    if (thousands) throw this.refuseThousands(thousands);
    for (const group of open) {
      this.decide(group, decided, larger.get(group) ?? null);
      decided.add(group);
    }
    return this.found;
  }

  private decide(group: Group, decided: ReadonlySet<Group>, larger: number | null): void {
    const byAmount = this.decideByAmount(group, decided);
    if (byAmount === "thousands") throw this.refuseThousands(group);
    if (byAmount === "decimal") return;
    const oneSize = larger !== null && larger < MIXED; // 4 beside 5.916
    const ungrouped = [...this.evidence.values()].some(({ large }) => large);
    const others = GROUPS.filter((other) => other !== group && decided.has(other));
    const { delimiter, labels } = this.context;
    const commaLocale = COMMA_LOCALES.test(labels.join(" "));
    if (others.some((other) => this.evidence.get(other)!.decimal["."])) {
      if (oneSize || ungrouped || group === "prices") return;
      if (this.isDottedVolume(group)) throw this.refuseThousands(group);
      this.assume(group, "warning");
    } else if (others.length) throw this.refuse(group);
    else if ((delimiter === "," || labels.some((label) => label.includes("<"))) && (ungrouped || !commaLocale)) {
      // Three decimals would hardly be written for numbers that all end in 0, as 25.300.
      const round = this.cells(group).every((cell) => cell.endsWith("0"));
      this.assume(group, oneSize || (group === "prices" && !round) ? "info" : "warning");
    } else if (ungrouped && !commaLocale) this.assume(group, "warning");
    else throw this.refuse(group);
  }

  /** How often whole numbers below 1000 exceed those such as `5.916` read with decimals; null if they are few. */
  private shareOfLarger(group: Group): number | null {
    const cells = this.cells(group).map((cell) => cell.replace(/^[+-]+/, ""));
    const whole = cells.filter((cell) => /^[1-9]\d{0,2}$/.test(cell)).map(Number);
    const other = Float64Array.from(cells.filter((cell) => /^[1-9]\d{0,2}\.\d{3}$/.test(cell)).map(Number)).sort();
    if (whole.length < LEAST_WHOLE || other.length < LEAST_CELLS) return null;
    const below = (value: number): number => other.filter((one) => one < value).length / other.length;
    return whole.reduce((sum, value) => sum + below(value), 0) / whole.length;
  }

  /** The notation under which amount ≈ volume × price, in shares or lots of 100; null if not exactly one is. */
  private decideByAmount(group: Group, decided: ReadonlySet<Group>): "decimal" | "thousands" | null {
    const needed = ["close", "volume", "amount"].map((name) => this.columns.find((column) => column.name === name));
    if (!needed.every((column) => column !== undefined)) return null;
    if (needed.some((c) => c.group !== group && !decided.has(c.group) && this.evidence.get(c.group)!.openSign)) {
      return null; // two open notations fit together in several ways
    }
    const [asDecimal, asThousands] = [1, 1000].map((factor) => {
      const [close, volume, amount] = needed.map(({ cells, group: own }) => {
        const values = parseNumbers(cells);
        return own === group ? values.map((value, i) => value * (cells[i]!.includes(".") ? factor : 1)) : values;
      }) as [Float64Array, Float64Array, Float64Array];
      const ratio = median(amount.map((value, i) => value / (volume[i]! * close[i]!)).filter(Number.isFinite));
      return [1, 100].some((lot) => ratio / lot > 0.8 && ratio / lot < 1.25);
    }) as [boolean, boolean];
    return asDecimal === asThousands ? null : asDecimal ? "decimal" : "thousands";
  }

  /** Whether daily volumes such as `73.317` beside prices in cents are whole numbers with thousands points. */
  private isDottedVolume(group: Group): boolean {
    const volume = this.evidence.get(group)!;
    const close = this.columns.find((column) => column.name === "close");
    const cells = this.columns.find((column) => column.name === "volume")?.cells;
    if (group !== "volume" || !this.context.datesOnly || volume.open["."] < LEAST_CELLS || !close || !cells)
      return false;
    if (volume.small || [...this.evidence.values()].some(({ large }) => large)) return false;
    const closes = parseNumbers(close.cells);
    const volumes = parseNumbers(cells);
    const inCents = close.cells.every((cell) => isMissing(cell) || /^\d+\.\d{2}$/.test(cell));
    const known = (values: Float64Array): Float64Array => values.filter((value) => !Number.isNaN(value));
    return (
      inCents &&
      median(known(closes)) > 1 &&
      median(known(volumes.map((value, i) => value * closes[i]!))) < TRADED_DAILY
    );
  }

  private cells(group: Group): string[] {
    return this.columns.flatMap((column) =>
      column.group === group ? column.cells.filter((cell) => !isMissing(cell)) : [],
    );
  }

  private assume(group: Group, severity: Severity): void {
    const { example } = this.evidence.get(group)!;
    this.found.push({
      severity,
      message:
        `Numbers such as ${example} (${group}) of ${this.context.name} were read with a decimal point; give ` +
        "thousands='.' if they are whole numbers.",
    });
  }

  private refuse(group: Group): DataError {
    return ambiguousSign(group, ".", this.evidence.get(group)!.example, this.context.name);
  }

  private refuseThousands(group: Group): DataError {
    const { example } = this.evidence.get(group)!;
    return new DataError(
      `The ${group} of ${this.context.name} such as ${truncate(example)} has thousands points: write it without, or give ` +
        "decimal='.' if it has decimals.",
    );
  }
}
