/** A model whose logits depend on every token and calendar feature that its caches have seen; Python has the same. */

import type { ModelManifest } from "../src/manifest";
import type { Normalisation } from "../src/normalisation";
import type {
  DecodeInput,
  DecodeOutput,
  FineInput,
  Floats,
  ModelSessions,
  StepInput,
  StepOutput,
  Tokens,
} from "../src/sessions";

const ROWS = 6;

export interface StubOptions {
  readonly normalisation: Normalisation;
  readonly clip: number;
  readonly vocabulary: number;
}

/** The stub's caches hold one number for each row: the sum of its tokens, and of its calendar features if generated. */
export class StubSessions implements ModelSessions {
  readonly manifest: ModelManifest;
  /** Samples, new rows, shared rows and own rows of each call of `step`. */
  readonly calls: number[][] = [];

  constructor(private readonly options: StubOptions) {
    this.manifest = {
      name: "stub",
      normalisation: options.normalisation,
      clip: options.clip,
      context: 512,
      leastHistory: 8,
      shapes: {
        layers: 1,
        heads: 1,
        headWidth: 1,
        crossHeads: 1,
        crossWidth: 1,
        s1Vocabulary: options.vocabulary,
        s2Vocabulary: options.vocabulary,
      },
      weights: { model: null, tokenizer: null },
      licence: null,
      trainedUntil: null,
      calibration: null,
      files: {},
    };
  }

  async encode({ data, dims }: Floats): Promise<Tokens> {
    const rows = dims[1]!;
    const ids = BigInt64Array.from({ length: rows }, (_, i) =>
      BigInt(Math.floor(Math.abs(data[i * ROWS + 3]!) * 8) % this.options.vocabulary),
    );
    return { s1: { data: ids, dims: [1, rows] }, s2: { data: ids, dims: [1, rows] } };
  }

  async step({ tokens, stamps, position, shared, own }: StepInput): Promise<StepOutput> {
    const [samples, rows] = tokens.s1.dims as [number, number];
    const ownRows = own.keys.dims[3]!;
    this.calls.push([samples, rows, shared.keys.dims[2]!, ownRows]);
    const prefill = position === 0;
    // The history's pairs are two equal tokens, of which Python's stub counts one.
    const added = Float32Array.from(tokens.s1.data, (s1, i) => {
      const features = stamps.data.slice((i % rows) * 5, (i % rows) * 5 + 5).reduce((sum, part) => sum + part, 0n);
      return Number(prefill ? s1 : s1 + tokens.s2.data[i]! + features);
    });
    const before = sum(shared.keys.data);
    const totals = Float32Array.from({ length: samples }, (_, s) => {
      const others = own.keys.data.subarray(s * ownRows, (s + 1) * ownRows);
      return before + sum(others) + sum(added.subarray(s * rows, (s + 1) * rows));
    });
    const last = position + rows - 1;
    const cache = { data: added, dims: [1, samples, 1, rows, 1] };
    const cross = { data: added, dims: [samples, 1, rows, 1] };
    return {
      hidden: { data: totals, dims: [samples, 1] },
      s1Logits: this.logits(totals.map((total) => total + last)),
      added: { keys: cache, values: cache },
      addedCross: { keys: cross, values: cross },
    };
  }

  async fine({ hidden, s1, position, shared, own }: FineInput): Promise<Floats> {
    const ownRows = own.keys.dims[2]!;
    const keys = Float32Array.from(s1.data, (token, s) => {
      const total = sum(shared.keys.data) + sum(own.keys.data.subarray(s * ownRows, (s + 1) * ownRows));
      if (total !== hidden.data[hidden.data.length === 1 ? 0 : s]) throw new Error("The caches disagree.");
      return total + 3 * Number(token) + position;
    });
    return this.logits(keys);
  }

  async decode({ history, tokens }: DecodeInput): Promise<DecodeOutput> {
    const end = history.s1.data.length - 1;
    const values = [...tokens.s1.data.keys()].flatMap((i) => candle(tokens.s1.data[i]!, tokens.s2.data[i]!));
    return {
      last: { data: Float32Array.from(candle(history.s1.data[end]!, history.s2.data[end]!)), dims: [ROWS] },
      values: { data: Float32Array.from(values), dims: [...tokens.s1.dims, ROWS] },
    };
  }

  private logits(keys: Float32Array): Floats {
    const { vocabulary } = this.options;
    const data = [...keys].flatMap((key) =>
      Array.from({ length: vocabulary }, (_, token) => (((token * 37 + 11 * key) % 29) - 14) / 8),
    );
    return { data: Float32Array.from(data), dims: [keys.length, vocabulary] };
  }
}

function sum(values: Float32Array): number {
  return values.reduce((total, value) => total + value, 0);
}

/** A normalised candle of two tokens. */
function candle(s1: bigint, s2: bigint): number[] {
  return Array.from({ length: ROWS }, (_, c) => (((Number(s1) * 5 + Number(s2) * 3 + 7 * c) % 33) - 16) / 16);
}
