/**
 * Random numbers keyed by names: those of Python's `kronos.rng.keyed_uniforms`, bit for bit.
 *
 * The key is a BLAKE2b hash of the seed and the series' name, the generator Philox 4×64 with 10 rounds as in NumPy, and
 * its counter the number of the path: more paths or steps leave the first ones as they are.
 */

const MASK = (1n << 64n) - 1n;

/** Uniform numbers in [0, 1) for sample paths: two per step, one for each token. `[paths, horizon, 2]` */
export function keyedUniforms(
  seed: number | bigint,
  series: string,
  paths: { first: number; count: number },
  horizon: number,
): Float64Array {
  const digest = blake2b(new TextEncoder().encode(`${seed}|${series}`), 16);
  const words = new DataView(digest.buffer);
  const key: Pair = [words.getBigUint64(0, true), words.getBigUint64(8, true)];
  const uniforms = new Float64Array(paths.count * horizon * 2);
  for (let row = 0; row < paths.count; row++) {
    fillUniforms(uniforms.subarray(row * horizon * 2, (row + 1) * horizon * 2), key, BigInt(paths.first + row));
  }
  return uniforms;
}

type Pair = readonly [bigint, bigint];
type Block = readonly [bigint, bigint, bigint, bigint];

/** Fill an array from the stream of one path; NumPy counts before it draws, so the first counter is 1. */
function fillUniforms(out: Float64Array, key: Pair, path: bigint): void {
  for (let start = 0; start < out.length; start += 4) {
    const block = philox([BigInt(start / 4 + 1), 0n, path, 0n], key);
    block.forEach((word, i) => {
      if (start + i < out.length) out[start + i] = Number(word >> 11n) / 2 ** 53;
    });
  }
}

const PHILOX_ROUNDS = 10;
const MULTIPLIERS: Pair = [0xd2e7470ee14c6c93n, 0xca5a826395121157n];
const WEYL: Pair = [0x9e3779b97f4a7c15n, 0xbb67ae8584caa73bn];

/** One block of Philox 4×64 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). */
function philox(counter: Block, key: Pair): Block {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < PHILOX_ROUNDS; round++) {
    const even = MULTIPLIERS[0] * c0;
    const odd = MULTIPLIERS[1] * c2;
    [c0, c1, c2, c3] = [(odd >> 64n) ^ c1 ^ k0, odd & MASK, (even >> 64n) ^ c3 ^ k1, even & MASK];
    k0 = (k0 + WEYL[0]) & MASK;
    k1 = (k1 + WEYL[1]) & MASK;
  }
  return [c0, c1, c2, c3];
}

const INITIAL = [
  0x6a09e667f3bcc908n,
  0xbb67ae8584caa73bn,
  0x3c6ef372fe94f82bn,
  0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n,
  0x9b05688c2b3e6c1fn,
  0x1f83d9abfb41bd6bn,
  0x5be0cd19137e2179n,
];
const SIGMA = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
  [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
  [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
  [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
  [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
  [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
  [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
  [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
  [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
  [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];
const LANES = [
  [0, 4, 8, 12],
  [1, 5, 9, 13],
  [2, 6, 10, 14],
  [3, 7, 11, 15],
  [0, 5, 10, 15],
  [1, 6, 11, 12],
  [2, 7, 8, 13],
  [3, 4, 9, 14],
] as const;
const BLOCK_BYTES = 128;
const BLAKE_ROUNDS = 12;

/** BLAKE2b without key (RFC 7693). */
export function blake2b(data: Uint8Array, size: number): Uint8Array {
  const state = [...INITIAL];
  state[0]! ^= BigInt(0x01010000 ^ size);
  const blocks = Math.max(1, Math.ceil(data.length / BLOCK_BYTES));
  for (let i = 0; i < blocks; i++) {
    const block = new Uint8Array(BLOCK_BYTES);
    block.set(data.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES));
    const last = i === blocks - 1;
    compress(state, new DataView(block.buffer), BigInt(last ? data.length : (i + 1) * BLOCK_BYTES), last);
  }
  const digest = new DataView(new ArrayBuffer(64));
  state.forEach((word, i) => digest.setBigUint64(8 * i, word, true));
  return new Uint8Array(digest.buffer.slice(0, size));
}

function compress(state: bigint[], block: DataView, count: bigint, last: boolean): void {
  const words = Array.from({ length: 16 }, (_, i) => block.getBigUint64(8 * i, true));
  const v = [...state, ...INITIAL];
  v[12]! ^= count;
  if (last) v[14]! ^= MASK;
  for (let round = 0; round < BLAKE_ROUNDS; round++) {
    const order = SIGMA[round % SIGMA.length]!;
    LANES.forEach((lane, i) => mix(v, lane, words[order[2 * i]!]!, words[order[2 * i + 1]!]!));
  }
  for (let i = 0; i < 8; i++) state[i]! ^= v[i]! ^ v[i + 8]!;
}

function mix(v: bigint[], [a, b, c, d]: readonly [number, number, number, number], x: bigint, y: bigint): void {
  v[a] = (v[a]! + v[b]! + x) & MASK;
  v[d] = rotateRight(v[d]! ^ v[a]!, 32n);
  v[c] = (v[c]! + v[d]!) & MASK;
  v[b] = rotateRight(v[b]! ^ v[c]!, 24n);
  v[a] = (v[a]! + v[b]! + y) & MASK;
  v[d] = rotateRight(v[d]! ^ v[a]!, 16n);
  v[c] = (v[c]! + v[d]!) & MASK;
  v[b] = rotateRight(v[b]! ^ v[c]!, 63n);
}

function rotateRight(word: bigint, bits: bigint): bigint {
  return ((word >> bits) | (word << (64n - bits))) & MASK;
}
