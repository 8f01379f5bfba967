/** Which fields of the page settle what a message of the package names. */

export type Field = "columns" | "interval" | "decimal" | "calendar" | "horizon" | "seed" | "temperature" | "topP";

/** Words of the messages, by the field that they ask for. */
const NAMED: readonly (readonly [Field, RegExp])[] = [
  ["columns", /\bcolumns=/],
  ["interval", /\binterval\b(?:=| ')|^Invalid interval/],
  ["decimal", /\bdecimal='\.'/],
  ["calendar", /\bcalendar '/],
  ["horizon", /^Invalid horizon|choose fewer steps/],
  ["seed", /^Invalid seed/],
  ["temperature", /^Invalid temperature/],
  ["topP", /^Invalid topP/],
];

/** Options of the package that the page has no field for. */
const MISSING = /\b(?:thousands|timezone|header|date_format)=|\bread_many\b/;

/** The option that a message names and that no field of the page sets, such as `thousands=`; null without one. */
export function missingOption(message: string): string | null {
  return MISSING.exec(message)?.[0] ?? null;
}

export function namedFields(message: string): Field[] {
  return NAMED.filter(([, words]) => words.test(message)).map(([field]) => field);
}
