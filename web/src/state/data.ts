/** The candles that the page works on: where they come from, what the reader found, and the candles themselves. */

import { batch, computed, signal } from "@preact/signals";

import { asFailure, Failure, request } from "../api/client";
import type {
  AssetsResponse,
  CandlesResponse,
  DataFile,
  DataInfo,
  FileRequest,
  ReadOptions,
  TablePreview,
  UploadResponse,
} from "../api/types";
import type { CandleColumns } from "../chart/types";
import { intervalSeconds } from "../formats";
import { shownZone } from "./settings";

export const SAMPLE = "sample:simulated_btc_1h";
const FIRST_PART = 2000;
/** The drawing library takes all candles anew with each part, so that few and large ones are faster. */
const NEXT_PART = 25_000;
/** Times of candles to come, for the window on the chart: as many as a horizon may have. */
const AHEAD = 2000;
/** More candles than anyone can see; beyond, the browser's memory would set the limit. */
const MOST_CANDLES = 200_000;
export const UPLOAD_BYTES = 64e6;

export interface LoadedData {
  file: FileRequest;
  /** Name to show: that of the file, or of the symbol. */
  name: string;
  info: DataInfo;
  candles: CandleColumns;
  /** Rows of the file before the first loaded candle. */
  offset: number;
  digits: number;
  next: number[];
  nextClose: number | null;
}

export const data = signal<LoadedData | null>(null);
/** Name of the file that is being read; null if none is. */
export const readingName = signal<string | null>(null);
export const dataFailure = signal<Failure | null>(null);
interface Attempt {
  /** A file of the server; null for an upload. */
  file: FileRequest | null;
  upload: File | null;
  options: ReadOptions;
  name: string;
}

/** What failed, to try it again with other options. */
export const failedAttempt = signal<Attempt | null>(null);
/** First rows of the file, as written: with a failure, or once someone looks at how the file was read. */
export const preview = signal<TablePreview | null>(null);
export const files = signal<DataFile[]>([]);
export const assets = signal<AssetsResponse["assets"]>([]);

export const isExchange = computed(() => data.value?.file.file_path.startsWith("asset:") ?? false);
export const zone = computed(() => shownZone(data.value ? data.value.info.timezone : "UTC"));
export const seconds = computed(() => intervalSeconds(data.value?.info.timeframe ?? ""));

let reading = new AbortController();

/** Load the lists to choose from: files of the data folder, and symbols of the source. */
export async function loadChoices(): Promise<void> {
  const [listed, symbols] = await Promise.allSettled([
    request<DataFile[]>("api/data-files"),
    request<AssetsResponse>("api/assets"),
  ]);
  if (listed.status === "fulfilled") files.value = listed.value;
  if (symbols.status === "fulfilled") assets.value = symbols.value.assets.filter((asset) => asset.supported);
}

/** Read a file of the server, the sample or a symbol, newest candles first. True if that succeeded. */
export async function openFile(file: FileRequest, name = displayName(file)): Promise<boolean> {
  return attempt(name, { file, upload: null, options: file, name }, () => readCandles(file, name));
}

export async function uploadFile(upload: File, options: ReadOptions = {}): Promise<boolean> {
  const name = upload.name;
  return attempt(name, { file: null, upload, options, name }, async (signal) => {
    if (upload.size > UPLOAD_BYTES) throw new Failure(-2, "too_large", name);
    const form = new FormData();
    form.append("file", upload);
    if (Object.keys(options).length) form.append("options", JSON.stringify(options));
    const stored = await request<UploadResponse>("api/uploads", { form, signal });
    await readCandles({ ...options, file_path: stored.file_path }, name);
  });
}

/** Repeat the last attempt, or read the shown file again, with other options. */
export async function readAgain(options: ReadOptions): Promise<boolean> {
  const failed = failedAttempt.value;
  if (failed?.upload) return uploadFile(failed.upload, options);
  const path = failed?.file?.file_path ?? data.value?.file.file_path;
  const name = failed?.name ?? data.value?.name;
  return path ? openFile({ ...options, file_path: path }, name) : false;
}

/** Fetch the newest candles of an exchange symbol again, quietly: what is shown stays until they are there. */
export async function refreshCandles(): Promise<void> {
  const shown = data.value;
  if (shown && readingName.value === null) {
    try {
      await readCandles(shown.file, shown.name);
    } catch {
      // The state of the server is shown elsewhere; the age of the candles says the rest.
    }
  }
}

/** Fetch the first rows of the file that is shown; quietly, since its candles are there without them. */
export async function loadPreview(): Promise<void> {
  const shown = data.value;
  if (!shown || preview.value || failedAttempt.value || isExchange.value) return;
  try {
    const rows = await request<TablePreview>("api/preview", { json: shown.file, signal: reading.signal });
    if (data.value?.file === shown.file) preview.value = rows;
  } catch {
    // Columns can be named by hand as well.
  }
}

async function attempt(name: string, what: Attempt, work: (signal: AbortSignal) => Promise<void>): Promise<boolean> {
  reading.abort();
  const own = (reading = new AbortController());
  batch(() => {
    readingName.value = name;
    dataFailure.value = null;
  });
  try {
    await work(own.signal);
    batch(() => {
      failedAttempt.value = null;
      preview.value = null;
    });
    return true;
  } catch (error) {
    if (!own.signal.aborted) {
      batch(() => {
        dataFailure.value = asFailure(error);
        failedAttempt.value = what;
        preview.value = dataFailure.value.details.preview ?? null;
      });
    }
    return false;
  } finally {
    if (own === reading) readingName.value = null;
  }
}

async function readCandles(file: FileRequest, name: string): Promise<void> {
  const { signal } = reading;
  const part = await request<CandlesResponse>("api/candles", {
    json: { ...file, limit: FIRST_PART, ahead: AHEAD },
    signal,
  });
  data.value = {
    file,
    name,
    info: part.data_info,
    candles: part.candles,
    offset: part.offset,
    digits: part.digits,
    next: part.next,
    nextClose: part.next_close,
  };
  void loadOlder(signal);
}

/** Fetch the older candles in parts while the page is idle. */
async function loadOlder(signal: AbortSignal): Promise<void> {
  for (;;) {
    const shown = data.value;
    if (!shown || shown.offset === 0 || shown.candles.time.length >= MOST_CANDLES) return;
    await idle();
    let part: CandlesResponse;
    try {
      const before = shown.candles.time[0];
      part = await request<CandlesResponse>("api/candles", {
        json: { ...shown.file, limit: NEXT_PART, before },
        signal,
      });
    } catch {
      return; // what is loaded stays usable, and says how many candles it has
    }
    await idle();
    if (signal.aborted || data.value?.candles !== shown.candles || !part.candles.time.length) return;
    data.value = { ...shown, candles: join(part.candles, shown.candles), offset: part.offset };
  }
}

/** Wait until the browser has nothing better to do; Safari cannot tell, so it gets a short pause. */
function idle(): Promise<void> {
  return new Promise((done) => {
    if ("requestIdleCallback" in window) requestIdleCallback(() => done(), { timeout: 2000 });
    else setTimeout(done, 50);
  });
}

function join(older: CandleColumns, newer: CandleColumns): CandleColumns {
  return {
    time: older.time.concat(newer.time),
    open: older.open.concat(newer.open),
    high: older.high.concat(newer.high),
    low: older.low.concat(newer.low),
    close: older.close.concat(newer.close),
    volume: older.volume && newer.volume ? older.volume.concat(newer.volume) : null,
  };
}

/** A part of candles by position. */
export function slice(candles: CandleColumns, from: number, to: number): CandleColumns {
  return {
    time: candles.time.slice(from, to),
    open: candles.open.slice(from, to),
    high: candles.high.slice(from, to),
    low: candles.low.slice(from, to),
    close: candles.close.slice(from, to),
    volume: candles.volume ? candles.volume.slice(from, to) : null,
  };
}

/** Position of the last candle that opens at or before a time; -1 if there is none. */
export function position(times: number[], time: number): number {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle]! <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

export function displayName(file: FileRequest): string {
  const path = file.file_path;
  if (path.startsWith("asset:")) return path.slice("asset:".length);
  if (path.startsWith("upload:")) return file.symbol ?? `${path.slice(0, 15)}…`;
  return path.startsWith("sample:") ? path.slice("sample:".length) : (path.split("/").pop() ?? path);
}
