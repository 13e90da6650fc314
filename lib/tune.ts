// Timing a model's convolutions on a GPU ahead of their use. A load does the same for what it finds untimed; whoever
// tunes first spares the first load, and the first image of each size, the seconds that it takes. The timing and its
// cache are native.

import { awaitNative, type CallOptions, callRules, cancellable } from './abort';
import { cudnnFolder, cudnnRule, deviceRule, precisionRule } from './device';
import { type InspectOptions, sideRule } from './inspect';
import type { LoadOptions } from './load-options';
import { type NativeTuning, native } from './native';
import { booleanRule, checkOptions, integerRule, type OptionRule, outputStrideRule } from './options';
import { formatInteger } from './quantity';
import { formatTable } from './table';
import { resolveWeights } from './weights';

/** Options of {@link tune}: the size of the images, and what the model will be loaded with. */
export interface TuneOptions
  extends InspectOptions,
    Pick<LoadOptions, 'precision' | 'winograd' | 'cudnn'>,
    CallOptions {
  /** Images that are computed at once, 1..1024: a model whose `maxBatch` is 8 computes 1, 2, 4 or 8. Default 1. */
  readonly batch?: number | undefined;
  /** Which GPU. Default `cuda`: the first that can be used. */
  readonly device?: LoadOptions['device'];
}

/** What {@link tune} has done. */
export interface Tuning extends NativeTuning {
  /** Width of the images in pixels. */
  readonly width: number;
  /** Height of the images in pixels. */
  readonly height: number;
  /** Images that are computed at once. */
  readonly batch: number;
}

const tuneRules: Readonly<Record<keyof TuneOptions, OptionRule>> = {
  width: sideRule,
  height: sideRule,
  outputStride: outputStrideRule,
  batch: integerRule(1, 1024),
  device: deviceRule,
  precision: precisionRule,
  winograd: booleanRule,
  cudnn: cudnnRule,
  ...callRules,
};

/**
 * Times the ways in which a GPU can compute each convolution of a model, for images of one size, and keeps the fastest
 * in the cache on disk, where every later load with these options finds them. What is in the cache is not timed again.
 *
 * @param pathOrName - As for `DeepLab.load`.
 * @throws ERR_DEVICE_UNAVAILABLE saying what is missing where there is no GPU, and for the CPU, which times nothing;
 * ERR_NOT_FOUND, ERR_INVALID_WEIGHTS, ERR_UNSUPPORTED_MODEL, ERR_UNSUPPORTED_PRECISION, ERR_OUT_OF_MEMORY,
 * ERR_DEVICE_FAILED, ERR_ABORTED, ERR_TIMEOUT, ERR_INVALID_ARGUMENT or ERR_NATIVE_ADDON.
 *
 * @example
 * ```ts
 * import { doctor, tune } from 'deeplab';
 *
 * const { cuda } = await doctor();
 * if (cuda.reason === '') {
 *   const { timed, cache } = await tune(modelPath, { width: 129, height: 129, precision: 'f16' });
 *   console.log(`${timed} plans timed, all kept in ${cache}`);
 * } else {
 *   console.log(cuda.reason);
 * }
 * ```
 */
export async function tune(pathOrName: string, options: TuneOptions = {}): Promise<Tuning> {
  checkOptions(options, tuneRules);
  const { width = 513, height = 513, batch = 1, device = 'cuda', precision = 'auto', winograd = true } = options;
  const { outputStride = 0 } = options;
  const settings = { outputStride, device, precision, winograd, cudnn: cudnnFolder(options.cudnn) };
  return await cancellable(options, 'tuning', async (signal) => {
    const file = await resolveWeights(pathOrName);
    const addon = native();
    const tuning = await awaitNative(() => addon.tuneModel(file, width, height, batch, settings), signal);
    return { width, height, batch, ...tuning };
  });
}

/** A tuning as text: what it is for, a table of the layers, and how much of it was new. */
export function formatTuning(tuning: Tuning): string {
  const { device, precision, width, height, batch, layers, timed, cache } = tuning;
  const cached = layers.filter(({ milliseconds }) => milliseconds > 0).length - timed;
  const table = formatTable(
    [
      { title: 'layer', align: 'left' },
      { title: 'implementation', align: 'left' },
      { title: 'ms', align: 'right' },
    ],
    layers.map(({ layer, implementation, milliseconds }) => [
      layer,
      implementation,
      milliseconds > 0 ? milliseconds.toFixed(3) : '',
    ]),
  );
  return [
    `${device}, ${precision}, ${width}x${height}, batch of ${formatInteger(batch)}`,
    '',
    table,
    '',
    `${formatInteger(timed)} timed now, ${formatInteger(cached)} from the cache, ${cache}`,
  ].join('\n');
}
