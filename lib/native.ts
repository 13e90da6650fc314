// The door to the native addon: the only file that touches the .node binary, which lib/binary.ts finds. It loads it, types
// what it exports, and turns its failures into DeepLabErrors that carry the caller's JavaScript stack.

import { isMainThread } from 'node:worker_threads';
import { findBinary, notLoaded } from './binary';
import { DeepLabError, type DeepLabErrorCode, errorCatalogue } from './errors';
import type { NativeNode } from './native-graph';

/** Precisions that networks are computed in; which of them there are depends on the device. */
export type Precision = 'f32' | 'tf32' | 'bf16' | 'f16';

/** Options of a load, all decided: lib/deeplab.ts validates and fills in the defaults. */
export interface NativeLoadOptions {
  /** 0: that of the weights file. */
  readonly outputStride: number;
  readonly device: string;
  readonly precision: 'auto' | Precision;
  /** Threads that one inference may use; at least 1. */
  readonly threads: number;
  readonly winograd: boolean;
  /** Number of image sizes whose compiled networks are kept. */
  readonly cacheSize: number;
  /** Folder to look for cuDNN in first; empty: none. */
  readonly cudnn: string;
  /** Most images in a batch; 0: as is best for the device. */
  readonly maxBatch: number;
  /** How long a request may wait for others to ride with. */
  readonly maxDelayMs: number;
  /** Images are padded to a multiple of this, or, where there are sizes, to the smallest that holds them. */
  readonly bucketMultiple: number;
  readonly bucketSizes: readonly { readonly width: number; readonly height: number }[];
}

/** What the header of a weights file says, parsed and validated natively. */
export interface NativeModelConfig {
  readonly architecture: string;
  readonly backbone: string;
  readonly outputStride: number;
  readonly asppRates: readonly number[];
  readonly classes: readonly string[];
  /** RGB triples 0..255, one per class; empty where the file has no palette. */
  readonly palette: readonly (readonly [number, number, number])[];
  /** The fully connected CRF that the model was tuned with, or the published one of its backbone. */
  readonly crf: NativeCrfOptions;
  /** The file's `__metadata__`, as it stands. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** One pairwise term of a fully connected CRF. */
export interface NativePairwise {
  readonly kernel: 'gaussian' | 'bilateral' | 'features';
  /** What the features are divided by: [x,y] for gaussian, [x,y,r,g,b] for bilateral, none for features. */
  readonly deviations: readonly number[];
  /** float32 [dimensions,H,W], for features only; copied. */
  readonly features?: Float32Array;
  /** Potts weight (1 value), weight per class (C values) or class matrix (C*C values, symmetric). */
  readonly compatibility: Float32Array;
  readonly normalization: 'symmetric' | 'before' | 'after' | 'none';
}

export interface NativeCrfOptions {
  readonly pairwise: readonly NativePairwise[];
  /** Which coordinate comes first in gaussian and bilateral features; the lattice is not symmetric in them. */
  readonly coordinates: 'yx' | 'xy';
  /** Mean-field iterations, the most of them where there is a tolerance. */
  readonly iterations: number;
  /** Stop once an iteration lowers the KL divergence by less than this, in nats per pixel; 0: never. */
  readonly tolerance: number;
}

export type NativeUnary =
  /** -log p or any energies, float32 [C,H,W]. */
  | { readonly kind: 'unary'; readonly data: Float32Array; readonly classes: number }
  /** float32 [C,H,W], each pixel's sum 1. */
  | { readonly kind: 'probabilities'; readonly data: Float32Array; readonly classes: number }
  /** uint8 [H,W]; `unknown` is the label that says nothing, or -1. */
  | {
      readonly kind: 'labels';
      readonly data: Uint8Array;
      readonly classes: number;
      readonly gtProb: number;
      readonly unknown: number;
    };

export interface NativeCrfResult {
  /** uint8 [H,W]. */
  readonly labels: Uint8Array;
  /** float32 [C,H,W], where asked for. */
  readonly marginals?: Float32Array;
  /** Where asked for or needed (tolerance > 0): of the start and of each iteration that was run, the rest NaN. */
  readonly klDivergence?: Float64Array;
}

/** The lattices of one image, to infer with as often as one likes. */
export interface NativeCrf {
  /** The device in use, never `auto`. */
  readonly device: string;
  /** Bytes that the lattices hold, and the lattice vertices of each term. */
  readonly latticeBytes: number;
  readonly vertices: readonly number[];
  /** Bytes that an inference needs on top of the lattices, results included. */
  inferenceBytes(classes: number, marginals: boolean): number;
  /** Copies the unary and queues the request; validates its size synchronously, its values on the way. */
  infer(
    unary: NativeUnary,
    options: {
      readonly iterations: number;
      readonly tolerance: number;
      readonly marginals: boolean;
      readonly klDivergence: boolean;
    },
  ): { readonly id: number; readonly result: Promise<NativeCrfResult> };
  cancel(id: number): void;
  close(): Promise<void>;
  /** As of a NativeModel. */
  abort(): void;
}

export interface NativeModelInfo extends NativeModelConfig {
  readonly device: string;
  readonly precision: Precision;
  readonly threads: number;
  /** Most images in a batch. */
  readonly maxBatch: number;
}

export interface NativeSegmentOptions {
  /** As the weights file says, as it is, with its longer side resized to `size`, or in tiles of that side. */
  readonly fit: 'model' | 'native' | 'longest' | 'tile';
  /** Of `longest` and `tile`, in pixels. */
  readonly size: number;
  /** Pixels that neighbouring tiles share, less than `size`. */
  readonly overlap: number;
  /** Scales of the image at which the network runs, 1 among them; each once. */
  readonly scales: readonly number[];
  /** How the logits of the scales, and of the mirrored image, become one. */
  readonly fuse: 'max' | 'mean';
  /** Whether each scale is seen mirrored as well. */
  readonly flip: boolean;
  /** Softmax of the logits at the image's size, float [C,H,W]. */
  readonly scores: boolean;
  /** The network's own output before upsampling, fused, on the grid of scale 1, float [C,h,w]. */
  readonly logits: boolean;
  readonly priority: 'interactive' | 'bulk';
  /** Refines the labels, and the scores, by a fully connected CRF; its kernels are gaussian or bilateral. */
  readonly crf?: NativeCrfOptions;
}

export interface NativeSegmentResult {
  /** Class of each pixel, row by row, uint8 [H,W]. */
  readonly labels: Uint8Array;
  readonly scores?: Float32Array;
  readonly logits?: { readonly data: Float32Array; readonly shape: readonly number[] };
  /** How long the request waited, and how long the run took that it was part of. */
  readonly queuedMs: number;
  readonly computedMs: number;
}

/** What a model's queue has done and is doing. */
export interface NativeModelStats {
  readonly queued: number;
  readonly running: number;
  /** Runs so far, by their number of images. */
  readonly batches: readonly { readonly size: number; readonly runs: number }[];
  /** That the model holds in the process and on a GPU, as of its last run. */
  readonly memoryBytes: number;
  readonly deviceBytes: number;
}

export interface NativeModel {
  readonly info: NativeModelInfo;
  /** Copies `pixels` (uint8 [H,W,channels], channels 1, 3 or 4) and queues the request; validates synchronously. */
  segment(
    pixels: Uint8Array,
    width: number,
    height: number,
    channels: number,
    options: NativeSegmentOptions,
  ): { readonly id: number; readonly result: Promise<NativeSegmentResult> };
  /**
   * Makes the request reject with ERR_ABORTED: at once if it waits, else before its next layer, and on a GPU when the
   * run is over.
   */
  cancel(id: number): void;
  /** Finishes what is queued, then frees the weights. Later requests are rejected with ERR_CLOSED. */
  close(): Promise<void>;
  /** Cancels everything, the loading included; later requests are rejected with ERR_CLOSED. */
  abort(): void;
  stats(): NativeModelStats;
}

export interface NativeLayer {
  readonly name: string;
  readonly op: string;
  /** Output shape, [N,C,H,W]. */
  readonly output: readonly number[];
  /** Multiply-accumulates. */
  readonly macs: number;
  readonly parameters: number;
}

export interface NativeInspection extends NativeModelConfig {
  readonly layers: readonly NativeLayer[];
  readonly macs: number;
  readonly parameters: number;
  /** Planned activation memory in f32, bytes: with buffers reused, and the sum without reuse. */
  readonly activationBytes: number;
  readonly activationBytesWithoutReuse: number;
}

/** One GPU, and whether it can be used. */
export interface NativeGpu {
  /** As the option `device` takes it, such as `cuda:0`. */
  readonly device: string;
  readonly name: string;
  /** Such as `9.0`. */
  readonly computeCapability: string;
  readonly totalBytes: number;
  readonly availableBytes: number;
  readonly precisions: readonly Precision[];
  /** Why it cannot be used; empty if it can. */
  readonly reason: string;
}

/** The CUDA backend and what it needs. */
export interface NativeCuda {
  /** Why no GPU can be used, with what to do about it; empty if one can. */
  readonly reason: string;
  /** Path of deeplab_cuda.so; empty if it could not be opened. */
  readonly library: string;
  /** The newest CUDA version that the driver knows, such as `13.0`; empty without a driver. */
  readonly driver: string;
  /** The CUDA version that deeplab_cuda.so was built with; empty without it. */
  readonly runtime: string;
  /** Version of cuDNN, such as `9.24.0`, and where it is; empty without it. */
  readonly cudnn: string;
  readonly cudnnPath: string;
  readonly gpus: readonly NativeGpu[];
}

export interface NativeSystem {
  /** Version of the package that the addon was built from. */
  readonly version: string;
  readonly cpu: { readonly name: string; readonly cores: number; readonly features: readonly string[] };
  readonly onednn: { readonly version: string; readonly isa: string };
  /** Of the CPU. */
  readonly precisions: readonly Precision[];
  readonly autoPrecision: Precision;
  readonly memory: { readonly totalBytes: number; readonly availableBytes: number };
  readonly cuda: NativeCuda;
}

/** What a device runs for a layer. */
export interface NativeLayerPlan {
  readonly layer: string;
  /** The library's own name of it, "winograd+...", "loop" or "kernel". */
  readonly implementation: string;
  /** As timed when it was chosen; 0 where nothing was timed. */
  readonly milliseconds: number;
}

/** What `deeplab tune` did for one image size. */
export interface NativeTuning {
  readonly device: string;
  readonly precision: Precision;
  /** Plans that were timed now; those of the other convolutions were in the cache. */
  readonly timed: number;
  /** The folder of the cache. */
  readonly cache: string;
  readonly layers: readonly NativeLayerPlan[];
}

/** Options of a trainer, all decided: lib/train.ts validates and fills in the defaults. */
export interface NativeTrainerOptions {
  readonly device: string;
  /** Of the compute; weights, their gradients and their momentum are f32 always. */
  readonly precision: 'auto' | Precision;
  readonly threads: number;
  readonly cudnn: string;
  /** Crops in a step, and their size in pixels. */
  readonly batch: number;
  readonly width: number;
  readonly height: number;
  /**
   * Whether batch norm uses its running statistics, and leaves them and its scale and shift as they are, or the batch's
   * own, and trains.
   */
  readonly batchNorm: 'frozen' | 'trained';
  /** How much of a batch's statistics goes into the running ones, 0 to 1; PyTorch's 0.1. */
  readonly batchNormMomentum: number;
  /** Probability with which the head's dropout drops an element, where the papers have one; 0: none. */
  readonly dropout: number;
  /** Loss on the grid of the logits, with labels of the cells' own pixels; or at the crop's size, logits upsampled. */
  readonly loss: 'grid' | 'image';
  /** Pixels of this label count for nothing. */
  readonly ignoreLabel: number;
  /** One per class. */
  readonly classWeights: Float32Array;
}

/** A tensor of the network that is trained. */
export interface NativeParameter {
  /** As in the weights file. */
  readonly name: string;
  readonly shape: readonly number[];
  /** A kernel or bias of a convolution; or scale, shift, running mean or running variance of a batch norm. */
  readonly kind: 'kernel' | 'bias' | 'scale' | 'shift' | 'mean' | 'variance';
  /** Whether `update` changes it: neither running statistics nor what is of a frozen batch norm. */
  readonly trained: boolean;
}

/** What a parameter has of its own size. */
export type NativeParameterValues = 'value' | 'momentum' | 'gradient';

/** How `update` changes a parameter. */
export interface NativeUpdate {
  /** Per parameter, in the order of `parameters`; those of what is not trained are not read. */
  readonly learningRates: Float32Array;
  readonly weightDecays: Float32Array;
  readonly momentum: number;
}

/** A network with its gradients and momentum. Its calls are queued and run one after the other on a thread of its own. */
export interface NativeTrainer {
  readonly device: string;
  readonly precision: Precision;
  readonly threads: number;
  readonly parameters: readonly NativeParameter[];
  /** Memory in bytes: activations with their gradients, and the rest (values, gradients, momentum, packed weights). */
  readonly activationBytes: number;
  readonly parameterBytes: number;
  /**
   * Forward and backward: the gradient of the mean loss over all pixels that count (each weighted by its class), times
   * `scale`, is added to the gradients. `pixels` is uint8 [N,H,W,3], `labels` uint8 [N,H,W]; both are copied. `seed`
   * decides what dropout drops. Resolves with the loss, which is NaN or infinite where it went wrong, and 0 where no
   * pixel counts; a label that is no class and not `ignoreLabel` is ERR_INVALID_ARGUMENT.
   */
  accumulate(
    pixels: Uint8Array,
    labels: Uint8Array,
    options: { readonly scale: number; readonly seed: number },
  ): { readonly id: number; readonly result: Promise<{ loss: number }> };
  /**
   * One step of SGD with momentum, as PyTorch's: g = gradient + decay * value; momentum = mu * momentum + g;
   * value -= rate * momentum. Gradients are zero afterwards.
   */
  update(options: NativeUpdate): { readonly id: number; readonly result: Promise<object> };
  /** A copy of a parameter's values. Momentum and gradients of what is not trained are empty. */
  read(
    index: number,
    values: NativeParameterValues,
  ): {
    readonly id: number;
    readonly result: Promise<{ data: Float32Array }>;
  };
  /** Copies `data`, as many floats as the parameter has. */
  write(
    index: number,
    values: NativeParameterValues,
    data: Float32Array,
  ): {
    readonly id: number;
    readonly result: Promise<object>;
  };
  cancel(id: number): void;
  close(): Promise<void>;
  abort(): void;
}

/** Something that is being made. */
export interface NativeMaking<T> {
  readonly made: Promise<T>;
  /** Whose `abort` ends the making with ERR_ABORTED. */
  readonly maker: { abort(): void };
}

interface NativeAddon {
  loadModel(path: string, options: NativeLoadOptions): NativeMaking<NativeModel>;
  /** `outputStride` as in NativeLoadOptions. */
  inspectModel(path: string, width: number, height: number, outputStride: number): NativeInspection;
  /** Of the network that the `__metadata__` of a weights file would describe. */
  inspectConfig(metadata: Readonly<Record<string, string>>, width: number, height: number): NativeInspection;
  /** The implementation that was chosen for each layer, as [layer, oneDNN's name or "winograd+..." or "loop"]. */
  cpuImplementations(
    path: string,
    precision: Precision,
    winograd: boolean,
    width: number,
    height: number,
  ): [string, string][];
  /**
   * Builds the lattices of an image on a thread of its own. `pixels` is uint8 [H,W,channels], channels 1, 3 or 4, and is
   * copied; undefined where no kernel is bilateral.
   */
  createCrf(
    pixels: Uint8Array | undefined,
    width: number,
    height: number,
    channels: number,
    options: Pick<NativeCrfOptions, 'pairwise' | 'coordinates'> &
      Pick<NativeLoadOptions, 'device' | 'threads' | 'cudnn'>,
  ): NativeMaking<NativeCrf>;
  /**
   * Times the plans of a model's convolutions on a GPU, for `batch` images of a size at once, and keeps the fastest in the
   * cache on disk; on a thread of its own. ERR_DEVICE_UNAVAILABLE on a CPU, which times nothing.
   */
  tuneModel(
    path: string,
    width: number,
    height: number,
    batch: number,
    options: Pick<NativeLoadOptions, 'outputStride' | 'device' | 'precision' | 'winograd' | 'cudnn'>,
  ): NativeMaking<NativeTuning>;
  /**
   * A network to be trained, from a weights file of any precision, batch norm and all; on a thread of its own.
   * ERR_UNSUPPORTED_MODEL where `batchNorm` is `trained` and the file has none.
   */
  createTrainer(path: string, options: NativeTrainerOptions): NativeMaking<NativeTrainer>;
  /**
   * The network as the papers draw it, one node a layer and nothing fused, with shapes for an image of a size; the last
   * node reads the logits. `model` is the path of a weights file, with `outputStride` as in NativeLoadOptions, or the
   * `__metadata__` that one would have.
   */
  graph(
    model: string | Readonly<Record<string, string>>,
    width: number,
    height: number,
    outputStride: number,
  ): NativeNode[];
  /** Tensors of a weights file, which must have these shapes, as floats whatever they are stored as. */
  readTensors(
    path: string,
    tensors: readonly { readonly name: string; readonly shape: readonly number[] }[],
  ): Float32Array[];
  /** Ends all work in the process, of every thread, without an answer, and waits for the addon's threads. */
  stop(): void;
  /** `cudnn` as in NativeLoadOptions. With `cuda` false, nothing of CUDA is looked for, and none is reported. */
  system(cudnn: string, cuda?: boolean): NativeSystem;
  /** Where deeplab_cuda.so is looked for after beside the addon; empty: nowhere. */
  setCudaLibrary(path: string): void;
}

let addon: NativeAddon | undefined;

/** The addon, loaded at the first call. Throws ERR_NATIVE_ADDON with what was tried. */
export function native(): NativeAddon {
  if (addon === undefined) {
    const { file, cudaLibrary } = findBinary();
    try {
      const loaded = withShortSpin(() => require(file) as NativeAddon);
      loaded.setCudaLibrary(cudaLibrary);
      // exit() must not destroy what the addon's threads still use. Node runs no clean-up hooks of the main thread then.
      if (isMainThread) process.once('exit', () => loaded.stop());
      addon = loaded;
    } catch (cause) {
      throw notLoaded(cause, file);
    }
  }
  return addon;
}

/**
 * Runs `load` while the environment tells OpenMP to let a thread that waits for the others sleep almost at once.
 *
 * Spinning for milliseconds, OpenMP's default, does no harm on an idle machine; but where anything else runs, such as
 * this very process decoding the next image, a spinning thread holds the core that the thread it waits for needs, and
 * inference takes a third longer (docs/decisions/0005-threads-that-sleep.md). OpenMP reads the environment once,
 * when the addon brings it in. What the user has set is left alone.
 */
function withShortSpin<T>(load: () => T): T {
  const { env } = process;
  if (env.GOMP_SPINCOUNT !== undefined || env.OMP_WAIT_POLICY !== undefined) return load();
  env.GOMP_SPINCOUNT = '6000';
  try {
    return load();
  } finally {
    delete env.GOMP_SPINCOUNT;
  }
}

/** Rethrows a failure of the addon as a DeepLabError; `error.code` and the message come from C++. */
export function fromNative(error: unknown): DeepLabError {
  if (error instanceof DeepLabError) return error;
  const { code, message } = (error ?? {}) as { readonly code?: string; readonly message?: string };
  const known = code !== undefined && Object.hasOwn(errorCatalogue, code);
  return new DeepLabError(known ? (code as DeepLabErrorCode) : 'ERR_INTERNAL', message ?? String(error));
}
