// The result of segmenting one image, and what can be made of it. The labels come from native code, the PNG from
// lib/png.ts, the colours from the model.

import sharp from 'sharp';
import { type CallOptions, callRules, cancellable } from './abort';
import { invalidArgument } from './errors';
import type { RawImage } from './image';
import type { NativeSegmentResult } from './native';
import { checkOptions, type OptionRule, oneOfRule } from './options';
import { blendOverlay } from './overlay';
import type { Color } from './palette';
import { encodeIndexedPng } from './png';
import { Tensor } from './tensor';

/** A class that a model knows. */
export interface ClassInfo {
  /** The value that `labels` has for it: 0..255. */
  readonly id: number;
  readonly name: string;
  readonly color: Color;
}

/** A class, and how much of an image it covers. */
export interface ClassShare extends ClassInfo {
  readonly pixels: number;
  /** Part of the image's pixels, 0..1. */
  readonly share: number;
}

/** Options of {@link Segmentation.overlay}. */
export interface OverlayOptions extends CallOptions {
  /** Weight of the class colours, 0..1. Default 0.5. */
  readonly opacity?: number | undefined;
  /** Format of the encoded picture. Default `png`; `jpeg` is smaller, at quality 90. */
  readonly format?: 'png' | 'jpeg' | undefined;
}

const opacityRule: OptionRule = {
  expected: 'number from 0 to 1',
  accepts: (value) => typeof value === 'number' && value >= 0 && value <= 1,
};

/**
 * The classes of an image's pixels. Made by `DeepLab.segment`.
 *
 * @example
 * ```ts
 * import { writeFile } from 'node:fs/promises';
 * import { DeepLab } from 'deeplab';
 *
 * const model = await DeepLab.load(modelPath);
 * const result = await model.segment(photoPath);
 * for (const { name, share } of result.classes) console.log(name, `${(share * 100).toFixed(1)} %`);
 * await writeFile('labels.png', await result.toPng());
 * await writeFile('overlay.jpg', await result.overlay({ opacity: 0.4, format: 'jpeg' }));
 * await model.close();
 * ```
 */
export class Segmentation {
  /** Class id of each pixel, uint8 [H,W], row by row. */
  readonly labels: Uint8Array;
  /** Width of the (upright) image in pixels. */
  readonly width: number;
  /** Height of the (upright) image in pixels. */
  readonly height: number;
  /** Every class of the model with its share of this image, in the order of the ids. */
  readonly classes: readonly ClassShare[];
  /** If asked for: probability of each class at each pixel, float [C,H,W], 0..1, summing to 1 over C. */
  readonly scores?: Float32Array;
  /** If asked for: the network's output before it is brought to the image's size, float [C,h,w]. */
  readonly logits?: Tensor<Float32Array>;
  readonly #image: RawImage;

  /** @internal */
  constructor(
    result: Pick<NativeSegmentResult, 'labels' | 'scores' | 'logits'>,
    image: RawImage,
    classes: readonly ClassInfo[],
  ) {
    this.labels = result.labels;
    this.width = image.width;
    this.height = image.height;
    this.classes = countClasses(result.labels, classes);
    if (result.scores !== undefined) this.scores = result.scores;
    if (result.logits !== undefined) this.logits = new Tensor(result.logits.data, result.logits.shape);
    this.#image = image;
  }

  /**
   * The label map as an indexed PNG: a pixel's palette index is its class id, shown in its class's colour.
   *
   * @throws ERR_ABORTED, ERR_TIMEOUT; ERR_INVALID_ARGUMENT for an unknown or wrong option.
   */
  async toPng(options: CallOptions = {}): Promise<Buffer> {
    checkOptions(options, callRules);
    return await cancellable(options, 'encoding', () =>
      encodeIndexedPng(this.labels, this.width, this.height, this.#palette()),
    );
  }

  /**
   * The photo under the colours of its classes, as an encoded picture of the photo's size.
   *
   * @throws ERR_ABORTED, ERR_TIMEOUT; ERR_INVALID_ARGUMENT for an unknown or wrong option.
   */
  async overlay(options: OverlayOptions = {}): Promise<Buffer> {
    checkOptions(options, { opacity: opacityRule, format: oneOfRule(['png', 'jpeg']), ...callRules });
    const { opacity = 0.5, format = 'png' } = options;
    return await cancellable(options, 'encoding', () => {
      const rgb = blendOverlay(this.#image, this.labels, this.#palette(), opacity);
      // The image has passed the limit of the call that decoded it.
      const raw = { width: this.width, height: this.height, channels: 3 as const };
      const picture = sharp(rgb, { raw, limitInputPixels: false });
      return (format === 'png' ? picture.png() : picture.jpeg({ quality: 90 })).toBuffer();
    });
  }

  /**
   * Where a class is: uint8 [H,W], 255 at its pixels and 0 elsewhere.
   *
   * @param classIdOrName - A class of the model, such as `15` or `'person'`.
   * @throws ERR_INVALID_ARGUMENT for a class that the model does not know.
   *
   * @example
   * ```ts
   * import { DeepLab } from 'deeplab';
   * import sharp from 'sharp';
   *
   * const model = await DeepLab.load(modelPath);
   * const result = await model.segment(photoPath);
   * const { width, height } = result;
   * await sharp(result.mask(0), { raw: { width, height, channels: 1 } }).toFile('mask.png');
   * await model.close();
   * ```
   */
  mask(classIdOrName: number | string): Uint8Array {
    const found = this.classes.find(({ id, name }) => id === classIdOrName || name === classIdOrName);
    if (found === undefined) {
      const known = this.classes.map(({ id, name }) => `${id} ${name}`).join(', ');
      throw invalidArgument('class', `one of ${known}`, classIdOrName);
    }
    return this.labels.map((label) => (label === found.id ? 255 : 0));
  }

  #palette(): Color[] {
    return this.classes.map(({ color }) => color);
  }
}

function countClasses(labels: Uint8Array, classes: readonly ClassInfo[]): ClassShare[] {
  const counts = new Uint32Array(256);
  for (const label of labels) (counts[label] as number)++;
  return classes.map((known) => {
    const pixels = counts[known.id] as number;
    return { ...known, pixels, share: pixels / labels.length };
  });
}
