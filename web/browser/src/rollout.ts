/**
 * Autoregressive generation of sample paths, as Python's `kronos.inference.engine`: the history is read once and shared
 * by all samples, which only own the rows that they add.
 *
 * Shapes: S samples, T rows of history, H steps, L layers, h heads, e width of a head.
 */

import { sampleTokens, type SamplingParams } from "./sampling";
import type { Floats, Ids, KeysAndValues, ModelSessions, StepOutput, Tokens } from "./sessions";

/** A history to continue. */
export interface Prompt {
  /** `[1, T]` */
  readonly tokens: Tokens;
  /** Calendar features of the history. `[T, 5]` */
  readonly stamps: BigInt64Array;
  /** Calendar features of the steps to generate. `[H, 5]` */
  readonly futureStamps: BigInt64Array;
}

const FEATURES = 5;

/** What all samples share: the history's keys and values, and the states of its last row. */
interface Prefix {
  readonly shared: KeysAndValues;
  readonly sharedCross: KeysAndValues;
  readonly last: StepOutput;
  readonly rows: number;
}

/** Tokens `[S, H]` that continue a history. */
export class Rollout {
  private constructor(
    private readonly sessions: ModelSessions,
    private readonly prompt: Prompt,
    private readonly prefix: Prefix,
    private readonly params: SamplingParams,
  ) {}

  /** Read the history. */
  static async prefill(sessions: ModelSessions, prompt: Prompt, params: SamplingParams): Promise<Rollout> {
    const { layers, heads, headWidth } = sessions.manifest.shapes;
    const rows = prompt.stamps.length / FEATURES;
    const last = await sessions.step({
      tokens: prompt.tokens,
      stamps: { data: prompt.stamps, dims: [rows, FEATURES] },
      position: 0,
      shared: pairOf(() => empty([layers, heads, 0, headWidth])),
      own: pairOf(() => empty([layers, 1, heads, 0, headWidth])),
    });
    const prefix = {
      shared: { keys: dropAxis(last.added.keys, 1), values: dropAxis(last.added.values, 1) },
      sharedCross: { keys: dropAxis(last.addedCross.keys, 0), values: dropAxis(last.addedCross.values, 0) },
      last,
      rows,
    };
    return new Rollout(sessions, prompt, prefix, params);
  }

  /**
   * Generate the steps of some samples.
   *
   * @param uniforms `[S, H, 2]`
   * @param stepDone Awaited after each step, with its number.
   */
  async generate(uniforms: Float64Array, samples: number, stepDone?: (step: number) => Promise<void>): Promise<Tokens> {
    const horizon = this.prompt.futureStamps.length / FEATURES;
    const { layers, heads, headWidth, crossHeads, crossWidth } = this.sessions.manifest.shapes;
    const s1 = new BigInt64Array(samples * horizon);
    const s2 = new BigInt64Array(samples * horizon);
    let own = pairOf(() => empty([layers, samples, heads, 0, headWidth]));
    let ownCross = pairOf(() => empty([samples, crossHeads, 0, crossWidth]));
    let state = this.prefix.last;
    let before: Tokens | null = null;
    for (let step = 0; step < horizon; step++) {
      if (before) {
        state = await this.addCandle(before, step, own);
        own = append(own, state.added, 3);
        ownCross = append(ownCross, state.addedCross, 2);
      }
      before = await this.sample(state, ownCross, stepUniforms(uniforms, samples, step), step);
      for (let s = 0; s < samples; s++) {
        s1[s * horizon + step] = before.s1.data[s]!;
        s2[s * horizon + step] = before.s2.data[s]!;
      }
      await stepDone?.(step + 1);
    }
    return { s1: { data: s1, dims: [samples, horizon] }, s2: { data: s2, dims: [samples, horizon] } };
  }

  /** Read the candle of the previous step. */
  private addCandle(tokens: Tokens, step: number, own: KeysAndValues): Promise<StepOutput> {
    const stamps = this.prompt.futureStamps.slice((step - 1) * FEATURES, step * FEATURES);
    return this.sessions.step({
      tokens,
      stamps: { data: stamps, dims: [1, FEATURES] },
      position: this.prefix.rows + step - 1,
      shared: this.prefix.shared,
      own,
    });
  }

  /** Sample the coarse token of a step, then the fine token given the coarse one. `[S, 1]` each */
  private async sample(
    state: StepOutput,
    own: KeysAndValues,
    [coarse, fine]: readonly [Float64Array, Float64Array],
    step: number,
  ): Promise<Tokens> {
    const { s1Vocabulary, s2Vocabulary } = this.sessions.manifest.shapes;
    const samples = coarse.length;
    const s1 = sampleTokens(state.s1Logits.data, s1Vocabulary, coarse, this.params);
    const logits = await this.sessions.fine({
      hidden: state.hidden,
      s1: { data: s1, dims: [samples] },
      position: this.prefix.rows + step - 1,
      shared: this.prefix.sharedCross,
      own,
    });
    const s2 = sampleTokens(logits.data, s2Vocabulary, fine, this.params);
    return { s1: column(s1), s2: column(s2) };
  }
}

function column(data: BigInt64Array): Ids {
  return { data, dims: [data.length, 1] };
}

/** The numbers for both tokens of a step. */
function stepUniforms(uniforms: Float64Array, samples: number, step: number): [Float64Array, Float64Array] {
  const size = uniforms.length / samples;
  const head = (which: number): Float64Array =>
    Float64Array.from({ length: samples }, (_, s) => uniforms[s * size + 2 * step + which]!);
  return [head(0), head(1)];
}

function pairOf(make: () => Floats): KeysAndValues {
  return { keys: make(), values: make() };
}

function empty(dims: readonly number[]): Floats {
  return { data: new Float32Array(), dims };
}

function dropAxis({ data, dims }: Floats, axis: number): Floats {
  return { data, dims: dims.filter((_, i) => i !== axis) };
}

function append(cache: KeysAndValues, added: KeysAndValues, axis: number): KeysAndValues {
  return { keys: concatenate(cache.keys, added.keys, axis), values: concatenate(cache.values, added.values, axis) };
}

/** Two arrays that differ in the length of one axis, one after the other along it. */
function concatenate(first: Floats, second: Floats, axis: number): Floats {
  const inner = (tensor: Floats): number => tensor.dims.slice(axis).reduce((product, size) => product * size, 1);
  const [one, two] = [inner(first), inner(second)];
  const data = new Float32Array(first.data.length + second.data.length);
  for (let i = 0; i * (one + two) < data.length; i++) {
    data.set(first.data.subarray(i * one, (i + 1) * one), i * (one + two));
    data.set(second.data.subarray(i * two, (i + 1) * two), i * (one + two) + one);
  }
  return { data, dims: first.dims.map((size, i) => (i === axis ? size + second.dims[i]! : size)) };
}
