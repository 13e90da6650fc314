// Checkpoints: everything that a training needs to go on as if it had never stopped. One is a weights file like any other
// (docs/weights.md), with the momentum of each tensor beside it and, in `__metadata__`, where the training is. What is
// random has no state (random.ts).

import { DeepLabError } from '../errors';
import { openSafetensors } from '../import/safetensors';
import { encodeHeader, littleEndian } from '../import/write';
import { writeFileAtomically } from '../output';
import { type Config, decisiveKeys, defaultKeys } from './config';
import type { NetworkTrainer } from './network-trainer';

/** The key of `__metadata__` under which a checkpoint says where the training is. */
const stateKey = 'training_state';
const momentumSuffix = '.momentum';

/** The model that was best so far. */
export interface Best {
  readonly iteration: number;
  /** From 0 to 1. */
  readonly miou: number;
}

/** Where a training is. */
export interface TrainingState {
  /** Updates that were made. */
  readonly iteration: number;
  readonly best: Best | null;
  /** What of the configuration decides what is learnt, as JSON by key. */
  readonly decisive: Readonly<Record<string, string>>;
  /** SHA-256 of the images' names in their order, on which the order of crops depends. */
  readonly images: string;
}

/** A checkpoint that was read, without its tensors. */
export interface Checkpoint {
  readonly file: string;
  readonly state: TrainingState;
}

/** Writes the network alone, as a weights file. */
export async function writeWeights(
  trainer: NetworkTrainer,
  metadata: Readonly<Record<string, string>>,
  file: string,
): Promise<void> {
  await writeFileAtomically(file, pieces(trainer, metadata, false), true);
}

/** Writes a checkpoint: `file` is either what it was or complete, and on the disk. */
export async function writeCheckpoint(
  trainer: NetworkTrainer,
  metadata: Readonly<Record<string, string>>,
  state: TrainingState,
  file: string,
): Promise<void> {
  const all = { ...metadata, [stateKey]: JSON.stringify(state) };
  await writeFileAtomically(file, pieces(trainer, all, true), true);
}

/** Header and tensors of a file, one tensor in memory at a time. */
async function* pieces(
  trainer: NetworkTrainer,
  metadata: Readonly<Record<string, string>>,
  withMomentum: boolean,
): AsyncGenerator<Uint8Array> {
  const stored = trainer.parameters.flatMap(({ name, shape, trained }, index) => {
    const value = { name, shape, index, values: 'value' as const };
    if (!withMomentum || !trained) return [value];
    return [value, { ...value, name: `${name}${momentumSuffix}`, values: 'momentum' as const }];
  });
  const header: Record<string, unknown> = { __metadata__: metadata };
  let offset = 0;
  for (const { name, shape } of stored) {
    const end = offset + shape.reduce((product, size) => product * size, 4);
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, end] };
    offset = end;
  }
  yield encodeHeader(header);
  for (const { index, values } of stored) {
    const bytes = littleEndian(await trainer.read(index, values));
    yield new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
}

/**
 * What a checkpoint says of its training; undefined where there is none.
 *
 * @throws ERR_INVALID_WEIGHTS for what is no checkpoint.
 */
export async function readCheckpoint(file: string): Promise<Checkpoint | undefined> {
  let metadata: Readonly<Record<string, string>>;
  try {
    const archive = await openSafetensors(file);
    ({ metadata } = archive);
    await archive.close();
  } catch (error) {
    if (error instanceof DeepLabError && error.code === 'ERR_NOT_FOUND') return undefined;
    throw error;
  }
  const state = parsedState(metadata[stateKey]);
  if (state === undefined) {
    throw new DeepLabError('ERR_INVALID_WEIGHTS', `${file} is no checkpoint: its ${stateKey} does not say where it is`);
  }
  return { file, state };
}

function parsedState(text: string | undefined): TrainingState | undefined {
  try {
    const state = JSON.parse(text ?? '') as TrainingState;
    const sound =
      Number.isSafeInteger(state.iteration) &&
      state.iteration >= 0 &&
      typeof state.images === 'string' &&
      typeof state.decisive === 'object' &&
      state.decisive !== null &&
      (state.best === null || typeof state.best.miou === 'number');
    return sound ? state : undefined;
  } catch {
    return undefined;
  }
}

/**
 * That a training may go on from a checkpoint.
 *
 * @throws ERR_INVALID_ARGUMENT naming the keys of the configuration that are others, or that the images are.
 */
export function checkContinues({ file, state }: Checkpoint, config: Config, images: string): void {
  const keys = decisiveKeys(config);
  // What an older version did not know is as it was then where it has its default.
  const before = new Map([...defaultKeys(config), ...Object.entries(state.decisive)]);
  const others = [...new Set([...keys.keys(), ...before.keys()])].filter((key) => keys.get(key) !== before.get(key));
  if (others.length > 0) {
    const list = others.map((key) => `${key} (${before.get(key) ?? 'unset'}, now ${keys.get(key) ?? 'unset'})`);
    const message = `The training cannot go on from ${file}, whose configuration is another: ${list.join(', ')}`;
    throw new DeepLabError('ERR_INVALID_ARGUMENT', message);
  }
  if (state.images !== images) {
    const message = `The training cannot go on from ${file}, which learnt from other images or from another order of them`;
    throw new DeepLabError('ERR_INVALID_ARGUMENT', message);
  }
}

/** Gives a trainer, which has the checkpoint's values already, its momentum. */
export async function restoreMomentum(trainer: NetworkTrainer, { file }: Checkpoint): Promise<void> {
  const archive = await openSafetensors(file);
  try {
    for (const [index, { name, trained, shape }] of trainer.parameters.entries()) {
      if (!trained) continue;
      const tensor = archive.tensors.get(`${name}${momentumSuffix}`);
      if (tensor === undefined || tensor.shape.join() !== shape.join()) {
        const message = `${file} has no ${name}${momentumSuffix} of [${shape.join(',')}]: it is no checkpoint of this network`;
        throw new DeepLabError('ERR_INVALID_WEIGHTS', message);
      }
      await trainer.write(index, 'momentum', await tensor.read());
    }
  } finally {
    await archive.close();
  }
}
