/**
 * A model's graphs in ONNX Runtime's WebAssembly build, on one thread.
 *
 * The runtime, 14 MB, is only loaded when a model is. A page whose Content-Security-Policy restricts scripts has to allow
 * `'wasm-unsafe-eval'`.
 */

import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-web";

import { parseCalibration, type Calibration } from "./calibration";
import { CheckpointError } from "./errors";
import { GRAPHS, parseManifest, type ModelManifest } from "./manifest";
import type {
  DecodeInput,
  DecodeOutput,
  FineInput,
  Floats,
  Ids,
  ModelSessions,
  StepInput,
  StepOutput,
  Tokens,
} from "./sessions";

type GraphName = (typeof GRAPHS)[number];

/** Names of each graph's inputs and outputs. */
const VALUES: Readonly<Record<GraphName, readonly [string, string]>> = {
  "tokenizer-encode.onnx": ["x", "s1 s2"],
  "tokenizer-decode.onnx": ["history_s1 history_s2 s1 s2", "last values"],
  "step.onnx": [
    "s1 s2 stamps position shared_keys shared_values own_keys own_values",
    "hidden s1_logits keys values cross_keys cross_values",
  ],
  "fine.onnx": [
    "hidden s1 position shared_cross_keys shared_cross_values own_cross_keys own_cross_values",
    "s2_logits",
  ],
};

type Runtime = typeof import("onnxruntime-web");
/** Returns the content of a file of the export, by its name. */
export type ReadFile = (name: string) => Promise<Uint8Array<ArrayBuffer>>;

/** A loaded model with the calibration that ships with it. */
export interface LoadedModel {
  readonly sessions: ModelSessions;
  readonly calibration: Calibration | null;
}

/**
 * Load an exported model.
 *
 * @param readFile For a folder on a server: `async (name) => new Uint8Array(await (await fetch(folder + name)).arrayBuffer())`.
 * @param wasmPaths Where the runtime's files lie, if not beside the program.
 */
export async function loadModel(readFile: ReadFile, wasmPaths?: string): Promise<LoadedModel> {
  const manifest = parseManifest(parseJson(await read(readFile, "kronos.json"), "kronos.json"));
  const runtime: Runtime = await import("onnxruntime-web/wasm");
  runtime.env.wasm.numThreads = 1;
  if (wasmPaths !== undefined) runtime.env.wasm.wasmPaths = wasmPaths;
  const load = async (name: GraphName): Promise<InferenceSession> =>
    createSession(runtime, name, await readChecked(readFile, manifest, name));
  const [encode, decode, step, fine] = await inOrder(GRAPHS, load);
  const { calibration } = manifest;
  return {
    sessions: new OnnxSessions(manifest, runtime, { encode: encode!, decode: decode!, step: step!, fine: fine! }),
    calibration:
      calibration === null
        ? null
        : parseCalibration(parseJson(await readChecked(readFile, manifest, calibration), calibration)),
  };
}

/** A graph's session, if it has the inputs and outputs of the contract in docs/onnx.md. */
async function createSession(
  runtime: Runtime,
  name: GraphName,
  data: Uint8Array<ArrayBuffer>,
): Promise<InferenceSession> {
  let session: InferenceSession;
  try {
    session = await runtime.InferenceSession.create(data, { executionProviders: ["wasm"] });
  } catch (error) {
    throw new CheckpointError(`${name} cannot be loaded (${firstLine(error)}): export the model again.`);
  }
  const [inputs, outputs] = VALUES[name];
  const same = (names: readonly string[], expected: string): boolean =>
    [...names].sort().join(" ") === expected.split(" ").sort().join(" ");
  if (!same(session.inputNames, inputs) || !same(session.outputNames, outputs)) {
    throw new CheckpointError(`${name} has other inputs or outputs than an exported graph: export the model again.`);
  }
  return session;
}

async function inOrder<T, R>(items: readonly T[], load: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (const item of items) results.push(await load(item));
  return results;
}

function parseJson(data: Uint8Array, name: string): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(data));
  } catch {
    throw new CheckpointError(`${name} is not JSON: export the model again.`);
  }
}

async function read(readFile: ReadFile, name: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return await readFile(name);
  } catch (error) {
    throw new CheckpointError(`${name} cannot be read (${firstLine(error)}): copy the whole folder again.`);
  }
}

function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error).split("\n")[0]!;
}

/** The content of a file, if it is the one that was exported. */
async function readChecked(
  readFile: ReadFile,
  manifest: ModelManifest,
  name: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const expected = manifest.files[name];
  if (!expected) throw new CheckpointError(`kronos.json does not list ${name}: export the model again.`);
  const data = await read(readFile, name);
  // Browsers only compute hashes in pages of HTTPS or localhost; elsewhere the size has to do.
  const subtle = globalThis.crypto?.subtle as SubtleCrypto | undefined;
  const digest = subtle ? hexadecimal(await subtle.digest("SHA-256", data)) : expected.sha256;
  if (data.length !== expected.bytes || digest !== expected.sha256) {
    throw new CheckpointError(
      `${name} is not the file that was exported: its ${data.length === expected.bytes ? "SHA-256" : "size"} differs ` +
        "from the one in kronos.json. Export the model again, or copy the whole folder again.",
    );
  }
  return data;
}

function hexadecimal(digest: ArrayBuffer): string {
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

interface Graphs {
  readonly encode: InferenceSession;
  readonly decode: InferenceSession;
  readonly step: InferenceSession;
  readonly fine: InferenceSession;
}

class OnnxSessions implements ModelSessions {
  constructor(
    readonly manifest: ModelManifest,
    private readonly runtime: Runtime,
    private readonly graphs: Graphs,
  ) {}

  async encode(x: Floats): Promise<Tokens> {
    const { s1, s2 } = await this.graphs.encode.run({ x: this.floats(x) });
    return { s1: idsOf(s1!), s2: idsOf(s2!) };
  }

  async step({ tokens, stamps, position, shared, own }: StepInput): Promise<StepOutput> {
    const results = await this.graphs.step.run({
      s1: this.ids(tokens.s1),
      s2: this.ids(tokens.s2),
      stamps: this.ids(stamps),
      position: this.scalar(position),
      shared_keys: this.floats(shared.keys),
      shared_values: this.floats(shared.values),
      own_keys: this.floats(own.keys),
      own_values: this.floats(own.values),
    });
    return {
      hidden: floatsOf(results.hidden!),
      s1Logits: floatsOf(results.s1_logits!),
      added: { keys: floatsOf(results.keys!), values: floatsOf(results.values!) },
      addedCross: { keys: floatsOf(results.cross_keys!), values: floatsOf(results.cross_values!) },
    };
  }

  async fine({ hidden, s1, position, shared, own }: FineInput): Promise<Floats> {
    const results = await this.graphs.fine.run({
      hidden: this.floats(hidden),
      s1: this.ids(s1),
      position: this.scalar(position),
      shared_cross_keys: this.floats(shared.keys),
      shared_cross_values: this.floats(shared.values),
      own_cross_keys: this.floats(own.keys),
      own_cross_values: this.floats(own.values),
    });
    return floatsOf(results.s2_logits!);
  }

  async decode({ history, tokens }: DecodeInput): Promise<DecodeOutput> {
    const { last, values } = await this.graphs.decode.run({
      history_s1: this.ids(history.s1),
      history_s2: this.ids(history.s2),
      s1: this.ids(tokens.s1),
      s2: this.ids(tokens.s2),
    });
    return { last: floatsOf(last!), values: floatsOf(values!) };
  }

  private floats({ data, dims }: Floats): OrtTensor {
    return new this.runtime.Tensor("float32", data, dims);
  }

  private ids({ data, dims }: Ids): OrtTensor {
    return new this.runtime.Tensor("int64", data, dims);
  }

  private scalar(value: number): OrtTensor {
    return new this.runtime.Tensor("int64", BigInt64Array.of(BigInt(value)), []);
  }
}

function floatsOf(tensor: OrtTensor): Floats {
  return { data: tensor.data as Float32Array, dims: tensor.dims };
}

function idsOf(tensor: OrtTensor): Ids {
  return { data: tensor.data as BigInt64Array, dims: tensor.dims };
}
