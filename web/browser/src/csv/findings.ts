/** Findings of reading: each dropped row and each changed value is reported. */

export type Severity = "info" | "warning";

export interface Finding {
  /** Short stable name, such as `duplicate-time`. */
  readonly code: string;
  readonly severity: Severity;
  /** One sentence for people. */
  readonly message: string;
  /** Lines of the first rows concerned, at most ten; the header is line 1. */
  readonly rows: readonly number[];
  /** Number of rows or occurrences. */
  readonly count: number;
}

const MAX_ROWS_LISTED = 10;

/** Collects findings about rows, identified by their 0-based positions in the source. */
export class FindingCollector {
  readonly findings: Finding[] = [];

  constructor(
    readonly name: string,
    private readonly firstLine: number,
  ) {}

  /** Number of the line of a row. */
  line(position: number): number {
    return position + this.firstLine;
  }

  /**
   * Add a finding.
   *
   * @param message `{count}` stands for the number of rows, and `{where}` for `lines 5, 9, 12 … of prices.csv`.
   */
  add(code: string, severity: Severity, message: string, positions: readonly number[] = []): void {
    const rows = positions.slice(0, MAX_ROWS_LISTED).map((position) => this.line(position));
    const listed = rows.slice(0, 3).join(", ") + (positions.length > 3 ? " …" : "");
    const where = `line${positions.length > 1 ? "s" : ""} ${listed} of ${this.name}`;
    const text = positions.length
      ? message.replace("{count}", String(positions.length)).replace("{where}", where)
      : message;
    this.findings.push({ code, severity, message: text, rows, count: Math.max(1, positions.length) });
  }
}
