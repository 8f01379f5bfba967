/** What a forecast needs of a model: four functions over its networks, and their manifest. */

import type { ModelManifest } from "./manifest";

/** An array of numbers with its shape, row by row. */
export interface Tensor<Data extends Float32Array | BigInt64Array = Float32Array> {
  readonly data: Data;
  readonly dims: readonly number[];
}

export type Floats = Tensor<Float32Array>;
export type Ids = Tensor<BigInt64Array>;

/** Keys and values of the same shape. */
export interface KeysAndValues {
  readonly keys: Floats;
  readonly values: Floats;
}

/** Pairs of tokens: coarse and fine ids. */
export interface Tokens {
  readonly s1: Ids;
  readonly s2: Ids;
}

/** Rows to add to a window: t candles of S samples. */
export interface StepInput {
  /** `[S, t]` */
  readonly tokens: Tokens;
  /** Minute, hour, weekday, day and month. `[t, 5]` */
  readonly stamps: Ids;
  /** Position of the first of the t rows. */
  readonly position: number;
  /** Of the rows that samples share. `[layers, heads, P, e]` */
  readonly shared: KeysAndValues;
  /** Of the samples' own rows. `[layers, S, heads, u, e]` */
  readonly own: KeysAndValues;
}

export interface StepOutput {
  /** State of the last row. `[S, d]` */
  readonly hidden: Floats;
  /** `[S, V1]` */
  readonly s1Logits: Floats;
  /** Of the new rows. `[layers, S, heads, t, e]` */
  readonly added: KeysAndValues;
  /** Of the new rows, for the attention of the fine token. `[S, 4, t, ec]` */
  readonly addedCross: KeysAndValues;
}

export interface FineInput {
  /** `[S, d]`, or one row while samples share it. */
  readonly hidden: Floats;
  /** Coarse tokens. `[S]` */
  readonly s1: Ids;
  /** Position of the last row. */
  readonly position: number;
  /** `[4, P, ec]` */
  readonly shared: KeysAndValues;
  /** `[S, 4, u, ec]` */
  readonly own: KeysAndValues;
}

export interface DecodeInput {
  /** Tokens of the history. `[1, P]` */
  readonly history: Tokens;
  /** Tokens of the samples' steps. `[S, H]` */
  readonly tokens: Tokens;
}

export interface DecodeOutput {
  /** The history's last candle, normalised. `[6]` */
  readonly last: Floats;
  /** `[S, H, 6]` */
  readonly values: Floats;
}

/** A loaded model. */
export interface ModelSessions {
  readonly manifest: ModelManifest;
  /** Tokens `[1, T]` of normalised candles `[1, T, 6]`. */
  encode(x: Floats): Promise<Tokens>;
  /** Read candles: the history (S = 1, empty caches), or one more candle of every sample. */
  step(input: StepInput): Promise<StepOutput>;
  /** Logits of the fine token `[S, V2]`. */
  fine(input: FineInput): Promise<Floats>;
  /** Normalised candles of tokens. */
  decode(input: DecodeInput): Promise<DecodeOutput>;
}
