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

export function namedFields(message: string): Field[] {
  return NAMED.filter(([, words]) => words.test(message)).map(([field]) => field);
}
