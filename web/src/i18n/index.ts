/** Texts of the workbench, and those of its server in the language of the page. */

import { signal } from "@preact/signals";

import type english from "../../../src/kronos/reports/shared/workbench.en.json";
import { defineTexts, fill, type Keys, language, setLanguage, type Values } from "./catalogues";

export type Catalogue = typeof english;
export type MessageKey = Keys<Catalogue>;

export { language, setLanguage };
export const { catalogue, find, t, plural } = defineTexts<Catalogue>({
  en: () => import("../../../src/kronos/reports/shared/workbench.en.json"),
  zh: () => import("../../../src/kronos/reports/shared/workbench.zh.json"),
});

/** Sentences of the server about files, by their kind, and the words that they quote. English ones come from it. */
interface Sentences {
  words: Record<string, string>;
  kinds: Record<string, string>;
}

const sentences = signal<Sentences | null>(null);

/** Load the sentences once one is to be shown: without a file, nobody needs them. */
async function loadSentences(): Promise<void> {
  sentences.value = (await import("../../../src/kronos/reports/shared/reader.zh.json")).default;
}

export interface ServerMessage {
  message: string;
  kind?: string | undefined;
  values?: Values | undefined;
}

/** What the server says in the language of the page; null where only its own English text exists. */
export function translated({ kind, values = {} }: ServerMessage): string | null {
  if (!kind || language.value === "en") return null;
  const known = sentences.value;
  if (!known) void loadSentences();
  const text = known?.kinds[kind];
  if (!known || text === undefined) return null;
  const words = Object.entries(values).map(([name, value]) => [name, translatedWords(String(value), known.words)]);
  return fill(text, Object.fromEntries(words) as Values);
}

/** English of the server with its arguments, such as `columns={'open': '…'}`, as the fields of the page. */
export function withFieldNames(text: string): string {
  return text
    .replace(
      /\b(?:give|pass|(?:map|name) (it|them) with) columns=(?:\{.*?\})?/g,
      (_, what: string | undefined) => `choose ${what ?? "it"} under “${t("data.option.columns")}”`,
    )
    .replace(/\b(?:columns=\{.*?\}|([a-z_]+)=(?=[\s.,;:)]|$))/g, (whole, option: string | undefined) => {
      const name = find(`data.option.${option ?? "columns"}`);
      return name === undefined ? whole : `“${name}”`;
    });
}

/** A word, or each of a list of words. */
function translatedWords(text: string, words: Record<string, string>): string {
  if (words[text] !== undefined) return words[text];
  if (text.includes("' and '")) return text.replaceAll("' and '", "'、'").replaceAll("', '", "'、'");
  const parts = text.split(", ");
  return parts.every((part) => words[part] !== undefined) ? parts.map((part) => words[part]).join("、") : text;
}

/** A text for a word of the server, such as the name of a baseline; the word itself if the catalogue has none. */
export function term(group: "names" | "severities" | "kinds" | "jobs" | "calendars" | "errors", word: string): string {
  return find(`${group}.${word}`) ?? word;
}
