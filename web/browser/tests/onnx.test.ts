import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

import cases from "../../../tests/golden/browser/bundled.json";
import { CheckpointError } from "../src/errors";
import { readCandles } from "../src/csv/read";
import { forecast } from "../src/forecast";
import { parseManifest } from "../src/manifest";
import { loadModel, type ReadFile } from "../src/onnx";
import { expectClose, flat } from "./golden";

/** An export of the bundled model, which is too large to keep here: `kronos models export` writes it. */
const FOLDER = process.env.KRONOS_ONNX_FOLDER;
/** Of the price: the networks compute in float32, and expected prices have two decimals. */
const TOLERANCE = { relative: 1e-5 };

const MANIFEST = {
  format: "kronos-onnx",
  format_version: 1,
  name: "kronos-nano",
  model: { sha256: "a" },
  tokenizer: { sha256: null },
  normalisation: "changes",
  clip: 5,
  context: 256,
  least_history: 8,
  shapes: {
    layers: 4,
    heads: 3,
    head_width: 64,
    width: 192,
    cross_heads: 4,
    cross_width: 48,
    s1_vocabulary: 1024,
    s2_vocabulary: 1024,
  },
  weights: "float16",
  calibration: null,
  files: { "tokenizer-encode.onnx": { bytes: 3, sha256: "0" } },
};

function files(contents: Record<string, unknown>): ReadFile {
  return async (name) => {
    const content = contents[name];
    return new TextEncoder().encode(typeof content === "string" ? content : JSON.stringify(content));
  };
}

/** A valid graph of another program: y = x. */
const FOREIGN = Uint8Array.from(
  atob("CAg6PQoQCgF4EgF5IghJZGVudGl0eRIHZm9yZWlnbloPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCBAoAEBE="),
  (character) => character.charCodeAt(0),
);

/** An export whose first graph is `graph`; its hash is that in the manifest, unless another is given. */
async function exportWith(graph: Uint8Array<ArrayBuffer>, digest?: string): Promise<ReadFile> {
  const sha256 = digest ?? Buffer.from(await crypto.subtle.digest("SHA-256", graph)).toString("hex");
  const manifest = { ...MANIFEST, files: { "tokenizer-encode.onnx": { bytes: graph.length, sha256 } } };
  return async (name: string) => (name === "kronos.json" ? new TextEncoder().encode(JSON.stringify(manifest)) : graph);
}

describe("manifest", () => {
  it("says what a forecast has to know", () => {
    const manifest = parseManifest(MANIFEST);
    expect(manifest.leastHistory).toBe(8);
    expect(manifest.weights).toEqual({ model: "a", tokenizer: null });
    expect(manifest.shapes.crossWidth).toBe(48);
    expect(manifest.licence).toBeNull();
    expect(parseManifest({ ...MANIFEST, trained_until: { crypto: "2022-12-31" } }).trainedUntil).toEqual({
      crypto: "2022-12-31",
    });
  });

  it.each([
    ["another format", { ...MANIFEST, format: "other" }, "This is not the manifest of an ONNX export"],
    ["a newer version", { ...MANIFEST, format_version: 2 }, "kronos.json has the format version 2; this release reads"],
    ["a missing number", { ...MANIFEST, clip: undefined }, "kronos.json: invalid clip: export the model again."],
    ["a missing size", { ...MANIFEST, shapes: {} }, "kronos.json: invalid shapes.layers: export the model again."],
    ["no object", [], "This is not the manifest of an ONNX export"],
    ["another normalisation", { ...MANIFEST, normalisation: "steps" }, "normalisation 'steps' only run in the Python"],
  ])("is refused with %s", (_, content, message) => {
    expect(() => parseManifest(content)).toThrow(CheckpointError);
    expect(() => parseManifest(content)).toThrow(message);
  });
});

describe("models", () => {
  it.each([
    ["a damaged manifest", { "kronos.json": "{" }, "kronos.json is not JSON: export the model again."],
    [
      "a file of another size",
      { "kronos.json": MANIFEST, "tokenizer-encode.onnx": "longer" },
      "tokenizer-encode.onnx is not the file that was exported: its size differs",
    ],
    [
      "a file of other content",
      { "kronos.json": MANIFEST, "tokenizer-encode.onnx": "abc" },
      "tokenizer-encode.onnx is not the file that was exported: its SHA-256 differs",
    ],
    [
      "an unlisted file",
      { "kronos.json": { ...MANIFEST, files: {} } },
      "kronos.json does not list tokenizer-encode.onnx",
    ],
  ])("are refused with %s", async (_, contents, message) => {
    await expect(loadModel(files(contents))).rejects.toThrow(message);
  });

  it("are refused with a missing file", async () => {
    const found = files({ "kronos.json": MANIFEST });
    const readFile: ReadFile = (name) => (name === "kronos.json" ? found(name) : Promise.reject(new Error("404")));
    const message = "tokenizer-encode.onnx cannot be read (404): copy the whole folder again.";
    await expect(loadModel(readFile)).rejects.toThrow(new CheckpointError(message));
  });

  it.each([
    ["a changed byte", FOREIGN.with(40, 1), "0".repeat(64), "tokenizer-encode.onnx is not the file that was exported"],
    ["no graph", Uint8Array.of(1, 2, 3), undefined, "tokenizer-encode.onnx cannot be loaded ("],
    ["another program's graph", FOREIGN, undefined, "tokenizer-encode.onnx has other inputs or outputs than"],
  ])("are refused with %s", async (_, graph, digest, message) => {
    const loading = loadModel(await exportWith(graph, digest));
    await expect(loading).rejects.toThrow(CheckpointError);
    await expect(loading).rejects.toThrow(message);
  });

  it.runIf(FOLDER)("forecast what Python does", { timeout: 120_000 }, async () => {
    const model = await loadModel(async (name) => new Uint8Array(await readFile(join(FOLDER!, name))));
    for (const { text, symbol, sampling, horizon, samples, seed, ...expected } of cases) {
      const candles = readCandles(text, { symbol });
      const options = { sampling, horizon, samples, seed };
      const raw = await forecast(model, candles, { ...options, calibration: false });
      expectClose(raw.channel("close"), flat(expected.raw), TOLERANCE);
      const corrected = await forecast(model, candles, options);
      expect(corrected.metadata.calibration !== null).toBe(expected.calibrated);
      expectClose(flat(corrected.quantiles(expected.levels)), flat(expected.quantiles), TOLERANCE);
    }
  });
});
