// Evaluation: the public door. Datasets are read by evaluate/dataset.ts, images counted by evaluate/run.ts.

import { type CallOptions, callRules, stoppable } from './abort';
import { DeepLab } from './deeplab';
import { cudnnRule, deviceRule, precisionRule } from './device';
import { DeepLabError } from './errors';
import { type Dataset, type DatasetChoice, openDataset } from './evaluate/dataset';
import { type Evaluation, type EvaluationRun, type EvaluationSettings, runEvaluation } from './evaluate/run';
import type { LoadOptions } from './load-options';
import { booleanRule, checkOptions, integerRule, type OptionRule, threadsRule } from './options';
import { fuseRule, scalesRule } from './scales';
import { segmentRules } from './segment-options';
import { resolveDefaultWeights, resolveWeights } from './weights';

/**
 * Options of {@link evaluate}: `scales`, `fuse`, `flip` and `crf` as of `segment`; `device`, `precision`, `threads` and
 * `cudnn` as of `DeepLab.load`, for a model that is named.
 */
export interface EvaluateOptions
  extends CallOptions,
    EvaluationSettings,
    Pick<EvaluationRun, 'onImage'>,
    Pick<LoadOptions, 'device' | 'precision' | 'threads' | 'cudnn'> {
  /** Evaluates this many images, the first ones. Default: all. */
  readonly limit?: number | undefined;
  /**
   * Widths in pixels, ascending, of bands around the true boundaries: the mean IoU is counted within each as well. Default:
   * none.
   */
  readonly trimap?: readonly number[] | undefined;
  /**
   * File in which the counts of each image are kept. If it is there, the images in it are not done anew: an evaluation that
   * was killed goes on, and comes to the same figures. For a model that is named.
   */
  readonly resume?: string | undefined;
}

/** @internal The rule of widths of bands. */
export const trimapRule: OptionRule = {
  expected: 'array of ascending numbers above 0, 1 to 100 of them',
  accepts: (value) =>
    Array.isArray(value) &&
    value.length >= 1 &&
    value.length <= 100 &&
    value.every((width, i) => Number.isFinite(width) && width > (value[i - 1] ?? 0)),
};

const rules: Readonly<Record<keyof EvaluateOptions, OptionRule>> = {
  scales: scalesRule,
  fuse: fuseRule,
  flip: booleanRule,
  crf: segmentRules.crf,
  limit: integerRule(1, 1e9),
  trimap: trimapRule,
  resume: { expected: 'path of a file', accepts: (value) => typeof value === 'string' && value !== '' },
  onImage: { expected: 'function', accepts: (value) => typeof value === 'function' },
  device: deviceRule,
  precision: precisionRule,
  threads: threadsRule,
  cudnn: cudnnRule,
  ...callRules,
};

/**
 * Measures how well a model's labels agree with the true ones (docs/evaluation.md): confusion matrix, IoU of each class and
 * its mean, accuracies; with `crf` for the refined labels as well.
 *
 * @param model - A model, or the path or name of one, as of `DeepLab.load`; undefined for the one that ships.
 * @param dataset - What `openDataset` gave, or its options. Of a plain folder without `classes`, they are the model's.
 * @throws ERR_NOT_FOUND, ERR_INVALID_IMAGE naming the file, ERR_WRITE, ERR_ABORTED, ERR_TIMEOUT, what `DeepLab.load` and
 * `segment` throw; ERR_INVALID_ARGUMENT for an unknown or wrong option, a model with another number of classes than the
 * dataset, and a file `resume` of another evaluation.
 *
 * @example
 * ```ts
 * import { evaluate } from 'deeplab';
 *
 * const dataset = { format: 'folder', path: datasetPath };
 * const { miou, iou, classes } = await evaluate(modelPath, dataset, { limit: 1, flip: true });
 * for (const [label, { name }] of classes.entries()) console.log(name, iou[label]);
 * console.log(`mean IoU ${(100 * miou).toFixed(2)} %`);
 * ```
 */
export async function evaluate(
  model: DeepLab | string | undefined,
  dataset: Dataset | DatasetChoice,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  checkOptions(options, rules);
  const { limit, resume, device, precision, threads, cudnn, signal: _, timeoutMs: __, ...settings } = options;
  const load = { device, precision, threads, cudnn };
  if (model instanceof DeepLab && [resume, ...Object.values(load)].some((value) => value !== undefined)) {
    const message =
      'Expected no resume, device, precision, threads and cudnn for a model that is loaded, but one by name';
    throw new DeepLabError('ERR_INVALID_ARGUMENT', message);
  }
  return await stoppable(options, 'evaluation', async (signal) => {
    if (model instanceof DeepLab)
      return await runEvaluation(model, await opened(dataset, model, limit), settings, signal);
    const weights = model === undefined ? await resolveDefaultWeights() : await resolveWeights(model);
    const loaded = await DeepLab.load(weights, { ...load, signal });
    try {
      const going = resume === undefined ? undefined : { file: resume, weights };
      return await runEvaluation(loaded, await opened(dataset, loaded, limit), { ...settings, resume: going }, signal);
    } finally {
      await loaded.close();
    }
  });
}

async function opened(dataset: Dataset | DatasetChoice, model: DeepLab, limit: number | undefined): Promise<Dataset> {
  const given = 'items' in dataset ? dataset : await openDataset(withClasses(dataset, model));
  return { ...given, items: given.items.slice(0, limit) };
}

/** A folder does not say what its classes are. */
function withClasses(choice: DatasetChoice, model: DeepLab): DatasetChoice {
  if (choice?.format !== 'folder' || choice.classes !== undefined) return choice;
  return { ...choice, classes: model.classes.map(({ name }) => name) };
}
