/** The manifest of an exported model, `kronos.json`: what a forecast has to know besides the graphs. */

import { CheckpointError } from "./errors";
import type { Normalisation } from "./normalisation";

const FORMAT = "kronos-onnx";
const FORMAT_VERSION = 1;
export const GRAPHS = ["tokenizer-encode.onnx", "tokenizer-decode.onnx", "step.onnx", "fine.onnx"] as const;

/** Sizes of the caches, which are passed empty at first. */
export interface ModelShapes {
  readonly layers: number;
  readonly heads: number;
  readonly headWidth: number;
  /** Heads of the attention of the fine token, and their width. */
  readonly crossHeads: number;
  readonly crossWidth: number;
  /** Number of coarse and of fine tokens. */
  readonly s1Vocabulary: number;
  readonly s2Vocabulary: number;
}

/** Size and hash of a file. */
export interface ExportedFile {
  readonly bytes: number;
  readonly sha256: string;
}

export interface ModelManifest {
  readonly name: string;
  readonly normalisation: Normalisation;
  /** Bound of the normalised candles. */
  readonly clip: number;
  /** Longest window of history and forecast together, in candles. */
  readonly context: number;
  /** Candles of history that the model needs. */
  readonly leastHistory: number;
  readonly shapes: ModelShapes;
  /** SHA-256 of the weights that the graphs were made of; null if unknown. */
  readonly weights: { readonly model: string | null; readonly tokenizer: string | null };
  /** Licence of the weights; null if unknown. */
  readonly licence: string | null;
  /** First date whose candles were not used for training, by market or `all`; null if unknown. */
  readonly trainedUntil: Readonly<Record<string, string>> | null;
  /** Name of the calibration's file, if one ships with the model. */
  readonly calibration: string | null;
  /** Every other file, by name. */
  readonly files: Readonly<Record<string, ExportedFile>>;
}

/** Read the content of a `kronos.json`; throws a `CheckpointError` if it is not the manifest of an export. */
export function parseManifest(content: unknown): ModelManifest {
  const fields = new Fields(content);
  if (fields.get("format") !== FORMAT) {
    throw new CheckpointError("This is not the manifest of an ONNX export: pass the kronos.json of one.");
  }
  if (fields.get("format_version") !== FORMAT_VERSION) {
    throw new CheckpointError(
      `kronos.json has the format version ${String(fields.get("format_version"))}; this release reads version ` +
        `${FORMAT_VERSION}: export the model again.`,
    );
  }
  const normalisation = fields.text("normalisation");
  if (normalisation !== "changes" && normalisation !== "spread") {
    throw new CheckpointError(`Models with the normalisation '${normalisation}' only run in the Python package.`);
  }
  const shapes = fields.record("shapes");
  const files = fields.record("files");
  return {
    name: fields.text("name"),
    normalisation,
    clip: fields.positive("clip"),
    context: fields.positive("context"),
    leastHistory: fields.positive("least_history"),
    shapes: {
      layers: shapes.positive("layers"),
      heads: shapes.positive("heads"),
      headWidth: shapes.positive("head_width"),
      crossHeads: shapes.positive("cross_heads"),
      crossWidth: shapes.positive("cross_width"),
      s1Vocabulary: shapes.positive("s1_vocabulary"),
      s2Vocabulary: shapes.positive("s2_vocabulary"),
    },
    weights: {
      model: fields.record("model").optionalText("sha256"),
      tokenizer: fields.record("tokenizer").optionalText("sha256"),
    },
    licence: fields.optionalText("licence"),
    trainedUntil: fields.optionalTexts("trained_until"),
    calibration: fields.optionalText("calibration"),
    files: Object.fromEntries(
      files.names.map((name) => {
        const file = files.record(name);
        return [name, { bytes: file.positive("bytes"), sha256: file.text("sha256") }];
      }),
    ),
  };
}

/** The fields of a JSON object, checked when they are read. */
class Fields {
  private readonly values: Readonly<Record<string, unknown>>;

  constructor(
    content: unknown,
    private readonly place = "",
  ) {
    if (typeof content !== "object" || content === null) throw this.invalid("");
    this.values = content as Record<string, unknown>;
  }

  get names(): string[] {
    return Object.keys(this.values);
  }

  get(name: string): unknown {
    return this.values[name];
  }

  record(name: string): Fields {
    return new Fields(this.get(name), `${this.place}${name}.`);
  }

  text(name: string): string {
    const value = this.get(name);
    if (typeof value !== "string" || !value) throw this.invalid(name);
    return value;
  }

  optionalText(name: string): string | null {
    return this.get(name) === null || this.get(name) === undefined ? null : this.text(name);
  }

  optionalTexts(name: string): Record<string, string> | null {
    if (this.get(name) === null || this.get(name) === undefined) return null;
    const texts = this.record(name);
    return Object.fromEntries(texts.names.map((key) => [key, texts.text(key)]));
  }

  positive(name: string): number {
    const value = this.get(name);
    if (typeof value !== "number" || !(value > 0)) throw this.invalid(name);
    return value;
  }

  private invalid(name: string): CheckpointError {
    const place = `${this.place}${name}`.replace(/\.$/, "") || "content";
    return new CheckpointError(`kronos.json: invalid ${place}: export the model again.`);
  }
}
