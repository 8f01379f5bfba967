/** Lengths of candles: a count and a unit, written `5m`, `1h`, `1d`, `1w` or `1mo`. */

import { ParameterError } from "./errors";

export type Unit = "s" | "m" | "h" | "d" | "w" | "mo";

export interface Interval {
  readonly count: number;
  readonly unit: Unit;
}

const SECONDS: Readonly<Record<Unit, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800, mo: 2_592_000 };
const UNITS: Readonly<Record<string, Unit>> = {
  s: "s",
  sec: "s",
  second: "s",
  m: "m",
  min: "m",
  t: "m",
  minute: "m",
  h: "h",
  hr: "h",
  hour: "h",
  hourly: "h",
  d: "d",
  day: "d",
  daily: "d",
  w: "w",
  wk: "w",
  week: "w",
  weekly: "w",
  mo: "mo",
  mon: "mo",
  month: "mo",
  monthly: "mo",
};

/** Nominal length in seconds; a month has 30 days. */
export function intervalSeconds({ count, unit }: Interval): number {
  return count * SECONDS[unit];
}

export function isIntraday(interval: Interval): boolean {
  return intervalSeconds(interval) < SECONDS.d;
}

export function formatInterval({ count, unit }: Interval): string {
  return `${count}${unit}`;
}

/** Parse `4h`, `15min`, `daily` or `1M` (a month, in the notation of exchanges). */
export function parseInterval(text: string): Interval {
  const match = /^\s*(\d*)\s*([a-z]+)\s*$/i.exec(text);
  const name = match?.[2] ?? "";
  const lower = name.toLowerCase();
  const unit = name === "M" ? "mo" : UNITS[lower.length > 2 ? lower.replace(/s$/, "") : lower];
  if (!match || !unit) throw new ParameterError(`Invalid interval '${text}': write it like 5m, 1h, 4h, 1d, 1w or 1mo.`);
  const count = Number(match[1] || 1);
  if (count < 1) throw new ParameterError(`Invalid interval count ${count}: choose at least 1.`);
  return unit === "mo" ? { count, unit } : fromSeconds(count * SECONDS[unit]);
}

/** The interval of this many seconds, in its largest whole unit; 28 to 31 days are a month. */
export function intervalFromSeconds(seconds: number): Interval {
  if (seconds >= 28 * SECONDS.d && seconds <= 31 * SECONDS.d && seconds % SECONDS.d === 0)
    return { count: 1, unit: "mo" };
  return fromSeconds(seconds);
}

function fromSeconds(seconds: number): Interval {
  const unit = (["w", "d", "h", "m"] as const).find((name) => seconds % SECONDS[name] === 0) ?? "s";
  return { count: seconds / SECONDS[unit], unit };
}
