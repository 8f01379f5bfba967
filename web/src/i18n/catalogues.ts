/** Catalogues of texts in every language; all of them change together. Reading a text subscribes to the language. */

import { batch, type Signal, signal } from "@preact/signals";

import type { Language } from "../formats";

/** Dotted keys of the texts of a catalogue. */
export type Keys<T> = { [K in keyof T & string]: T[K] extends string ? K : `${K}.${Keys<T[K]>}` }[keyof T & string];
/** Keys of texts that have a form for one and a form for many. */
export type PluralKeys<T> = Keys<T> extends infer K ? (K extends `${infer P}.other` ? P : never) : never;
export type Values = Record<string, string | number>;
export type CatalogueLoaders<T> = Record<Language, () => Promise<{ default: T }>>;

export interface Texts<T> {
  catalogue: Signal<T | null>;
  /** The text of a key that may not exist. */
  find(key: string): string | undefined;
  t(key: Keys<T>, values?: Values): string;
  /** A text that depends on a count; `{count}` is the number as text, or as given in `values`. */
  plural(key: PluralKeys<T>, count: number, values?: Values): string;
}

export const language = signal<Language>("en");

/** Load a language of each catalogue, and return what puts it in place. */
const loaders: ((next: Language) => Promise<() => void>)[] = [];

/** Load a language, then show it; the page never shows keys in between. */
export async function setLanguage(next: Language): Promise<void> {
  const loaded = await Promise.all(loaders.map((load) => load(next)));
  batch(() => {
    loaded.forEach((show) => show());
    language.value = next;
  });
}

/** Texts of a catalogue that is loaded whenever a language is chosen. */
export function defineTexts<T>(files: CatalogueLoaders<T>): Texts<T> {
  const catalogue = signal<T | null>(null);
  loaders.push(async (next) => {
    const loaded = (await files[next]()).default;
    return () => void (catalogue.value = loaded);
  });
  const find = (key: string): string | undefined => {
    let entry: unknown = catalogue.value;
    for (const part of key.split(".")) {
      if (typeof entry !== "object" || entry === null) return undefined;
      entry = (entry as Record<string, unknown>)[part];
    }
    return typeof entry === "string" ? entry : undefined;
  };
  return {
    catalogue,
    find,
    t: (key, values = {}) => fill(find(key) ?? key, values),
    plural: (key, count, values = {}) =>
      fill(find(`${key}.${count === 1 ? "one" : "other"}`) ?? key, { count, ...values }),
  };
}

export function fill(text: string, values: Values): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}
