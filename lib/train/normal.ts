// Normally distributed numbers that depend on a seed and a name only, for initial weights: a tensor has the same values
// whichever others are made, and in whatever order. What happens during a training has a generator with a state instead.

import { createHash } from 'node:crypto';

// In locals: a look-up of a global for each number takes longer than the number.
const { cos, imul, log, PI, sin, sqrt } = Math;

/** 32 random bits a call: xoshiro128** (Blackman and Vigna 2021, arXiv 1805.01407). */
function xoshiro128(state: Uint32Array): () => number {
  let [a, b, c, d] = Array.from(state, (word) => word | 0) as [number, number, number, number];
  return () => {
    const product = imul(b, 5);
    const bits = imul((product << 7) | (product >>> 25), 9);
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = (d << 11) | (d >>> 21);
    return bits >>> 0;
  };
}

/** `count` numbers of mean 0 and the given standard deviation, in pairs of Box and Muller's. */
export function normalNumbers(seed: number, name: string, count: number, deviation: number): Float32Array {
  const digest = createHash('sha256').update(`${seed}\n${name}`).digest();
  const next = xoshiro128(Uint32Array.from({ length: 4 }, (_, i) => digest.readUInt32LE(4 * i)));
  const values = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    // Above 0, so that its logarithm is finite.
    const radius = deviation * sqrt(-2 * log((next() + 1) / 2 ** 32));
    const angle = (2 * PI * next()) / 2 ** 32;
    values[i] = radius * cos(angle);
    if (i + 1 < count) values[i + 1] = radius * sin(angle);
  }
  return values;
}
