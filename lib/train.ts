// Training: the public door. What there is to decide is in train/config.ts, what is done with it in train/run.ts; both are
// loaded only when somebody trains.

import { type CallOptions, callRules, stoppable } from './abort';
import { cudnnRule } from './device';
import { booleanRule, checkOptions, type OptionRule } from './options';
import type { Config, TrainConfig } from './train/config';
import type { TrainEvent, TrainResult } from './train/run';

export type { TrainConfig } from './train/config';
export type { EvaluationRecord, StepRecord } from './train/log';
export type { SavedEvent, StartEvent, TrainEvent, TrainResult } from './train/run';

/** Options of {@link train}, beside its configuration. */
export interface TrainOptions extends CallOptions {
  /**
   * Goes on from the checkpoint in the folder `out`, if there is one, as if the training had never stopped. Default false:
   * a folder that has a checkpoint is an error.
   */
  readonly resume?: boolean | undefined;
  /** Hears of everything that happens, in its order: `start`, `step`, `evaluation`, `weights`, `checkpoint`. */
  readonly onEvent?: ((event: TrainEvent) => void) | undefined;
  /** As of {@link LoadOptions}. */
  readonly cudnn?: string | undefined;
}

const rules: Readonly<Record<keyof TrainOptions, OptionRule>> = {
  resume: booleanRule,
  onEvent: { expected: 'function', accepts: (value) => typeof value === 'function' },
  cudnn: cudnnRule,
  ...callRules,
};

/**
 * Trains a network, as the configuration says (docs/training.md), and writes it to the folder `out`, with checkpoints and
 * a log. An aborted training writes a checkpoint before it rejects.
 *
 * @throws ERR_INVALID_ARGUMENT naming each key that is wrong, ERR_DIVERGED, ERR_NOT_FOUND, ERR_INVALID_IMAGE,
 * ERR_INVALID_WEIGHTS, ERR_UNSUPPORTED_MODEL, ERR_UNSUPPORTED_PRECISION, ERR_DEVICE_UNAVAILABLE, ERR_DEVICE_FAILED,
 * ERR_OUT_OF_MEMORY, ERR_WRITE, ERR_ABORTED, ERR_TIMEOUT, ERR_NATIVE_ADDON.
 *
 * @example
 * ```ts
 * import { train } from 'deeplab';
 *
 * // A network that is no good, in seconds: a few small crops for the smallest MobileNetV2.
 * const { best, bestFile } = await train(
 *   {
 *     model: { network: 'v3-mobilenetv2', width_multiplier: '0.1', channel_divisor: '1', head_channels: '8' },
 *     data: { format: 'camvid', path: dataPath },
 *     augment: { width: 33, height: 33 },
 *     batch: 2,
 *     iterations: 4,
 *     batchNorm: 'trained',
 *     out: 'first-training',
 *   },
 *   {
 *     onEvent: (event) => {
 *       if (event.kind === 'step') console.log(event.iteration, event.loss, event.imagesPerSecond);
 *       if (event.kind === 'evaluation') console.log(event.iteration, event.miou);
 *     },
 *   },
 * );
 * console.log(`mIoU ${best.miou} of ${bestFile}`);
 * ```
 */
export async function train(config: TrainConfig, options: TrainOptions = {}): Promise<TrainResult> {
  checkOptions(options, rules);
  const { resume = false, onEvent = () => {}, cudnn } = options;
  const decided = trainConfig(config);
  // Loaded here, since nobody else needs it.
  const { runTraining } = require('./train/run') as typeof import('./train/run');
  return await stoppable(options, 'training', (signal) => runTraining(decided, { resume, onEvent, cudnn }, signal));
}

/**
 * A configuration with everything decided that it leaves out.
 *
 * @throws ERR_INVALID_ARGUMENT naming each key that is unknown or wrong.
 */
export function trainConfig(config: TrainConfig): Config {
  const { readConfig } = require('./train/config') as typeof import('./train/config');
  return readConfig(config);
}
