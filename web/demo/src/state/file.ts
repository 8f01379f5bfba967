/** The file of candles: dropped, chosen, or the simulated sample. */

import { batch, computed, signal } from "@preact/signals";

import { tickSize } from "../../../src/chart/candles";
import { candleTime, intervalSeconds, price } from "../../../src/formats";
import { language } from "../../../src/i18n/catalogues";
import type { CandleFile, Failure, ReadSettings } from "../protocol";
import { failureOf } from "./worker_client";
import { worker } from "./model";

const SAMPLE = "sample/simulated_btc_1h.csv";
export const MOST_BYTES = 64e6;

/** Where the candles come from. */
export interface Source {
  readonly name: string;
  readonly content: Blob;
  readonly simulated: boolean;
}

export const source = signal<Source | null>(null);
export const settings = signal<ReadSettings>({});
/** Names of the file's columns, as far as it could be divided. */
export const labels = signal<readonly string[]>([]);
export const file = signal<CandleFile | null>(null);
export const readFailure = signal<Failure | null>(null);
export const readingName = signal<string | null>(null);

export const simulated = computed(() => source.value?.simulated ?? false);

/** Digits after the point that the prices need. */
export const digits = computed(() => (file.value ? Math.round(-Math.log10(tickSize(file.value.candles))) : 2));

export function formatPrice(value: number): string {
  return price(value, digits.value, language.value);
}

/** A time of the history's own clock. */
export function formatTime(time: number): string {
  return candleTime(time, "UTC", intervalSeconds(file.value?.interval ?? "1h"));
}

/** Read a file anew; false if it cannot be used. */
export async function openFile(content: File): Promise<boolean> {
  return open({ name: content.name, content, simulated: false });
}

export async function openSample(): Promise<boolean> {
  const name = SAMPLE.split("/").at(-1)!;
  const number = ++newest;
  readingName.value = name;
  try {
    const response = await fetch(SAMPLE);
    if (!response.ok) throw new Error(`${name} cannot be loaded (HTTP ${response.status}).`);
    const content = await response.blob();
    return number === newest && (await open({ name, content, simulated: true }));
  } catch (error) {
    if (number !== newest) return false;
    batch(() => {
      source.value = { name, content: new Blob(), simulated: true };
      file.value = null;
      readFailure.value = failureOf(error);
      readingName.value = null;
    });
    return false;
  }
}

/** Read the file again with other options. */
export function readAgain(next: ReadSettings): Promise<boolean> {
  settings.value = next;
  return read(source.value!);
}

function open(next: Source): Promise<boolean> {
  batch(() => {
    source.value = next;
    settings.value = {};
    labels.value = [];
    file.value = null;
    readFailure.value = null;
  });
  return read(next);
}

/** Number of the newest file; an older one that comes late is dropped. */
let newest = 0;

async function read({ name, content, simulated: isSample }: Source): Promise<boolean> {
  const number = ++newest;
  readingName.value = name;
  try {
    if (content.size > MOST_BYTES) throw new Error(`${name} has more than ${MOST_BYTES / 1e6} MB: cut the file.`);
    const bytes = await content.arrayBuffer();
    if (number !== newest) return false;
    const request = { name, content: bytes, simulated: isSample, settings: settings.value };
    const answer = await worker.request("read", request, { transfer: [bytes] }).answer;
    if (number !== newest) return false;
    batch(() => {
      labels.value = answer.labels;
      file.value = answer.file;
      readFailure.value = answer.failure;
      readingName.value = null;
    });
    return answer.file !== null;
  } catch (error) {
    if (number !== newest) return false;
    batch(() => {
      file.value = null;
      readFailure.value = failureOf(error);
      readingName.value = null;
    });
    return false;
  }
}
