// Makes a crop of an image and of its labels as networks are trained with: at a random scale, mirrored or not, padded where
// the image is smaller. Only what is in the crop is scaled. What is random is drawn first, and can be looked at.

import type { Random } from './random';

/** An image and the classes of its pixels. */
export interface LabelledImage {
  /** uint8 [H,W,3]. */
  readonly pixels: Uint8Array;
  /** uint8 [H,W]. */
  readonly labels: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** How images are changed before they are learnt from. */
export interface AugmentationOptions {
  /** Size of a crop in pixels. */
  readonly width: number;
  readonly height: number;
  /** The range that scales are drawn from, evenly. */
  readonly scale: readonly [lowest: number, highest: number];
  /** Whether every other crop, on average, is mirrored. */
  readonly flip: boolean;
}

/** A crop of an image. */
export interface Crop {
  /** Size of the whole image after scaling. */
  readonly scaledWidth: number;
  readonly scaledHeight: number;
  /** The crop's left upper corner in the image that was scaled, and mirrored if it is. */
  readonly x: number;
  readonly y: number;
  readonly mirrored: boolean;
}

/** What fills a crop where there is no image. */
export interface Padding {
  readonly color: readonly [number, number, number];
  readonly label: number;
}

/** Draws a crop of an image of some size. */
export function drawCrop(
  random: Random,
  image: { readonly width: number; readonly height: number },
  { width, height, scale: [lowest, highest], flip }: AugmentationOptions,
): Crop {
  const scale = lowest + (highest - lowest) * random.fraction();
  const scaledWidth = Math.max(1, Math.round(image.width * scale));
  const scaledHeight = Math.max(1, Math.round(image.height * scale));
  const x = random.below(Math.max(0, scaledWidth - width) + 1);
  const y = random.below(Math.max(0, scaledHeight - height) + 1);
  return { scaledWidth, scaledHeight, x, y, mirrored: flip && random.below(2) === 1 };
}

/** Weights of the interpolation are whole numbers of this many bits, and so the same on every machine. */
const weightBits = 11;
const one = 1 << weightBits;

/** For each position of an axis of the crop: the two source positions, the second one's weight, and the nearest one. */
interface Axis {
  readonly first: Int32Array;
  readonly second: Int32Array;
  readonly weight: Int32Array;
  readonly nearest: Int32Array;
}

/** Half-pixel centres, without antialiasing, as the network's own resizing and PyTorch's `interpolate`. */
function axisOf(source: number, scaled: number, from: number, count: number, mirrored: boolean): Axis {
  const [first, second, weight, nearest] = [0, 1, 2, 3].map(() => new Int32Array(count)) as [
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
  ];
  for (let i = 0; i < count; i++) {
    const place = mirrored ? scaled - 1 - (from + i) : from + i;
    const exact = Math.max(0, ((place + 0.5) * source) / scaled - 0.5);
    const below = Math.min(source - 1, Math.floor(exact));
    first[i] = below;
    second[i] = Math.min(source - 1, below + 1);
    weight[i] = Math.round((exact - below) * one);
    nearest[i] = Math.min(source - 1, Math.floor(((place + 0.5) * source) / scaled));
  }
  return { first, second, weight, nearest };
}

/**
 * Writes a crop: pixels bilinear, labels of the nearest pixel, padding at the right and below.
 *
 * @param pixels - uint8 [height,width,3] of the crop.
 * @param labels - uint8 [height,width] of the crop.
 */
export function writeCrop(
  image: LabelledImage,
  crop: Crop,
  { width, height }: { readonly width: number; readonly height: number },
  { color, label }: Padding,
  pixels: Uint8Array,
  labels: Uint8Array,
): void {
  const columns = Math.min(width, crop.scaledWidth - crop.x);
  const rows = Math.min(height, crop.scaledHeight - crop.y);
  const across = axisOf(image.width, crop.scaledWidth, crop.x, columns, crop.mirrored);
  const down = axisOf(image.height, crop.scaledHeight, crop.y, rows, false);
  for (let y = 0; y < rows; y++) {
    writeRow(image, across, down, y, pixels.subarray(y * width * 3), labels.subarray(y * width));
    pad(pixels, labels, y * width + columns, (y + 1) * width, color, label);
  }
  pad(pixels, labels, rows * width, height * width, color, label);
}

/** One row of the part of a crop in which the image is. */
function writeRow(
  { pixels: source, labels: classes, width }: LabelledImage,
  { first, second, weight, nearest }: Axis,
  down: Axis,
  y: number,
  pixels: Uint8Array,
  labels: Uint8Array,
): void {
  const upper = (down.first[y] as number) * width;
  const lower = (down.second[y] as number) * width;
  const label = (down.nearest[y] as number) * width;
  const below = down.weight[y] as number;
  const above = one - below;
  const half = 1 << (2 * weightBits - 1);
  for (let x = 0; x < nearest.length; x++) {
    labels[x] = classes[label + (nearest[x] as number)] as number;
    const right = weight[x] as number;
    const left = one - right;
    const [a, b] = [3 * (first[x] as number), 3 * (second[x] as number)];
    for (let channel = 0; channel < 3; channel++) {
      const [i, j] = [a + channel, b + channel];
      const top = (source[3 * upper + i] as number) * left + (source[3 * upper + j] as number) * right;
      const bottom = (source[3 * lower + i] as number) * left + (source[3 * lower + j] as number) * right;
      pixels[3 * x + channel] = (top * above + bottom * below + half) >>> (2 * weightBits);
    }
  }
}

function pad(
  pixels: Uint8Array,
  labels: Uint8Array,
  from: number,
  to: number,
  [r, g, b]: Padding['color'],
  label: number,
): void {
  if (from >= to) return;
  labels.fill(label, from, to);
  for (let i = 3 * from; i < 3 * to; i += 3) {
    pixels[i] = r;
    pixels[i + 1] = g;
    pixels[i + 2] = b;
  }
}
