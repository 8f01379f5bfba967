/** The worker: reads files and runs the model, so that the page stays responsive. */

import {
  COLUMNS,
  forecast,
  formatInterval,
  KronosError,
  loadModel,
  parseInterval,
  readCandles,
  readLabels,
  type Candles,
  type Forecast,
  type LoadedModel,
  type Times,
} from "@kronos-forecast/browser";

import type { CandleColumns } from "../../src/chart/candle_columns";
import { QUANTILES } from "../../src/quantiles";
import type {
  Answers,
  Failure,
  ForecastAnswer,
  PageMessage,
  RequestKind,
  Requests,
  WorkerMessage,
} from "../src/protocol";
import { decodeText, fileStem } from "./file_text";
import { modelFiles } from "./model_files";
import { pathTable, quantileTable } from "./tables";

interface Context {
  readonly signal: AbortSignal;
  progress(share: number): void;
}

type Handlers = {
  [K in RequestKind]: (content: Requests[K], context: Context) => Answers[K] | Promise<Answers[K]>;
};

/** As many steps as fill the time in which people find their file. */
const WARM_UP = { horizon: 24, samples: 30, seed: 1 };

/** Forecasts whose tables can be asked for: the page may show an older one, if the newest was cancelled as it ended. */
const MOST_RESULTS = 8;

/** What the page has loaded, and made of it; files and forecasts by their numbers. */
let model: LoadedModel | null = null;
let file: { readonly number: number; readonly candles: Candles } | null = null;
let last = 0;
const results = new Map<number, Forecast>();

const running = new Map<number, AbortController>();

let warming: AbortController | null = null;
let warm: Promise<unknown> = Promise.resolve();

/** Forecast invented candles once: the browser optimises the runtime's code while it is used. */
function warmUp(loaded: LoadedModel): void {
  const { context } = loaded.sessions.manifest;
  const rows = context - WARM_UP.horizon;
  const row = [1, 1.02, 0.99, 1.01, 1, 1];
  const invented: Candles = {
    symbol: "",
    interval: parseInterval("1h"),
    times: { wall: Float64Array.from({ length: rows }, (_, i) => i * 3_600_000), offset: null },
    values: Float64Array.from({ length: rows * row.length }, (_, i) => row[i % 6]! + (Math.floor(i / 6) % 7) / 100),
    hasVolume: true,
    findings: [],
  };
  warming = new AbortController();
  warm = forecast(loaded, invented, { ...WARM_UP, signal: warming.signal }).catch(() => {});
}

const HANDLERS: Handlers = {
  async load({ folder, fresh }, { progress }) {
    let total = 0;
    let received = 0;
    const readFile = modelFiles(folder, fresh, (bytes) => {
      received += bytes;
      if (total) progress(Math.min(1, received / total));
    });
    model = await loadModel(async (name) => {
      const content = await readFile(name);
      if (name === "kronos.json") total = content.length + listedBytes(content);
      return content;
    });
    const { manifest } = model.sessions;
    warmUp(model);
    return {
      name: manifest.name,
      licence: manifest.licence,
      context: manifest.context,
      leastHistory: manifest.leastHistory,
      trainedUntil: manifest.trainedUntil,
      groups: model.calibration?.fittedGroups ?? [],
    };
  },

  read({ name, content, simulated, settings }) {
    let labels: readonly string[] = [];
    try {
      const text = decodeText(content, name);
      labels = labelsOf(text, name);
      // The names by which Python's command knows the sample and files: random numbers depend on them.
      const read = readCandles(text, { ...settings, name, ...(simulated ? { symbol: "BTC simulated" } : {}) });
      const candles = { ...read, symbol: read.symbol || fileStem(name) };
      file = { number: ++last, candles };
      const { symbol, interval, times, findings } = candles;
      return {
        labels,
        failure: null,
        file: {
          number: file.number,
          symbol,
          named: read.symbol !== "",
          interval: formatInterval(interval),
          offset: times.offset,
          candles: columnsOf(times, candles.values, candles.hasVolume),
          findings,
        },
      };
    } catch (error) {
      file = null;
      return { labels, file: null, failure: failureOf(error) };
    }
  },

  async forecast({ file: wanted, settings }, { signal, progress }) {
    if (!model || file?.number !== wanted) throw new KronosError("There are no candles or no model to forecast with.");
    const { candles } = file;
    const { horizon, samples, seed, temperature, topP, calendar, calibrate, market } = settings;
    warming?.abort();
    await warm;
    const started = performance.now();
    const made = await forecast(model, candles, {
      horizon,
      samples,
      seed,
      sampling: { temperature, topP },
      ...(calendar === null ? {} : { calendar }),
      ...(calibrate ? {} : { calibration: false }),
      ...(market === null ? {} : { market }),
      signal,
      progress: (done, total) => progress(done / total),
    });
    const seconds = (performance.now() - started) / 1000;
    const number = ++last;
    results.set(number, made);
    if (results.size > MOST_RESULTS) results.delete(results.keys().next().value!);
    return { number, ...answerOf(made, candles.hasVolume, seconds) };
  },

  table({ forecast: number, kind }) {
    const result = results.get(number);
    if (!result) throw new KronosError("This forecast is no longer stored: run it again.");
    return kind === "quantiles" ? quantileTable(result) : pathTable(result);
  },
};

function answerOf(made: Forecast, hasVolume: boolean, seconds: number): Omit<ForecastAnswer, "number"> {
  const { horizon, samples, paths } = made;
  const size = horizon * COLUMNS.length;
  const central = made.representative();
  const closes = made.channel("close");
  const quantiles = made.quantiles(QUANTILES);
  return {
    time: secondsOf(made.times),
    lastClose: made.lastClose,
    samples,
    quantiles: QUANTILES.map((probability, i) => ({ probability, values: quantiles[i]! })),
    upside: made.upsideProbability(),
    central: columnsOf(made.times, paths.subarray(central * size, (central + 1) * size), hasVolume),
    closes: Array.from({ length: samples }, (_, s) => [...closes.subarray(s * horizon, (s + 1) * horizon)]),
    metadata: made.metadata,
    seconds,
  };
}

function secondsOf({ wall }: Times): number[] {
  return Array.from(wall, (stamp) => stamp / 1000);
}

/** Candles in columns for the chart. */
function columnsOf(times: Times, values: Float64Array, hasVolume: boolean): CandleColumns {
  const column = (at: number): number[] => Array.from(times.wall, (_, row) => values[row * COLUMNS.length + at]!);
  return {
    time: secondsOf(times),
    open: column(0),
    high: column(1),
    low: column(2),
    close: column(3),
    volume: hasVolume ? column(4) : null,
  };
}

function labelsOf(text: string, name: string): readonly string[] {
  try {
    return readLabels(text, name);
  } catch {
    return [];
  }
}

/** Bytes of the files that the package reads besides the manifest. */
function listedBytes(manifest: Uint8Array): number {
  const { files = {} } = JSON.parse(new TextDecoder().decode(manifest)) as {
    files?: Record<string, { bytes: number }>;
  };
  return Object.entries(files)
    .filter(([name]) => name !== "README.md")
    .reduce((sum, [, file]) => sum + file.bytes, 0);
}

function failureOf(error: unknown): Failure {
  return error instanceof Error
    ? { name: error.name, message: error.message }
    : { name: "Error", message: String(error) };
}

function send(message: PageMessage): void {
  self.postMessage(message);
}

async function handle<K extends RequestKind>(id: number, kind: K, content: Requests[K]): Promise<void> {
  const controller = new AbortController();
  running.set(id, controller);
  try {
    const context = {
      signal: controller.signal,
      progress: (share: number) => send({ id, kind: "progress", share }),
    };
    send({ id, kind: "answer", content: await HANDLERS[kind](content, context) });
  } catch (error) {
    send({ id, kind: "failure", failure: failureOf(error) });
  } finally {
    running.delete(id);
  }
}

self.addEventListener("message", ({ data: message }: MessageEvent<WorkerMessage>) => {
  if (message.kind === "cancel") running.get(message.id)?.abort();
  else void handle(message.id, message.kind, message.content);
});
