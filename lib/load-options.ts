// The options with which a model is loaded: what they are, what they must be, and their defaults.

import os from 'node:os';
import { type CallOptions, callRules } from './abort';
import { type QueueLimit, queueLimitRule } from './admission';
import { bucketsRule, readBuckets, type ShapeBuckets } from './buckets';
import { cudnnFolder, cudnnRule, type Device, deviceRule, precisionRule } from './device';
import type { NativeLoadOptions, Precision } from './native';
import { booleanRule, integerRule, type OptionRule, outputStrideRule, threadsRule } from './options';

/** Options of {@link DeepLab.load}. */
export interface LoadOptions extends CallOptions {
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
  /**
   * Number of image sizes whose compiled networks are kept, 1..1024; the least recently used goes first. A batch is a size
   * of its own. Default 8.
   */
  readonly cacheSize?: number | undefined;
  /**
   * Most images that are computed at once, 1..1024. Calls for images of one size, with the same options, ride together
   * (docs/serving.md). Default: 8 on a GPU; 1 on a CPU, which gains from more only where images are small.
   */
  readonly maxBatch?: number | undefined;
  /** How long a call may wait for others to ride with, in milliseconds, 0..60000; a full batch never waits. Default 2. */
  readonly maxDelayMs?: number | undefined;
  /**
   * Sizes to which images are padded, at their right and bottom, in the network's mean colour, so that few networks are
   * compiled and images of different sizes ride together. The results are those of the image alone; but logits are the
   * padded image's. Images that are resized for the network, and tiles, are not padded. Default `exact`.
   */
  readonly shapeBuckets?: ShapeBuckets | undefined;
  /** Beyond this, `segment` rejects at once with ERR_QUEUE_FULL. Default: no limit. */
  readonly queueLimit?: QueueLimit | undefined;
}

export const loadRules: Readonly<Record<keyof LoadOptions, OptionRule>> = {
  outputStride: outputStrideRule,
  device: deviceRule,
  precision: precisionRule,
  cudnn: cudnnRule,
  threads: threadsRule,
  winograd: booleanRule,
  cacheSize: integerRule(1, 1024),
  maxBatch: integerRule(1, 1024),
  maxDelayMs: {
    expected: 'number from 0 to 60000',
    accepts: (value) => typeof value === 'number' && value >= 0 && value <= 60_000,
  },
  shapeBuckets: bucketsRule,
  queueLimit: queueLimitRule,
  ...callRules,
};

/** @throws ERR_INVALID_ARGUMENT for buckets that are none. */
export function readLoadOptions(options: LoadOptions): NativeLoadOptions {
  return {
    outputStride: options.outputStride ?? 0,
    device: options.device ?? 'auto',
    precision: options.precision ?? 'auto',
    threads: options.threads ?? os.availableParallelism(),
    winograd: options.winograd ?? true,
    cacheSize: options.cacheSize ?? 8,
    cudnn: cudnnFolder(options.cudnn),
    maxBatch: options.maxBatch ?? 0,
    maxDelayMs: options.maxDelayMs ?? 2,
    ...readBuckets(options.shapeBuckets ?? 'exact'),
  };
}
