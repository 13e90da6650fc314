// A loaded model: the main class of the public API. It checks what the caller asks for, has images decoded, and hands
// pixels to the native session, which queues, computes and cancels. Every failure becomes a DeepLabError here, so that
// its stack leads to the caller.

import { awaitNative, awaitRequest, cancellable } from './abort';
import { Admission, readQueueLimit, type Ticket } from './admission';
import { type CrfParameters, crfOptionsOf } from './crf-options';
import { closeWhenForgotten } from './finalization';
import { decodeImage, type ImageInput } from './image';
import { type CloseOptions, closeRules, Lifetime } from './lifetime';
import { type LoadOptions, loadRules, readLoadOptions } from './load-options';
import {
  fromNative,
  type NativeModel,
  type NativeModelInfo,
  type NativeSegmentOptions,
  native,
  type Precision,
} from './native';
import { checkOptions } from './options';
import { vocPalette } from './palette';
import { type ImageSource, type SegmentAllOptions, type SegmentedImage, segmentAll } from './segment-all';
import { readSegmentOptions, type SegmentOptions, segmentRules } from './segment-options';
import { type ClassInfo, Segmentation } from './segmentation';
import { CallStatistics, type ModelStats } from './stats';
import { resolveDefaultWeights, resolveWeights } from './weights';

/**
 * A DeepLab network with its weights, ready to segment images. One model takes any number of calls at once: they are
 * queued and computed one batch after the other, on a CPU each on all its threads, and never on the threads that Node
 * needs for files. On a GPU, pixels and labels of one batch travel while another is computed.
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
  /** Most images that are computed at once. */
  readonly maxBatch: number;
  /** The `__metadata__` of the weights file, as it stands there. */
  readonly metadata: Readonly<Record<string, string>>;

  readonly #native: NativeModel;
  readonly #info: NativeModelInfo;
  readonly #lifetime: Lifetime;
  readonly #admission: Admission;
  readonly #statistics = new CallStatistics();

  private constructor(loaded: NativeModel, admission: Admission) {
    const { info } = loaded;
    const palette = info.palette.length > 0 ? info.palette : vocPalette(info.classes.length);
    this.classes = info.classes.map((name, id) => ({ id, name, color: palette[id] ?? [0, 0, 0] }));
    this.architecture = info.architecture;
    this.backbone = info.backbone;
    this.outputStride = info.outputStride;
    this.device = info.device;
    this.precision = info.precision;
    this.threads = info.threads;
    this.maxBatch = info.maxBatch;
    this.metadata = info.metadata;
    this.#native = loaded;
    this.#info = info;
    this.#lifetime = new Lifetime('model', loaded);
    this.#admission = admission;
    closeWhenForgotten(this, loaded);
  }

  /**
   * The fully connected CRF that belongs to the network: the one that its weights file names, or else the published one
   * of its backbone. For `segment`, and for {@link denseCrf}.
   */
  get crf(): CrfParameters {
    return crfOptionsOf(this.#info.crf, this.classes.length);
  }

  /**
   * Loads a model.
   *
   * @param pathOrName - Path of a `.safetensors` file, or name of a model: one in this package's weights folder, or one
   * that was pulled. Default: the model that ships with the package, `camvid-resnet101`, for road scenes
   * (weights/CARD.md).
   * @throws ERR_NOT_FOUND, ERR_INVALID_WEIGHTS, ERR_UNSUPPORTED_MODEL, ERR_UNSUPPORTED_PRECISION,
   * ERR_DEVICE_UNAVAILABLE, ERR_DEVICE_FAILED, ERR_OUT_OF_MEMORY, ERR_ABORTED, ERR_TIMEOUT, ERR_NATIVE_ADDON;
   * ERR_INVALID_ARGUMENT for an unknown or wrong option.
   */
  static async load(pathOrName?: string, options: LoadOptions = {}): Promise<DeepLab> {
    checkOptions(options, loadRules);
    const settings = readLoadOptions(options);
    const admission = new Admission(readQueueLimit(options.queueLimit ?? {}));
    return await cancellable(options, 'loading', async (signal) => {
      const file = pathOrName === undefined ? await resolveDefaultWeights() : await resolveWeights(pathOrName);
      const addon = native();
      signal.throwIfAborted();
      return new DeepLab(await awaitNative(() => addon.loadModel(file, settings), signal), admission);
    });
  }

  /**
   * Says of each pixel of an image which class it belongs to.
   *
   * @param input - A file path, the bytes of an encoded image, decoded pixels or a sharp instance.
   * @throws ERR_NOT_FOUND, ERR_INVALID_IMAGE, ERR_IMAGE_TOO_LARGE, ERR_OUT_OF_MEMORY, ERR_DEVICE_FAILED,
   * ERR_QUEUE_FULL, ERR_ABORTED, ERR_TIMEOUT, ERR_CLOSED; ERR_INVALID_ARGUMENT for an unknown or wrong option, or pixels
   * that do not have the size they say.
   *
   * @example
   * ```ts
   * import { DeepLab } from 'deeplab';
   *
   * const model = await DeepLab.load(modelPath);
   * const pixels = { data: new Uint8Array(64 * 48 * 3), width: 64, height: 48, channels: 3 };
   * const result = await model.segment(pixels, { scores: true, timeoutMs: 60_000 });
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
    return await this.#segment(input, options, readSegmentOptions(options, this.#info), false);
  }

  /**
   * Segments many images, in bulk: as many at once as `concurrency`, no more of them in memory, and the next is taken
   * from `inputs` only when there is room. An image that fails is reported and does not stop the others.
   *
   * @param inputs - Images, as for `segment`: an array, any iterable or async iterable, a stream of Node (of objects) or of
   * the web.
   * @returns What each comes to, in the order of the inputs, or as they are ready. Leaving the loop cancels what is under
   * way.
   * @throws ERR_ABORTED, ERR_CLOSED, what `inputs` throws; ERR_INVALID_ARGUMENT for an unknown or wrong option.
   *
   * @example
   * ```ts
   * import { DeepLab } from 'deeplab';
   *
   * const model = await DeepLab.load(modelPath, { queueLimit: { count: 100 } });
   * for await (const { input, result, error } of model.segmentAll([photoPath, 'missing.jpg'], { concurrency: 4 })) {
   *   console.log(input, result?.classes ?? error.code);
   * }
   * const { completed, latency } = model.stats();
   * console.log(`${completed} done, 99 % of them within ${latency.total.p99} ms`);
   * await model.close();
   * ```
   */
  segmentAll<T extends ImageInput>(
    inputs: ImageSource<T>,
    options: SegmentAllOptions = {},
  ): AsyncGenerator<SegmentedImage<T>, void, undefined> {
    return segmentAll(inputs, options, 2 * this.maxBatch + 2, (input, each) => {
      return this.#segment(input, each, readSegmentOptions(each, this.#info), true);
    });
  }

  /** @param patient - Whether the call waits for room, rather than being refused. */
  async #segment(
    input: ImageInput,
    options: SegmentOptions,
    request: NativeSegmentOptions,
    patient: boolean,
  ): Promise<Segmentation> {
    this.#lifetime.check();
    try {
      return await cancellable(options, 'segmentation', (signal) =>
        this.#lifetime.run(async () => {
          const start = performance.now();
          const entered = this.#admission.enter(patient ? signal : undefined);
          const ticket = entered instanceof Promise ? await entered : entered;
          try {
            return await this.#run(input, request, options, { start, signal, ticket, patient });
          } finally {
            ticket.leave();
          }
        }),
      );
    } catch (error) {
      const failure = fromNative(error);
      this.#statistics.failed(failure);
      throw failure;
    }
  }

  async #run(
    input: ImageInput,
    request: NativeSegmentOptions,
    { limitInputPixels }: SegmentOptions,
    { start, signal, ticket, patient }: Admitted,
  ): Promise<Segmentation> {
    const decoding = performance.now();
    this.#statistics.decoding++;
    const image = await decodeImage(input, limitInputPixels).finally(() => this.#statistics.decoding--);
    const decode = performance.now() - decoding;
    const { data, width, height, channels } = image;
    const perPixel = channels + 1 + (request.scores ? 4 * this.classes.length : 0);
    await ticket.hold(width * height * perPixel, patient ? signal : undefined);
    const submit = () => this.#native.segment(data, width, height, channels, request);
    const result = await awaitRequest({ start: submit, cancel: (id) => this.#native.cancel(id) }, signal);
    const { queuedMs: queue, computedMs: compute } = result;
    this.#statistics.completed({ decode, queue, compute, total: performance.now() - start });
    return new Segmentation(result, image, this.classes);
  }

  /** What the model has done and is doing, and the memory that it holds. */
  stats(): ModelStats {
    const { queued, running, batches, memoryBytes, deviceBytes } = this.#native.stats();
    const bytes = { requests: this.#admission.bytes, model: memoryBytes, device: deviceBytes };
    return { ...this.#statistics.summary(), queued, running, batches, bytes, refused: this.#admission.refused };
  }

  /**
   * Finishes the calls that were made before, or gives them up, then frees the weights. Later calls of `segment` reject
   * with ERR_CLOSED; later calls of `close` return the same promise, and may still give up what the first would finish.
   *
   * @throws ERR_INVALID_ARGUMENT for an unknown or wrong option.
   */
  close(options: CloseOptions = {}): Promise<void> {
    checkOptions(options, closeRules);
    return this.#lifetime.close(options.abort ?? false);
  }

  /** For `await using model = await DeepLab.load(...)`: the same as {@link DeepLab.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** A call that was let in. */
interface Admitted {
  /** When it was made, by `performance.now()`. */
  readonly start: number;
  readonly signal: AbortSignal;
  readonly ticket: Ticket;
  readonly patient: boolean;
}
