// A loaded model: the main class of the public API. It checks what the caller asks for, has images decoded, and hands
// pixels to the native session, which queues, computes and cancels. Every failure becomes a DeepLabError here, so that
// its stack leads to the caller.

import os from 'node:os';
import { awaitRequest, signalRule, throwIfAborted } from './abort';
import { type CrfOptions, type CrfParameters, crfOptionsOf, overrideCrf } from './crf-options';
import { cudnnFolder, cudnnRule, type Device, deviceRule, precisionRule } from './device';
import { closeWhenForgotten } from './finalization';
import { fitOverlapRule, fitRule, fitSizeRule, readFit } from './fit';
import { decodeImage, type ImageInput, pixelLimitRule } from './image';
import { Lifetime } from './lifetime';
import {
  fromNative,
  type NativeCrfOptions,
  type NativeModel,
  type NativeSegmentOptions,
  native,
  type Precision,
} from './native';
import { booleanRule, checkOptions, integerRule, type OptionRule, outputStrideRule, threadsRule } from './options';
import { vocPalette } from './palette';
import { fuseRule, readScales, scalesRule } from './scales';
import { type ClassInfo, Segmentation } from './segmentation';
import { resolveWeights } from './weights';

/** Options of {@link DeepLab.load}. */
export interface LoadOptions {
  /**
   * Output stride of the network: pixels of its input for each cell of its logits, 8 or 16. Default: the weights
   * file's. The weights are the same, the rates of the ASPP change with it; at 8 the network is finer and takes about
   * three times as long (DeepLab v3, section 4.1). VGG-16 has 8.
   */
  readonly outputStride?: 8 | 16 | undefined;
  /**
   * Where to compute: `cpu`, `cuda` (the first GPU that can be used) or `cuda:<number>`. Default `auto`: a GPU if one
   * can be used, else the CPU; {@link DeepLab.device} says which. A device that is named but cannot be had is an error:
   * there is no silent fall-back.
   */
  readonly device?: Device | undefined;
  /**
   * Precision of the network: `f32` everywhere, `f16` on GPUs, `tf32` on GPUs of compute capability 8.0 and later, `bf16`
   * on these and on CPUs with AVX512-BF16 or AMX. Default `auto`, the fastest that is accurate on the device: `f16` on
   * GPUs, `bf16` on CPUs with AMX, else `f32`.
   */
  readonly precision?: 'auto' | Precision | undefined;
  /**
   * Folder that has `libcudnn.so.9`, looked at before the usual places (docs/gpu.md) when the process uses a GPU for the
   * first time. Default: the environment variable DEEPLAB_CUDNN.
   */
  readonly cudnn?: string | undefined;
  /** CPU threads that one inference may use, 1..1024. Default: as many as the process may run in parallel. */
  readonly threads?: number | undefined;
  /**
   * Winograd F(4x4,3x3) for the 3x3 convolutions in f32. Default true. Faster, at a relative error up to 1e-3 instead
   * of 1e-5, and four times the memory for the weights of these convolutions.
   */
  readonly winograd?: boolean | undefined;
  /** Number of image sizes whose compiled networks are kept, 1..1024; the least recently used goes first. Default 8. */
  readonly cacheSize?: number | undefined;
}

/** Options of {@link DeepLab.segment}. */
export interface SegmentOptions {
  /**
   * How the image meets the network. `native`: as it is, whatever its size. `resize`: its longer side is resized to
   * `size` first. `tile`: as it is, in overlapping squares of side `size`, whose logits are blended, so that memory is
   * that of a tile, and of the whole image's coarse logits. Labels always have the size of the image. Default: what the
   * weights file says (its `input_size`: `native`, or resized to a size that the network is made for).
   */
  readonly fit?: 'native' | 'resize' | 'tile' | undefined;
  /**
   * With `fit: 'resize'` the longer side, with `tile` the side of a tile, in pixels, 1..32768. Default: the size in the
   * weights file, or 513. A tile's is rounded down to a multiple of the output stride and one pixel more.
   */
  readonly size?: number | undefined;
  /** With `fit: 'tile'`: pixels that neighbouring tiles share, 0..size-1. Default: a quarter of `size`. */
  readonly overlap?: number | undefined;
  /**
   * Scales of the image at which the network runs, 1..8 different numbers from 0.25 to 4, of which one is 1. Default
   * [1]. Logits are brought to the grid of scale 1 and fused (DeepLab v2, section 3.2, has 0.5, 0.75 and 1). The time
   * grows with the sum of their squares.
   */
  readonly scales?: readonly number[] | undefined;
  /**
   * How logits of several scales, and of the mirrored image, become one: `max`, the largest of each class, as DeepLab
   * v2 does, or `mean`. Default `max`. Without `scales` and `flip` there is nothing to fuse.
   */
  readonly fuse?: 'max' | 'mean' | undefined;
  /** Whether the network sees each scale mirrored left to right as well, at twice the time. Default false. */
  readonly flip?: boolean | undefined;
  /**
   * Whether a fully connected CRF refines the labels, and the scores: they are then its marginals. Default false. `true`
   * takes the model's own parameters, {@link DeepLab.crf}; an object takes them with these instead, where `pairwise`
   * replaces all terms, of which none may have the kernel `features`.
   */
  readonly crf?: boolean | CrfOptions | undefined;
  /** Whether the result has `scores`: 4 bytes for each pixel and class. Default false. */
  readonly scores?: boolean | undefined;
  /** Whether the result has `logits`, fused where there are several. Default false. */
  readonly logits?: boolean | undefined;
  /** Cancels the call: it then rejects with ERR_ABORTED. */
  readonly signal?: AbortSignal | undefined;
  /** Most pixels that the image may have, against decompression bombs; false for no limit. Default 268402689. */
  readonly limitInputPixels?: number | false | undefined;
}

const loadRules: Readonly<Record<keyof LoadOptions, OptionRule>> = {
  outputStride: outputStrideRule,
  device: deviceRule,
  precision: precisionRule,
  cudnn: cudnnRule,
  threads: threadsRule,
  winograd: booleanRule,
  cacheSize: integerRule(1, 1024),
};

const segmentRules: Readonly<Record<keyof SegmentOptions, OptionRule>> = {
  fit: fitRule,
  size: fitSizeRule,
  overlap: fitOverlapRule,
  scales: scalesRule,
  fuse: fuseRule,
  flip: booleanRule,
  crf: {
    expected: 'boolean or object',
    accepts: (value) => typeof value === 'boolean' || (typeof value === 'object' && value !== null),
  },
  scores: booleanRule,
  logits: booleanRule,
  signal: signalRule,
  limitInputPixels: pixelLimitRule,
};

/**
 * A DeepLab network with its weights, ready to segment images. One model takes any number of calls at once: they are
 * queued and computed one after the other, on a CPU each on all its threads, and never on the threads that Node needs
 * for files. On a GPU, pixels and labels of one call travel while another is computed.
 *
 * @example
 * ```ts
 * import { DeepLab } from 'deeplab';
 *
 * const model = await DeepLab.load(modelPath, { precision: 'auto' });
 * const { labels, width, height } = await model.segment(photoPath);
 * const centre = labels[(height >> 1) * width + (width >> 1)];
 * console.log(model.classes[centre].name);
 * await model.close();
 * ```
 */
export class DeepLab {
  /** The classes that the model knows, by id. Without a palette in the weights file, the colours are PASCAL VOC's. */
  readonly classes: readonly ClassInfo[];
  /** `deeplab_v1`, `deeplab_v2` or `deeplab_v3`. */
  readonly architecture: string;
  /** `vgg16`, `resnet50`, `resnet101` or `mobilenet_v2`. */
  readonly backbone: string;
  /** Pixels of the network's input for each cell of its logits: 8 or 16. */
  readonly outputStride: number;
  /** The device in use, never `auto`: `cpu` or `cuda:0`. */
  readonly device: string;
  /** The precision in use. */
  readonly precision: Precision;
  /** CPU threads that one inference uses. */
  readonly threads: number;
  /** The `__metadata__` of the weights file, as it stands there. */
  readonly metadata: Readonly<Record<string, string>>;

  readonly #native: NativeModel;
  readonly #crf: NativeCrfOptions;
  readonly #lifetime: Lifetime;

  private constructor(loaded: NativeModel) {
    const { info } = loaded;
    const palette = info.palette.length > 0 ? info.palette : vocPalette(info.classes.length);
    this.classes = info.classes.map((name, id) => ({ id, name, color: palette[id] ?? [0, 0, 0] }));
    this.architecture = info.architecture;
    this.backbone = info.backbone;
    this.outputStride = info.outputStride;
    this.device = info.device;
    this.precision = info.precision;
    this.threads = info.threads;
    this.metadata = info.metadata;
    this.#native = loaded;
    this.#crf = info.crf;
    this.#lifetime = new Lifetime('model', () => loaded.close());
    closeWhenForgotten(this, loaded);
  }

  /**
   * The fully connected CRF that belongs to the network: the one that its weights file names, or else the published one
   * of its backbone. For `segment`, and for {@link denseCrf}.
   */
  get crf(): CrfParameters {
    return crfOptionsOf(this.#crf, this.classes.length);
  }

  /**
   * Loads a model.
   *
   * @param pathOrName - Path of a `.safetensors` file, or name of a model in this package's weights folder.
   * @throws ERR_NOT_FOUND, ERR_INVALID_WEIGHTS, ERR_UNSUPPORTED_MODEL, ERR_UNSUPPORTED_PRECISION,
   * ERR_DEVICE_UNAVAILABLE, ERR_DEVICE_FAILED, ERR_OUT_OF_MEMORY, ERR_NATIVE_ADDON; ERR_INVALID_ARGUMENT for an unknown
   * or wrong option.
   */
  static async load(pathOrName: string, options: LoadOptions = {}): Promise<DeepLab> {
    checkOptions(options, loadRules);
    const file = await resolveWeights(pathOrName);
    const addon = native();
    try {
      const loaded = await addon.loadModel(file, {
        outputStride: options.outputStride ?? 0,
        device: options.device ?? 'auto',
        precision: options.precision ?? 'auto',
        threads: options.threads ?? os.availableParallelism(),
        winograd: options.winograd ?? true,
        cacheSize: options.cacheSize ?? 8,
        cudnn: cudnnFolder(options.cudnn),
      });
      return new DeepLab(loaded);
    } catch (error) {
      throw fromNative(error);
    }
  }

  /**
   * Says of each pixel of an image which class it belongs to.
   *
   * @param input - A file path, the bytes of an encoded image, decoded pixels or a sharp instance.
   * @throws ERR_NOT_FOUND, ERR_INVALID_IMAGE, ERR_IMAGE_TOO_LARGE, ERR_OUT_OF_MEMORY, ERR_DEVICE_FAILED, ERR_ABORTED,
   * ERR_CLOSED; ERR_INVALID_ARGUMENT for an unknown or wrong option, or pixels that do not have the size they say.
   *
   * @example
   * ```ts
   * import { DeepLab } from 'deeplab';
   *
   * const model = await DeepLab.load(modelPath);
   * const pixels = { data: new Uint8Array(64 * 48 * 3), width: 64, height: 48, channels: 3 };
   * const result = await model.segment(pixels, { scores: true, signal: AbortSignal.timeout(60_000) });
   * console.log(result.scores.length === model.classes.length * 48 * 64); // true
   * await model.close();
   * ```
   *
   * @example
   * ```ts
   * import { DeepLab } from 'deeplab';
   *
   * // Several scales, each mirrored as well: slower, and more accurate.
   * const model = await DeepLab.load(modelPath);
   * const { labels } = await model.segment(photoPath, { scales: [0.5, 0.75, 1], fuse: 'mean', flip: true });
   * console.log(labels.length); // width times height
   * await model.close();
   * ```
   */
  async segment(input: ImageInput, options: SegmentOptions = {}): Promise<Segmentation> {
    checkOptions(options, segmentRules);
    const { crf = false } = options;
    const request: NativeSegmentOptions = {
      ...readFit(options, this.metadata),
      scales: readScales(options.scales ?? [1]),
      fuse: options.fuse ?? 'max',
      flip: options.flip ?? false,
      scores: options.scores ?? false,
      logits: options.logits ?? false,
      ...(crf !== false && { crf: crf === true ? this.#crf : overrideCrf(crf, 'crf', this.#crf, this.classes.length) }),
    };
    return await this.#lifetime.run(() => this.#run(input, request, options));
  }

  async #run(input: ImageInput, request: NativeSegmentOptions, { signal, limitInputPixels }: SegmentOptions) {
    const work = 'segmentation';
    throwIfAborted(signal, work);
    const image = await decodeImage(input, limitInputPixels);
    const { data, width, height, channels } = image;
    const start = () => this.#native.segment(data, width, height, channels, request);
    const result = await awaitRequest({ start, cancel: (id) => this.#native.cancel(id) }, signal, work);
    return new Segmentation(result, image, this.classes);
  }

  /**
   * Finishes the calls that were made before, then frees the weights. Later calls of `segment` reject with ERR_CLOSED;
   * later calls of `close` return the same promise.
   */
  close(): Promise<void> {
    return this.#lifetime.close();
  }

  /** For `await using model = await DeepLab.load(...)`: the same as {@link DeepLab.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
