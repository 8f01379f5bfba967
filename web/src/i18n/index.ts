/** Texts of the page. A catalogue is loaded when its language is chosen; reading a text subscribes to the language. */

import { signal } from "@preact/signals";

import type english from "../../../src/kronos/reports/shared/workbench.en.json";
import type { Language } from "../formats";

export type Catalogue = typeof english;

type Keys<T> = { [K in keyof T & string]: T[K] extends string ? K : `${K}.${Keys<T[K]>}` }[keyof T & string];
export type MessageKey = Keys<Catalogue>;
/** Keys of texts that have a form for one and a form for many. */
export type PluralKey = MessageKey extends infer K ? (K extends `${infer P}.other` ? P : never) : never;

type Values = Record<string, string | number>;

export const catalogue = signal<Catalogue | null>(null);
export const language = signal<Language>("en");

/** Sentences of the server about files, by their kind, and the words that they quote. English ones come from it. */
interface Sentences {
  words: Record<string, string>;
  kinds: Record<string, string>;
}

const sentences = signal<Sentences | null>(null);

const LOADERS: Record<Language, () => Promise<{ default: Catalogue }>> = {
  en: () => import("../../../src/kronos/reports/shared/workbench.en.json"),
  zh: () => import("../../../src/kronos/reports/shared/workbench.zh.json"),
};

/** Load a language, then show it; the page never shows keys in between. */
export async function setLanguage(next: Language): Promise<void> {
  catalogue.value = (await LOADERS[next]()).default;
  language.value = next;
}

/** Load the sentences once one is to be shown: without a file, nobody needs them. */
async function loadSentences(): Promise<void> {
  sentences.value = (await import("../../../src/kronos/reports/shared/reader.zh.json")).default;
}

function find(key: string): string | undefined {
  let entry: unknown = catalogue.value;
  for (const part of key.split(".")) {
    if (typeof entry !== "object" || entry === null) return undefined;
    entry = (entry as Record<string, unknown>)[part];
  }
  return typeof entry === "string" ? entry : undefined;
}

export function fill(text: string, values: Values): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

export function t(key: MessageKey, values: Values = {}): string {
  return fill(find(key) ?? key, values);
}

/** A text that depends on a count; `{count}` is the number as text, or as given in `values`. */
export function plural(key: PluralKey, count: number, values: Values = {}): string {
  const form = count === 1 ? "one" : "other";
  return fill(find(`${key}.${form}`) ?? key, { count, ...values });
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
