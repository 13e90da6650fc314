// How good labels are near the boundaries of the truth: the mean IoU of the pixels within a band around them, for several
// widths of the band. Kohli, Ladický and Torr, "Robust Higher Order Potentials for Enforcing Label Consistency", 2009, call
// the band a trimap; the first DeepLab paper draws the curve (arXiv 1412.7062, section 5). What images there are, and
// drawing, are for others.

import { DeepLabError, invalidArgument } from '../errors';
import { Confusion } from './confusion';

/** What a {@link Trimap} has counted, to be written down and gone on with. */
export interface TrimapRecord {
  readonly classes: number;
  readonly widths: readonly number[];
  /**
   * For each width, [true class, found class] row by row: the pixels that are within this width, but not within the one
   * before.
   */
  readonly pixels: readonly (readonly number[])[];
}

/**
 * Counts pixels near the boundaries of the truth, over any number of images.
 *
 * A pixel's distance to the boundary is the Euclidean distance, from centre to centre, to the nearest pixel of its image
 * whose true label is another, be it a class or void: 1 for the pixels right beside a boundary. Void pixels are boundary
 * only, and never counted. The edge of the image is no boundary. So on PASCAL VOC, where void lies along the outlines of
 * objects, the band is the one around the void pixels, as in the papers.
 */
export class Trimap {
  readonly widths: readonly number[];
  readonly #classes: number;
  /** Of the pixels that are within a width, but not within the one before. */
  readonly #bands: readonly Confusion[];

  /**
   * @param classes - Number of classes, 1..256; true labels from there on are void.
   * @param widths - Widths of the band in pixels, above 0 and ascending.
   * @throws ERR_INVALID_ARGUMENT
   */
  constructor(classes: number, widths: readonly number[]) {
    if (!Number.isInteger(classes) || classes < 1 || classes > 256)
      throw invalidArgument('classes', 'integer from 1 to 256', classes);
    const ascending = widths.every((width, i) => Number.isFinite(width) && width > (widths[i - 1] ?? 0));
    if (!ascending || widths.length === 0)
      throw invalidArgument('widths', 'ascending numbers above 0', widths.join(', '));
    this.widths = [...widths];
    this.#classes = classes;
    this.#bands = widths.map(() => new Confusion(classes));
  }

  /**
   * Counts an image.
   *
   * @param truth - True labels, uint8 [H,W].
   * @param found - Labels that were found, uint8 [H,W], each below the number of classes.
   * @throws ERR_INVALID_ARGUMENT
   */
  add(truth: Uint8Array, found: Uint8Array, width: number, height: number): void {
    const area = width * height;
    for (const [name, labels] of Object.entries({ truth, found })) {
      if (labels.length !== area)
        throw invalidArgument(`${name}.length`, `${area} (${width}x${height})`, labels.length);
    }
    const classes = this.#classes;
    const squares = this.widths.map((one) => one * one);
    const widest = squares.at(-1) as number;
    const distances = squaredDistances(truth, width, height, classes);
    for (let pixel = 0; pixel < area; pixel++) {
      const label = truth[pixel] as number;
      if (label >= classes) continue;
      const distance = distances[pixel] as number;
      if (distance > widest) continue;
      let band = 0;
      while (distance > (squares[band] as number)) band++;
      const counts = this.#bands[band]?.counts;
      if (counts === undefined) continue;
      const guess = found[pixel] as number;
      if (guess >= classes) throw invalidArgument(`found[${pixel}]`, `class below ${classes}`, guess);
      counts[label * classes + guess] = (counts[label * classes + guess] as number) + 1;
    }
  }

  /**
   * For each width the mean IoU, 0..1, over the classes that the band has, in truth or found; NaN where it has no pixel.
   */
  miou(): number[] {
    const all = new Confusion(this.#classes);
    return this.#bands.map((band) => {
      all.merge(band);
      return all.scores().miou;
    });
  }

  toJSON(): TrimapRecord {
    return { classes: this.#classes, widths: this.widths, pixels: this.#bands.map(({ counts }) => [...counts]) };
  }

  /**
   * Goes on from what `toJSON` gave.
   *
   * @throws ERR_INVALID_ARGUMENT where it is not such.
   */
  static fromJSON(record: TrimapRecord): Trimap {
    const { classes, widths, pixels } = record ?? {};
    if (!Array.isArray(widths) || !Array.isArray(pixels) || pixels.length !== widths.length)
      throw new DeepLabError(
        'ERR_INVALID_ARGUMENT',
        'This is not what a trimap was saved as: widths and pixels differ',
      );
    const trimap = new Trimap(classes, widths);
    for (const [band, { counts }] of trimap.#bands.entries()) {
      const saved: unknown = pixels[band];
      const sound = Array.isArray(saved) && saved.length === counts.length && saved.every(isCount);
      if (!sound) throw invalidArgument(`pixels[${band}]`, `${counts.length} counts of pixels`, saved);
      counts.set(saved);
    }
    return trimap;
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/**
 * The squared distance of each pixel to the nearest one with another label, exactly, in linear time: the two passes of
 * Felzenszwalb and Huttenlocher, "Distance Transforms of Sampled Functions", 2012. One transform does for all classes:
 * to a pixel of a run of equal labels within a row, only the columns of the run matter, and the pixel at each end of it,
 * which has another label and so is as near as anything behind it. So each run has a lower envelope of its own.
 *
 * @param labels - uint8 [H,W]; all from `classes` on are one label, void.
 * @returns float64 [H,W]: Infinity where there is no other label. Void pixels have 0.
 */
export function squaredDistances(labels: Uint8Array, width: number, height: number, classes: number): Float64Array {
  const vertical = verticalDistances(labels, width, height, classes);
  const distances = new Float64Array(width * height);
  const envelope = new Envelope(width);
  for (let y = 0; y < height; y++) {
    const row = y * width;
    for (let start = 0; start < width; ) {
      const label = labels[row + start] as number;
      let end = start + 1;
      while (end < width && same(labels[row + end] as number, label, classes)) end++;
      if (label < classes) {
        envelope.clear();
        if (start > 0) envelope.add(start - 1, 0);
        for (let x = start; x < end; x++) {
          const distance = vertical[row + x] as number;
          if (distance !== far) envelope.add(x, distance * distance);
        }
        if (end < width) envelope.add(end, 0);
        envelope.write(distances, row, start, end);
      }
      start = end;
    }
  }
  return distances;
}

/** More than any image is high. */
const far = 2 ** 31 - 1;

function same(a: number, b: number, classes: number): boolean {
  return a === b || (a >= classes && b >= classes);
}

/** The distance of each pixel to the nearest one with another label in its column, `far` where there is none. */
function verticalDistances(labels: Uint8Array, width: number, height: number, classes: number): Int32Array {
  const distances = new Int32Array(width * height).fill(far);
  const sweep = (pixel: number, before: number) => {
    const beyond = distances[before] as number;
    const alike = same(labels[pixel] as number, labels[before] as number, classes);
    const here = alike ? (beyond === far ? far : beyond + 1) : 1;
    if (here < (distances[pixel] as number)) distances[pixel] = here;
  };
  for (let pixel = width; pixel < distances.length; pixel++) sweep(pixel, pixel - width);
  for (let pixel = distances.length - width - 1; pixel >= 0; pixel--) sweep(pixel, pixel + width);
  return distances;
}

/** The lower envelope of parabolas (x - at)^2 + height. */
class Envelope {
  readonly #at: Float64Array;
  readonly #height: Float64Array;
  /** Where each begins to be the lowest. */
  readonly #from: Float64Array;
  #count = 0;

  constructor(width: number) {
    this.#at = new Float64Array(width + 2);
    this.#height = new Float64Array(width + 2);
    this.#from = new Float64Array(width + 2);
  }

  clear(): void {
    this.#count = 0;
  }

  /** @param at - Greater than that of the last. */
  add(at: number, height: number): void {
    let from = Number.NEGATIVE_INFINITY;
    for (; this.#count > 0; this.#count--) {
      const last = this.#count - 1;
      const before = this.#at[last] as number;
      from = (height + at * at - (this.#height[last] as number) - before * before) / (2 * (at - before));
      if (from > (this.#from[last] as number)) break;
    }
    if (this.#count === 0) from = Number.NEGATIVE_INFINITY;
    this.#at[this.#count] = at;
    this.#height[this.#count] = height;
    this.#from[this.#count++] = from;
  }

  /** Writes the envelope at `start` to `end` - 1 into a row. */
  write(into: Float64Array, row: number, start: number, end: number): void {
    for (let x = start, lowest = 0; x < end; x++) {
      while (lowest + 1 < this.#count && (this.#from[lowest + 1] as number) < x) lowest++;
      const away = x - (this.#at[lowest] as number);
      into[row + x] = this.#count === 0 ? Number.POSITIVE_INFINITY : away * away + (this.#height[lowest] as number);
    }
  }
}
