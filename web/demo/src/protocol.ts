/** Messages between the page and its worker, which reads files and runs the model. */

import type { ColumnNames, Finding, ForecastMetadata, Probability } from "@kronos-forecast/browser";

import type { CandleColumns } from "../../src/chart/candle_columns";

/** What overrides how a file is read; absent options are inferred. */
export interface ReadSettings {
  readonly interval?: string;
  readonly columns?: ColumnNames;
  readonly decimal?: ".";
}

/** What a forecast is made with. */
export interface ForecastSettings {
  readonly horizon: number;
  readonly samples: number;
  readonly seed: number;
  readonly temperature: number;
  readonly topP: number;
  /** Null to detect it from the times. */
  readonly calendar: string | null;
  /** Correct the paths by the calibration, where it is for this sampling. */
  readonly calibrate: boolean;
  /** Market of the calibration's factors; null to infer it from the calendar. */
  readonly market: string | null;
}

/** Requests by kind, with what they ask for. */
export interface Requests {
  /** With `fresh`, files come from the host even if they are stored. */
  load: { folder: string; fresh: boolean };
  read: { name: string; content: ArrayBuffer; simulated: boolean; settings: ReadSettings };
  /** `file` is the number of the file that was read. */
  forecast: { file: number; settings: ForecastSettings };
  /** A table of the forecast with this number: quantiles of each step, or all paths. */
  table: { forecast: number; kind: TableKind };
}

export type TableKind = "quantiles" | "paths";
export type RequestKind = keyof Requests;

/** Answers by the kind of their request. */
export interface Answers {
  load: ModelFacts;
  read: ReadAnswer;
  forecast: ForecastAnswer;
  table: string;
}

/** What the page says about the model. */
export interface ModelFacts {
  readonly name: string;
  readonly licence: string | null;
  readonly context: number;
  readonly leastHistory: number;
  readonly trainedUntil: Readonly<Record<string, string>> | null;
  /** Groups that the calibration was fitted on, such as `crypto 1h`; empty without calibration. */
  readonly groups: readonly string[];
}

/** A failure in the words of the package. */
export interface Failure {
  /** Name of the error, such as `DataError`. */
  readonly name: string;
  readonly message: string;
}

/** A file as it was read; names of its columns are known even if it could not be. */
export interface ReadAnswer {
  readonly labels: readonly string[];
  readonly file: CandleFile | null;
  readonly failure: Failure | null;
}

export interface CandleFile {
  readonly number: number;
  /** Name of the instrument; the file's name if it states none. */
  readonly symbol: string;
  /** The file itself names the instrument. */
  readonly named: boolean;
  readonly interval: string;
  /** Minutes that the clock of the times is ahead of UTC; null if the file does not say it. */
  readonly offset: number | null;
  /** Candles by the seconds of their clock. */
  readonly candles: CandleColumns;
  readonly findings: readonly Finding[];
}

export interface ForecastAnswer {
  readonly number: number;
  /** Seconds of the history's clock. */
  readonly time: readonly number[];
  readonly lastClose: number;
  readonly samples: number;
  /** Quantiles of the close by step. */
  readonly quantiles: readonly { readonly probability: number; readonly values: number[] }[];
  readonly upside: Probability;
  /** Candles of the most central path. */
  readonly central: CandleColumns;
  /** Closes of all paths. */
  readonly closes: readonly number[][];
  readonly metadata: ForecastMetadata;
  /** Seconds that it took, from the candles to the paths. */
  readonly seconds: number;
}

export type RequestMessage = {
  [K in RequestKind]: { readonly id: number; readonly kind: K; readonly content: Requests[K] };
}[RequestKind];
/** A message to the worker: a request, or the wish to end one. */
export type WorkerMessage = RequestMessage | { readonly id: number; readonly kind: "cancel" };

/** A message of the worker about a request: its answer, its failure, or the share of it that is done. */
export type PageMessage =
  | { readonly id: number; readonly kind: "answer"; readonly content: Answers[RequestKind] }
  | { readonly id: number; readonly kind: "failure"; readonly failure: Failure }
  | { readonly id: number; readonly kind: "progress"; readonly share: number };
