/** The text of a file, by its byte-order mark; without one it has to be UTF-8. */

import { DataError } from "@kronos-forecast/browser";

const MARKS = [
  ["utf-16le", [0xff, 0xfe]],
  ["utf-16be", [0xfe, 0xff]],
] as const;

export function decodeText(content: ArrayBuffer, name: string): string {
  const bytes = new Uint8Array(content);
  const marked = MARKS.find(([, mark]) => mark.every((byte, i) => bytes[i] === byte));
  try {
    return new TextDecoder(marked?.[0] ?? "utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new DataError(`${name} is not text in UTF-8 or UTF-16: save the table as CSV in UTF-8.`);
  }
}

/** Name of a file without its endings, as Python's command names its series. */
export function fileStem(name: string): string {
  return name.normalize("NFC").replace(/(?<=.)(?:\.(?:csv|txt|tsv))+$/i, "");
}
