// Fully connected CRFs: Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
// Potentials", 2011 (arXiv 1210.5644). Any image and any unary potentials, with or without a network; a network's own CRF
// is the option `crf` of `DeepLab.segment`. The lattices and the mean field are native.

import os from 'node:os';
import { awaitNative, awaitRequest, type CallOptions, callRules, cancellable } from './abort';
import { maxClasses } from './compatibility';
import { type CrfOptions, type CrfParameters, crfRules, defaultCrf } from './crf-options';
import { type Device, deviceRule } from './device';
import { invalidArgument } from './errors';
import { closeWhenForgotten } from './finalization';
import { checkPixelLimit, decodeImage, type ImageInput, type ImageSize, pixelLimitRule } from './image';
import { type CloseOptions, closeRules, Lifetime } from './lifetime';
import { type NativeCrf, type NativeCrfResult, type NativeUnary, native } from './native';
import { booleanRule, checkOptions, integerRule, type OptionRule, threadsRule } from './options';
import { type CheckedTerm, checkClasses, checkFeatures, readTerms } from './pairwise';
import { copyUnary, fitUnary, readUnary, type UnaryInput } from './unary';

/** Options of {@link DenseCrf.create}. Iterations and tolerance are for the calls of `infer` that do not say their own. */
export interface CrfCreateOptions extends CrfOptions, CallOptions {
  /**
   * Where to compute, as for `DeepLab.load`. Default `auto`: a GPU if one can be used, else the CPU;
   * {@link DenseCrf.device} says which.
   */
  readonly device?: Device | undefined;
  /** CPU threads that one inference may use, 1..1024. Default: as many as the process may run in parallel. */
  readonly threads?: number | undefined;
  /** Most pixels that the image may have, against decompression bombs; false for no limit. Default 268402689. */
  readonly limitInputPixels?: number | false | undefined;
}

/** Options of {@link DenseCrf.infer}. */
export interface CrfInferOptions extends Pick<CrfOptions, 'iterations' | 'tolerance'>, CallOptions {
  /** Whether the result has `marginals`: 4 bytes for each pixel and class. Default true. */
  readonly marginals?: boolean | undefined;
  /** Whether the result has `klDivergence`. Default false. */
  readonly klDivergence?: boolean | undefined;
}

/** Options of {@link denseCrf}. */
export interface DenseCrfOptions extends CrfCreateOptions, CrfInferOptions {}

/** What inference in a CRF comes to. */
export interface CrfResult {
  /** The likeliest class of each pixel, uint8 [H,W], row by row. */
  readonly labels: Uint8Array;
  /** Width of the (upright) image in pixels. */
  readonly width: number;
  /** Height of the (upright) image in pixels. */
  readonly height: number;
  /** Number of classes. */
  readonly classes: number;
  /** Unless not asked for: probability of each class at each pixel, float [C,H,W], 0..1, summing to 1 over C. */
  readonly marginals?: Float32Array;
  /** Iterations that were run: fewer than asked for only where there is a tolerance. */
  readonly iterations: number;
  /**
   * If asked for: the KL divergence of the marginals from the CRF's distribution, up to a constant, in nats, summed over
   * the pixels: of the start and after each iteration.
   */
  readonly klDivergence?: readonly number[];
}

const createRules: Readonly<Record<keyof CrfCreateOptions, OptionRule>> = {
  ...crfRules,
  ...callRules,
  device: deviceRule,
  threads: threadsRule,
  limitInputPixels: pixelLimitRule,
};

const inferRules: Readonly<Record<keyof CrfInferOptions, OptionRule>> = {
  iterations: crfRules.iterations,
  tolerance: crfRules.tolerance,
  marginals: booleanRule,
  klDivergence: booleanRule,
  ...callRules,
};

const sideRule: OptionRule = { ...integerRule(1, 2 ** 20), required: true };

/** What errors call the calls that a signal aborts. */
const work = 'CRF';

/**
 * The fully connected CRF of one image, ready to be inferred with any number of unary potentials: the lattices, which
 * take most of the time, are built once. Calls at once are queued, on a thread of their own.
 *
 * @example
 * ```ts
 * import { crfPresets, DenseCrf } from 'deeplab';
 *
 * const crf = await DenseCrf.create(photoPath, {
 *   ...crfPresets['deeplab-v1'],
 *   coordinates: 'xy',
 * });
 * const area = crf.width * crf.height;
 * for (const confidence of [0.6, 0.9]) {
 *   const probabilities = new Float32Array(2 * area).fill(1 - confidence).fill(confidence, area);
 *   const { labels, iterations } = await crf.infer({ probabilities }, { iterations: 50, tolerance: 1e-3 });
 *   console.log(labels[0], iterations);
 * }
 * await crf.close();
 * ```
 */
export class DenseCrf {
  /** Width of the (upright) image in pixels. */
  readonly width: number;
  /** Height of the (upright) image in pixels. */
  readonly height: number;
  /** The device in use, never `auto`: `cpu` or `cuda:0`. */
  readonly device: string;
  /** Bytes of memory that the lattices take, on the device. */
  readonly latticeBytes: number;
  /** Number of lattice vertices of each pairwise term: what its filtering costs is in proportion. */
  readonly vertices: readonly number[];

  readonly #native: NativeCrf;
  readonly #terms: readonly CheckedTerm[];
  readonly #inference: Pick<CrfParameters, 'iterations' | 'tolerance'>;
  readonly #lifetime: Lifetime;

  /** @internal */
  constructor(
    built: NativeCrf,
    terms: readonly CheckedTerm[],
    { width, height }: ImageSize,
    { iterations = defaultCrf.iterations, tolerance = defaultCrf.tolerance }: CrfOptions,
  ) {
    this.width = width;
    this.height = height;
    this.device = built.device;
    this.latticeBytes = built.latticeBytes;
    this.vertices = [...built.vertices];
    this.#native = built;
    this.#terms = terms;
    this.#inference = { iterations, tolerance };
    this.#lifetime = new Lifetime('CRF', built);
    closeWhenForgotten(this, built);
  }

  /**
   * Builds the lattices of an image.
   *
   * @param image - As for `DeepLab.segment`; the size is enough where no term is bilateral.
   * @throws ERR_NOT_FOUND, ERR_INVALID_IMAGE, ERR_IMAGE_TOO_LARGE, ERR_DEVICE_UNAVAILABLE, ERR_DEVICE_FAILED,
   * ERR_OUT_OF_MEMORY, ERR_ABORTED, ERR_TIMEOUT, ERR_NATIVE_ADDON; ERR_INVALID_ARGUMENT for an unknown or wrong option, or pixels or
   * features that do not have the size they should.
   */
  static async create(image: ImageInput | ImageSize, options: CrfCreateOptions = {}): Promise<DenseCrf> {
    checkOptions(options, createRules);
    const terms = readTerms(options.pairwise ?? defaultCrf.pairwise, 'pairwise');
    return await cancellable(options, work, async (signal) =>
      build(await readPixels(image, terms, options, signal), terms, options, signal),
    );
  }

  /**
   * Infers the classes of the pixels by mean field.
   *
   * @param unary - What is known of each pixel. Copied at once: the caller may reuse its arrays.
   * @throws ERR_OUT_OF_MEMORY, ERR_DEVICE_FAILED, ERR_ABORTED, ERR_TIMEOUT, ERR_CLOSED; ERR_INVALID_ARGUMENT for an unknown or wrong
   * option, a unary that does not have the image's size, compatibilities that are not for its number of classes, or
   * values that are not what they should be: the message then names the first such pixel.
   */
  async infer(unary: UnaryInput, options: CrfInferOptions = {}): Promise<CrfResult> {
    checkOptions(options, inferRules);
    const fitted = fitUnary(readUnary(unary), this.width, this.height);
    checkClasses(this.#terms, fitted.classes);
    this.#lifetime.check();
    return await cancellable(options, work, (signal) => this.#lifetime.run(() => this.#infer(fitted, options, signal)));
  }

  async #infer(unary: NativeUnary, options: CrfInferOptions, signal: AbortSignal): Promise<CrfResult> {
    const { iterations = this.#inference.iterations, tolerance = this.#inference.tolerance } = options;
    const { marginals = true, klDivergence = false } = options;
    const start = () => this.#native.infer(unary, { iterations, tolerance, marginals, klDivergence });
    const result = await awaitRequest({ start, cancel: (id) => this.#native.cancel(id) }, signal);
    const { width, height } = this;
    return {
      labels: result.labels,
      width,
      height,
      classes: unary.classes,
      ...course(result, iterations, tolerance, klDivergence),
    };
  }

  /**
   * Bytes of memory that a call of `infer` takes in addition, its result included.
   *
   * @param classes - Number of classes, 2..256.
   * @param marginals - Whether the result is to have them. Default true.
   * @throws ERR_INVALID_ARGUMENT, ERR_CLOSED
   */
  inferenceBytes(classes: number, marginals = true): number {
    const rule = integerRule(2, maxClasses);
    if (!rule.accepts(classes)) throw invalidArgument('classes', rule.expected, classes);
    if (!booleanRule.accepts(marginals)) throw invalidArgument('marginals', booleanRule.expected, marginals);
    this.#lifetime.check();
    return this.#native.inferenceBytes(classes, marginals);
  }

  /**
   * Finishes the calls that were made before, or gives them up, then frees the lattices. Later calls of `infer` reject
   * with ERR_CLOSED; later calls of `close` return the same promise, and may still give up what the first would finish.
   *
   * @throws ERR_INVALID_ARGUMENT for an unknown or wrong option.
   */
  close(options: CloseOptions = {}): Promise<void> {
    checkOptions(options, closeRules);
    return this.#lifetime.close(options.abort ?? false);
  }

  /** For `await using crf = await DenseCrf.create(...)`: the same as {@link DenseCrf.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Refines the classes of an image's pixels by a fully connected CRF. Whoever has several unary potentials for one image
 * saves time with {@link DenseCrf}.
 *
 * @param image - As for `DeepLab.segment`; the size is enough where no term is bilateral.
 * @param unary - What is known of each pixel. Copied at once: the caller may reuse its arrays.
 * @throws What {@link DenseCrf.create} and {@link DenseCrf.infer} throw.
 *
 * @example
 * ```ts
 * import { DeepLab, denseCrf, probabilityFloor } from 'deeplab';
 *
 * const model = await DeepLab.load(modelPath);
 * const { scores } = await model.segment(photoPath, { scores: true });
 * const probabilities = scores.map((score) => Math.max(score, probabilityFloor)); // which it would do by itself
 * const { labels, marginals } = await denseCrf(photoPath, { probabilities }, { ...model.crf, iterations: 5 });
 * console.log(labels.length * model.classes.length === marginals.length); // true
 * await model.close();
 * ```
 */
export async function denseCrf(
  image: ImageInput | ImageSize,
  unary: UnaryInput,
  options: DenseCrfOptions = {},
): Promise<CrfResult> {
  checkOptions(options, { ...createRules, ...inferRules });
  const terms = readTerms(options.pairwise ?? defaultCrf.pairwise, 'pairwise');
  readUnary(unary);
  const kept = copyUnary(unary);
  return await cancellable(options, work, async (signal) => {
    const pixels = await readPixels(image, terms, options, signal);
    // Before the lattices are built, which takes time.
    checkClasses(terms, fitUnary(readUnary(kept), pixels.width, pixels.height).classes);
    const crf = await build(pixels, terms, options, signal);
    try {
      const { marginals, klDivergence } = options;
      return await crf.infer(kept, { marginals, klDivergence, signal });
    } finally {
      await crf.close();
    }
  });
}

/** What the lattices are built of. */
interface Pixels extends ImageSize {
  /** uint8 [H,W,channels]; undefined where no term is bilateral. */
  readonly data: Uint8Array | undefined;
  readonly channels: 1 | 3 | 4;
}

async function readPixels(
  image: ImageInput | ImageSize,
  terms: readonly CheckedTerm[],
  { limitInputPixels }: CrfCreateOptions,
  signal: AbortSignal,
): Promise<Pixels> {
  const coloured = terms.some(({ native }) => native.kernel === 'bilateral');
  const pixels = isSize(image)
    ? sizeOnly(image, coloured, limitInputPixels)
    : await decodeImage(image, limitInputPixels);
  signal.throwIfAborted();
  checkFeatures(terms, pixels.width, pixels.height);
  return coloured ? pixels : { ...pixels, data: undefined };
}

function isSize(image: ImageInput | ImageSize): image is ImageSize {
  return typeof image === 'object' && image !== null && 'width' in image && 'height' in image && !('data' in image);
}

function sizeOnly(image: ImageSize, coloured: boolean, limitInputPixels: number | false | undefined): Pixels {
  checkOptions(image, { width: sideRule, height: sideRule }, 'image');
  if (coloured) throw invalidArgument('image', 'picture, since a bilateral term compares colours,', image);
  checkPixelLimit(image, limitInputPixels);
  return { ...image, data: undefined, channels: 3 };
}

async function build(
  { data, width, height, channels }: Pixels,
  terms: readonly CheckedTerm[],
  options: CrfCreateOptions,
  signal: AbortSignal,
): Promise<DenseCrf> {
  const { coordinates = defaultCrf.coordinates, device = 'auto', threads = os.availableParallelism() } = options;
  const addon = native();
  const pairwise = terms.map(({ native }) => native);
  const settings = { pairwise, coordinates, device, threads, cudnn: '' };
  const built = await awaitNative(() => addon.createCrf(data, width, height, channels, settings), signal);
  return new DenseCrf(built, terms, { width, height }, options);
}

/** How the inference went, and what it has on top of the labels. */
function course({ marginals, klDivergence }: NativeCrfResult, iterations: number, tolerance: number, wanted: boolean) {
  // Inference that may stop early is measured in any case; what was not run is NaN.
  const ends = tolerance > 0 ? klDivergence?.findIndex(Number.isNaN) : undefined;
  const measured = klDivergence?.subarray(0, ends === -1 ? undefined : ends);
  return {
    iterations: measured === undefined ? iterations : measured.length - 1,
    ...(marginals !== undefined && { marginals }),
    ...(wanted && measured !== undefined && { klDivergence: [...measured] }),
  };
}
