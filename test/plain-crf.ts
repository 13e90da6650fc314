// The fully connected CRF as its papers define it, in float64 and without a thought for speed: what the addon is held
// against. Mean field after Krähenbühl and Koltun, "Efficient inference in fully connected CRFs with Gaussian edge
// potentials" (2011); the lattice after Adams, Baek and Davis, "Fast high-dimensional filtering using the permutohedral
// lattice" (2010). `gaussianFilter` is what the lattice approximates: the sum over all pairs of pixels.
//
// One thing is done in float32: deciding in which simplex of the lattice a point lies, which makes that simplex's
// vertices exist. Weights are continuous there, but the blur is not: mass that would have gone to a vertex that does not
// exist is lost. So the set of vertices is part of what pydensecrf computes, and a point within 1e-6 of a border has
// to fall on the same side of it. Everything after that decision, weights included, is float64, unless asked otherwise.

import type { NativeCrfOptions, NativePairwise } from '../lib/native';

export interface PlainImage {
  readonly width: number;
  readonly height: number;
  /** uint8 [H,W,channels], for bilateral terms. */
  readonly pixels?: Uint8Array;
  readonly channels: number;
}

/** A position for each pixel: float32 [dimensions,points], in standard deviations. */
export interface PlainFeatures {
  readonly dimensions: number;
  readonly points: number;
  readonly values: Float32Array;
}

/** What a mean field makes of each pixel: marginals float64 [C,H,W], and for the start and each iteration the KL. */
export interface PlainResult {
  readonly marginals: Float64Array;
  /** KL divergence up to the constant log Z, nats over all pixels. */
  readonly klDivergence: readonly number[];
  /** As pydensecrf has it: with the pairwise energy counted twice. */
  readonly klDivergenceOfPydensecrf: readonly number[];
}

/** A linear map of one value per point. */
type Filter = (values: Float64Array) => Float64Array;
type Rounding = (value: number) => number;

/**
 * What of the lattice is float32: nothing, the choice of simplices or, as in pydensecrf, a point's whole position, from
 * which its weights come too.
 */
export type Float32Part = 'nothing' | 'simplices' | 'positions';

// In locals, for speed: jest's sandbox makes every look-up of a global slow.
const { exp, floor, fround, log, max, sqrt } = Math;

export function plainFeatures(
  { width, height, pixels, channels }: PlainImage,
  { kernel, deviations, features }: Pick<NativePairwise, 'kernel' | 'deviations' | 'features'>,
  coordinates: 'yx' | 'xy',
): PlainFeatures {
  const points = width * height;
  if (kernel === 'features') {
    const values = features as Float32Array;
    return { dimensions: values.length / points, points, values };
  }
  const x = (i: number) => i % width;
  const y = (i: number) => floor(i / width);
  const colour = (c: number) => (i: number) =>
    (pixels as Uint8Array)[i * channels + (channels === 1 ? 0 : c)] as number;
  const [first, second] = coordinates === 'xy' ? [0, 1] : [1, 0];
  const order = kernel === 'gaussian' ? [first, second] : [first, second, 2, 3, 4];
  const axes = [x, y, colour(0), colour(1), colour(2)];
  const rows = order.map((axis) =>
    Float32Array.from({ length: points }, (_, i) => (axes[axis] as typeof x)(i) / (deviations[axis] as number)),
  );
  return { dimensions: rows.length, points, values: Float32Array.from(rows.flatMap((row) => [...row])) };
}

/** A point's simplex: for each of its d+1 vertices the d+1 integer coordinates and the point's weight. */
interface Simplex {
  readonly vertices: readonly (readonly number[])[];
  readonly weights: readonly number[];
}

/** The point in the hyperplane of R^(d+1) whose coordinates sum to 0; the lattice's blur has variance 1 there (p. 5-6). */
function elevate(position: readonly number[], round: Rounding): number[] {
  const d = position.length;
  const deviation = round(sqrt(2 / 3) * (d + 1));
  const elevated = new Array<number>(d + 1).fill(0);
  let sum = 0;
  for (let j = d; j > 0; j--) {
    const scaled = round((position[j - 1] as number) * round((1 / sqrt(j * (j + 1))) * deviation));
    elevated[j] = round(sum - round(j * scaled));
    sum = round(sum + scaled);
  }
  elevated[0] = sum;
  return elevated;
}

function roundHalfEven(value: number): number {
  const below = floor(value);
  const rest = value - below;
  return rest < 0.5 || (rest === 0.5 && below % 2 === 0) ? below : below + 1;
}

/** The simplex around a point (Adams et al., section 3.1): the nearest remainder-0 vertex, then the differences' order. */
function enclosing(position: readonly number[], float32: Float32Part): Simplex {
  const exactly: Rounding = (value) => value;
  const round = float32 === 'nothing' ? exactly : fround;
  const size = position.length + 1;
  const rounded = elevate(position, round);
  const nearest = rounded.map((value) => roundHalfEven(round(value * round(1 / size))));
  const origin = nearest.map((multiple) => multiple * size);
  const differences = rounded.map((value, i) => round(value - (origin[i] as number)));
  const excess = nearest.reduce((sum, multiple) => sum + multiple, 0);
  // Rank 0 has the largest difference; of equals the earlier comes first, as in pydensecrf.
  const ranks = differences.map((own, i) => {
    const before = differences.filter((other, j) => own < other || (own === other && j < i)).length;
    return before + excess;
  });
  // Where the nearest multiples do not sum to 0, those that were rounded too far go back.
  for (const [i, rank] of ranks.entries()) {
    const turn = rank < 0 ? size : rank >= size ? -size : 0;
    ranks[i] = rank + turn;
    origin[i] = (origin[i] as number) + turn;
  }
  const vertices = Array.from({ length: size }, (_, remainder) =>
    origin.map((value, i) => value + ((ranks[i] as number) < size - remainder ? remainder : remainder - size)),
  );
  const placed = float32 === 'positions' ? rounded : elevate(position, exactly);
  return { vertices, weights: barycentric(placed, origin, ranks) };
}

/** Barycentric coordinates (p. 10): differences of neighbours in the order of the ranks. */
function barycentric(elevated: readonly number[], origin: readonly number[], ranks: readonly number[]): number[] {
  const size = elevated.length;
  const byRank = new Array<number>(size).fill(0);
  for (const [i, rank] of ranks.entries()) byRank[rank] = ((elevated[i] as number) - (origin[i] as number)) / size;
  const at = (rank: number) => byRank[rank] as number;
  return Array.from({ length: size }, (_, k) => (k === 0 ? 1 + at(size - 1) - at(0) : at(size - 1 - k) - at(size - k)));
}

/** Splat, blur along the d+1 axes, slice. */
export function latticeFilter(
  { dimensions, points, values }: PlainFeatures,
  float32: Float32Part = 'simplices',
): { readonly filter: Filter; readonly vertices: number } {
  const size = dimensions + 1;
  const indices = new Map<string, number>();
  const keys: (readonly number[])[] = [];
  const indexOf = (key: readonly number[]) => {
    const name = key.join();
    const known = indices.get(name);
    if (known !== undefined) return known;
    indices.set(name, keys.length);
    return keys.push(key) - 1;
  };
  const simplices = Array.from({ length: points }, (_, i) => {
    const position = Array.from({ length: dimensions }, (_, k) => values[k * points + i] as number);
    const { vertices, weights } = enclosing(position, float32);
    return { vertices: vertices.map(indexOf), weights };
  });
  const neighbour = (key: readonly number[], axis: number, step: 1 | -1) =>
    indices.get(key.map((value, k) => value + step * (k === axis ? -dimensions : 1)).join()) ?? -1;
  const neighbours = Array.from({ length: size }, (_, axis) =>
    keys.map((key) => [neighbour(key, axis, 1), neighbour(key, axis, -1)] as const),
  );

  const filter: Filter = (input) => {
    let lattice = new Float64Array(keys.length);
    for (const [i, { vertices, weights }] of simplices.entries()) {
      for (const [k, vertex] of vertices.entries()) {
        lattice[vertex] = (lattice[vertex] as number) + (weights[k] as number) * (input[i] as number);
      }
    }
    for (const pairs of neighbours) {
      const before = lattice;
      lattice = before.map((value, vertex) => {
        const [after, earlier] = pairs[vertex] as readonly [number, number];
        return value + ((before[after] ?? 0) + (before[earlier] ?? 0)) / 2;
      });
    }
    const scale = 1 / (1 + 2 ** -dimensions);
    return Float64Array.from(simplices, ({ vertices, weights }) =>
      vertices.reduce((sum, vertex, k) => sum + (weights[k] as number) * (lattice[vertex] as number) * scale, 0),
    );
  };
  return { filter, vertices: keys.length };
}

/** The filter itself, over all pairs of points: exp(-|f_i - f_j|^2 / 2), each point's own value included. */
export function gaussianFilter({ dimensions, points, values }: PlainFeatures): Filter {
  const weights = new Float64Array(points * points);
  for (let i = 0; i < points; i++) {
    for (let j = 0; j < points; j++) {
      let squared = 0;
      for (let k = 0; k < dimensions; k++) {
        squared += ((values[k * points + i] as number) - (values[k * points + j] as number)) ** 2;
      }
      weights[i * points + j] = exp(-squared / 2);
    }
  }
  return (input) =>
    input.map((_, i) => {
      let sum = 0;
      for (let j = 0; j < points; j++) sum += (weights[i * points + j] as number) * (input[j] as number);
      return sum;
    });
}

function normalised(filter: Filter, points: number, normalization: NativePairwise['normalization']): Filter {
  if (normalization === 'none') return filter;
  const power = normalization === 'symmetric' ? -0.5 : -1;
  const factors = filter(new Float64Array(points).fill(1)).map((norm) => (norm + 1e-20) ** power);
  const scaled: Filter = (values) => values.map((value, i) => value * (factors[i] as number));
  if (normalization === 'before') return (values) => filter(scaled(values));
  if (normalization === 'after') return (values) => scaled(filter(values));
  return (values) => scaled(filter(scaled(values)));
}

/** The energy that the filtered marginals [C][points] mean for each label: a cost per label, or a reward for agreeing. */
function messageOf(filtered: readonly Float64Array[], compatibility: Float32Array): Float64Array[] {
  const classes = filtered.length;
  if (compatibility.length === 1 || compatibility.length === classes) {
    const weight = (c: number) => compatibility[compatibility.length === 1 ? 0 : c] as number;
    return filtered.map((row, c) => row.map((value) => -weight(c) * value));
  }
  return filtered.map((own, a) =>
    own.map((_, i) =>
      filtered.reduce((sum, row, b) => sum + (compatibility[a * classes + b] as number) * (row[i] as number), 0),
    ),
  );
}

/** softmax of [C][points] over C. */
function softmax(logits: readonly Float64Array[]): Float64Array[] {
  const points = (logits[0] as Float64Array).length;
  const result = logits.map((row) => new Float64Array(row));
  for (let i = 0; i < points; i++) {
    const largest = result.reduce((most, row) => max(most, row[i] as number), -Infinity);
    let sum = 0;
    for (const row of result) {
      row[i] = exp((row[i] as number) - largest);
      sum += row[i] as number;
    }
    for (const row of result) row[i] = (row[i] as number) / sum;
  }
  return result;
}

const dot = (a: readonly Float64Array[], b: readonly Float64Array[]) =>
  a.reduce(
    (sum, row, c) => sum + row.reduce((part, value, i) => part + value * ((b[c] as Float64Array)[i] as number), 0),
    0,
  );

/** Sum of Q log Q, of U Q, and of all Q * message: the terms of the KL divergence. */
function divergence(marginals: Float64Array[], unary: Float64Array[], messages: Float64Array[]) {
  const logarithms = marginals.map((row) => row.map((value) => (value > 0 ? log(value) : 0)));
  return { local: dot(marginals, logarithms) + dot(marginals, unary), pairwise: dot(marginals, messages) };
}

/**
 * Mean field (Krähenbühl and Koltun, algorithm 1), for `iterations` or until one lowers the KL divergence by less than
 * `tolerance` nats per pixel.
 *
 * `unary` is float [C,H,W]; `exact` takes the sum over all pairs in place of the lattice.
 */
export function plainCrf(
  image: PlainImage,
  { pairwise, coordinates, iterations, tolerance }: NativeCrfOptions,
  unary: Float32Array,
  { exact = false, float32 = 'simplices' }: { readonly exact?: boolean; readonly float32?: Float32Part } = {},
): PlainResult & { readonly vertices: readonly number[] } {
  const points = image.width * image.height;
  const classes = unary.length / points;
  const vertices: number[] = [];
  const terms = pairwise.map((term) => {
    const features = plainFeatures(image, term, coordinates);
    if (exact) return { ...term, filter: normalised(gaussianFilter(features), points, term.normalization) };
    const lattice = latticeFilter(features, float32);
    vertices.push(lattice.vertices);
    return { ...term, filter: normalised(lattice.filter, points, term.normalization) };
  });
  const energies = Array.from({ length: classes }, (_, c) =>
    Float64Array.from(unary.subarray(c * points, (c + 1) * points)),
  );
  const messagesOf = (marginals: Float64Array[]) => {
    const messages = terms.map(({ filter, compatibility }) => messageOf(marginals.map(filter), compatibility));
    return energies.map((row, c) =>
      row.map((_, i) => messages.reduce((sum, message) => sum + ((message[c] as Float64Array)[i] as number), 0)),
    );
  };

  let marginals = softmax(energies.map((row) => row.map((energy) => -energy)));
  let messages = messagesOf(marginals);
  const divergences = [divergence(marginals, energies, messages)];
  const total = ({ local, pairwise }: { local: number; pairwise: number }) => local + pairwise / 2;
  for (let iteration = 1; iteration <= iterations; iteration++) {
    const sent = messages;
    marginals = softmax(
      energies.map((row, c) => row.map((energy, i) => -energy - ((sent[c] as Float64Array)[i] as number))),
    );
    messages = messagesOf(marginals);
    divergences.push(divergence(marginals, energies, messages));
    const [before, now] = divergences.slice(-2).map(total) as [number, number];
    if (tolerance > 0 && before - now < tolerance * points) break;
  }
  return {
    marginals: Float64Array.from(marginals.flatMap((row) => [...row])),
    klDivergence: divergences.map(total),
    klDivergenceOfPydensecrf: divergences.map(({ local, pairwise }) => local + pairwise),
    vertices,
  };
}
