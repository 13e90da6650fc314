// Weights to begin a training with, of any file that `importWeights` reads and of some that it refuses: a part of a
// network, or a ResNet that classifies images, whose names are ours. What is taken of them is initialize.ts's to say.

import { DeepLabError } from '../errors';
import type { Archive } from '../import/archive';
import { layoutOf } from '../import/layouts/index';
import { type ImportedTensor, prefixOf } from '../import/layouts/layout';

/** Tensors under our names, and what the file says of its network. */
export interface InitialSource {
  /** The path, for messages. */
  readonly file: string;
  readonly tensors: ReadonlyMap<string, ImportedTensor>;
  /** The keys of docs/weights.md, as far as they are known: none of a backbone alone. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Closes the file; tensors cannot be read afterwards. */
  close(): Promise<void>;
}

/**
 * Opens a file of weights.
 *
 * @throws ERR_NOT_FOUND, ERR_INVALID_WEIGHTS, ERR_UNSAFE_WEIGHTS; ERR_UNSUPPORTED_MODEL if its names are not known.
 */
export async function openInitialSource(file: string): Promise<InitialSource> {
  // Loaded when it is needed, as by import.ts.
  const { openArchive } = require('../import/open') as typeof import('../import/open');
  const archive = await openArchive(file);
  try {
    return { file, ...networkIn(archive), close: () => archive.close() };
  } catch (error) {
    await archive.close();
    throw error;
  }
}

/** The whole network that a layout finds, or else what there is of our own names. */
function networkIn(archive: Archive): Pick<InitialSource, 'tensors' | 'metadata'> {
  try {
    const { tensors, metadata } = layoutOf(archive).import(archive);
    return { tensors, metadata };
  } catch (error) {
    if (!(error instanceof DeepLabError)) throw error;
    const tensors = ownNames(archive);
    if (tensors === undefined) throw error;
    return { tensors, metadata: {} };
  }
}

/** Any of the first layers of our backbones. */
const anchors = ['conv1.weight', 'layer1.0.conv1.weight', 'conv1_1.weight', 'stem.conv.weight'];

/** Of a batch norm of PyTorch's: no weights. */
const batchCount = '.num_batches_tracked';

/** Tensors below the prefix that a backbone of ours has in the archive; undefined if it has none. */
function ownNames(archive: Archive): Map<string, ImportedTensor> | undefined {
  const prefix = anchors.map((anchor) => prefixOf(archive, anchor)).find((found) => found !== undefined);
  if (prefix === undefined) return undefined;
  const below = [...archive.tensors].filter(([name]) => name.startsWith(prefix) && !name.endsWith(batchCount));
  return new Map(below.map(([name, tensor]) => [name.slice(prefix.length), tensor]));
}
