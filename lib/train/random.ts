// Random numbers that depend on what they are for and on nothing else: the seed of the run, a purpose and a number, such
// as the position of a crop in the run. So there is no state to keep: a run that goes on where another stopped, with any
// number of threads, draws the same numbers. The generator is xoshiro128** (Blackman and Vigna, arXiv 1805.01407).

/** What random numbers are drawn for; each has numbers of its own. */
export type Purpose = 'order' | 'augmentation' | 'dropout';

const purposes: Readonly<Record<Purpose, number>> = { order: 1, augmentation: 2, dropout: 3 };

const { imul } = Math;

/** MurmurHash3's finaliser: a bijection of the 32-bit integers. */
function mixed(h: number): number {
  h = imul(h ^ (h >>> 16), 0x85ebca6b);
  h = imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** 32 random bits a call, from four words that are not all 0. */
export function xoshiro128(state: readonly number[]): () => number {
  let [a = 0, b = 0, c = 0, d = 0] = state.map((word) => word | 0);
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

/** A generator of random numbers. */
export class Random {
  /** An integer from 0 to 2^32 - 1. */
  readonly bits: () => number;

  /**
   * @param seed - Of the run, an integer from 0 to 2^53 - 1.
   * @param index - Which of the things of this purpose, an integer from 0 to 2^53 - 1.
   */
  constructor(seed: number, purpose: Purpose, index: number) {
    let hash = 0;
    for (const word of [seed, seed / 2 ** 32, purposes[purpose], index, index / 2 ** 32]) {
      hash = mixed((hash + 0x9e3779b9 + (word >>> 0)) >>> 0);
    }
    // Neighbouring states of a counter, mixed, as the authors advise; not all four can be 0.
    this.bits = xoshiro128([1, 2, 3, 4].map((i) => mixed((hash + imul(i, 0x9e3779b9)) >>> 0)));
  }

  /** A number from 0 to 1, without 1. */
  fraction(): number {
    return this.bits() / 2 ** 32;
  }

  /** An integer from 0 to `count` - 1; `count` is far below 2^32, so that none is noticeably likelier. */
  below(count: number): number {
    return Math.floor(this.fraction() * count);
  }
}

/** The numbers from 0 to `count` - 1 in an order of their own (Fisher and Yates). */
export function shuffled(count: number, random: Random): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let last = count - 1; last > 0; last--) {
    const other = random.below(last + 1);
    const kept = order[last] as number;
    order[last] = order[other] as number;
    order[other] = kept;
  }
  return order;
}
