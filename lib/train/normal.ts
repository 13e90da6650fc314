// Normally distributed numbers that depend on a seed and a name only, for initial weights: a tensor has the same values
// whichever others are made, and in whatever order. What a training draws while it runs is random.ts's.

import { createHash } from 'node:crypto';
import { xoshiro128 } from './random';

// In locals: a look-up of a global for each number takes longer than the number.
const { cos, log, PI, sin, sqrt } = Math;

/** `count` numbers of mean 0 and the given standard deviation, in pairs of Box and Muller's. */
export function normalNumbers(seed: number, name: string, count: number, deviation: number): Float32Array {
  const digest = createHash('sha256').update(`${seed}\n${name}`).digest();
  const next = xoshiro128([0, 4, 8, 12].map((at) => digest.readUInt32LE(at)));
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
