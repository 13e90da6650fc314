// Imports weights of other frameworks: opens the file, finds the layout of its names, and writes one of our files.

import path from 'node:path';
import { type CallOptions, callRules, stoppable } from '../abort';
import { invalidArgument } from '../errors';
import { checkOptions, oneOfRule } from '../options';
import type { ArchiveFormat } from './archive';
import { layoutNames, layoutOf } from './layouts/index';
import type { IgnoredTensor } from './layouts/layout';
import { type StoragePrecision, storageChoices } from './precision';
import { writeModel } from './write';

/** Options of {@link importWeights}. */
export interface ImportOptions extends CallOptions {
  /** The layout of the file's names, such as `torchvision`. Default: the first that recognises them. */
  readonly as?: string | undefined;
  /**
   * How kernels are stored: `f32` exactly, `f16` and `bf16` in half the space, `int8` in a quarter with a scale for each
   * output channel. It does not decide in which precision they compute. Default `f32`.
   */
  readonly precision?: StoragePrecision | undefined;
}

/** What {@link importWeights} did. */
export interface ImportReport {
  /** The file that was written. */
  readonly output: string;
  /** The format of the file that was read, such as `pytorch`. */
  readonly format: ArchiveFormat;
  /** The layout of its names, such as `torchvision`. */
  readonly layout: string;
  /** Such as `deeplab_v3`. */
  readonly architecture: string;
  /** Such as `resnet101`. */
  readonly backbone: string;
  /** Names of the classes, by id; `class0`, `class1`, ... where their number does not tell which they are. */
  readonly classes: readonly string[];
  /** How many tensors the network has. */
  readonly tensors: number;
  /** Tensors of the file that it does not use, and why. */
  readonly ignored: readonly IgnoredTensor[];
  readonly precision: StoragePrecision;
  /** Size of the written file in bytes. */
  readonly bytes: number;
}

/**
 * Makes a weights file that `DeepLab.load` takes of one that another framework wrote: PyTorch, TensorFlow (checkpoint or
 * .tflite), Keras, Caffe, or safetensors (docs/import.md lists the networks). Nothing in the file is executed. The
 * written file has been loaded and checked when it gets its name; `file` may be it.
 *
 * @param file - The weights; of a TensorFlow checkpoint its prefix, or its `.index`.
 * @param output - The file to write, `.safetensors` by convention. Replaced if it exists.
 * @throws ERR_NOT_FOUND, ERR_INVALID_WEIGHTS, ERR_UNSAFE_WEIGHTS, ERR_UNSUPPORTED_MODEL saying what names were seen,
 * ERR_INVALID_ARGUMENT, ERR_WRITE, ERR_ABORTED, ERR_TIMEOUT or ERR_NATIVE_ADDON.
 *
 * @example
 * ```ts
 * import { importWeights } from 'deeplab';
 *
 * const { layout, classes, bytes } = await importWeights(modelPath, 'model.safetensors', { precision: 'f16' });
 * console.log(`${layout}: ${classes.length} classes in ${bytes} bytes`);
 * ```
 */
export async function importWeights(file: string, output: string, options: ImportOptions = {}): Promise<ImportReport> {
  checkOptions(options, { ...callRules, as: oneOfRule(layoutNames), precision: oneOfRule(storageChoices) });
  for (const [name, value] of Object.entries({ file, output })) {
    if (typeof value !== 'string' || value === '') throw invalidArgument(name, 'path of a file', value);
  }
  return await stoppable(options, 'import', (signal) => importFile(file, output, options, signal));
}

async function importFile(
  file: string,
  output: string,
  { as, precision = 'f32' }: ImportOptions,
  signal: AbortSignal,
): Promise<ImportReport> {
  // Loaded when it is needed: the libraries of the formats cost every other program half of its start.
  const { openArchive } = require('./open') as typeof import('./open');
  const archive = await openArchive(file);
  try {
    const layout = layoutOf(archive, as);
    const model = layout.import(archive);
    const origin = `${path.basename(file)} (${archive.format}, ${layout.name})`;
    const described = { ...model, metadata: { ...model.metadata, imported_from: origin } };
    const { bytes, architecture, backbone, classes } = await writeModel(described, output, precision, signal);
    const { ignored, tensors } = model;
    const { format } = archive;
    const found = { format, layout: layout.name, architecture, backbone, classes };
    return { output, ...found, tensors: tensors.size, ignored, precision, bytes };
  } finally {
    await archive.close();
  }
}
