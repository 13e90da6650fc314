// What a layout is: one published way of naming the tensors of a DeepLab network, and how it becomes ours
// (docs/weights.md). The layouts themselves are the other files of this folder; the list of them is in index.ts.

import { DeepLabError } from '../../errors';
import type { Archive, ArchiveTensor } from '../archive';
import { asStored, sourceShape, type Turn, turned } from './turn';

/** One tensor as our weights files have it. */
export interface ImportedTensor {
  /** In our axis order, as docs/weights.md gives it. */
  readonly shape: readonly number[];
  /** The elements in that order. Only the tensors that it is made of are read. */
  read(): Promise<Float32Array>;
}

/** A tensor of the archive that the network does not use, and why. */
export interface IgnoredTensor {
  readonly name: string;
  readonly reason: string;
}

/** A network under our names. */
export interface ImportedModel {
  /** The name of the layout. */
  readonly layout: string;
  /** The keys of docs/weights.md. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, ImportedTensor>;
  readonly ignored: readonly IgnoredTensor[];
}

/** One way of naming. */
export interface Layout {
  /** As the option `as` takes it. */
  readonly name: string;
  /** What it is, for people. */
  readonly title: string;
  /** Whether the archive's names are of this layout: cheap, and true of broken archives too. */
  recognises(archive: Archive): boolean;
  /**
   * The network in the archive.
   *
   * @throws ERR_INVALID_WEIGHTS naming a tensor that is missing or of another shape, ERR_UNSUPPORTED_MODEL if the
   * network is none that this library builds.
   */
  import(archive: Archive): ImportedModel;
}

/** The four tensors of a batch norm, under our names. */
export const batchNormParts = ['weight', 'bias', 'running_mean', 'running_var'] as const;

/** One of the four. */
export type BatchNormPart = (typeof batchNormParts)[number];

/** A convolution without a bias and the batch norm behind it, under our names. */
export interface ConvolutionUnit {
  /** Such as `layer1.0.conv1`: its tensor is `<conv>.weight`. */
  readonly conv: string;
  /** Such as `layer1.0.bn1`. */
  readonly bn: string;
  /** Of the kernel. */
  readonly shape: readonly number[];
}

/** The kernel and the batch norm of a unit under the archive's names. */
export interface UnitNames {
  readonly weight: string;
  readonly bn: Readonly<Record<BatchNormPart, string>>;
}

/** A batch norm's names under a prefix, as PyTorch has them. */
export function pytorchBatchNorm(prefix: string): UnitNames['bn'] {
  return {
    weight: `${prefix}.weight`,
    bias: `${prefix}.bias`,
    running_mean: `${prefix}.running_mean`,
    running_var: `${prefix}.running_var`,
  };
}

/** A batch norm's names under a scope, as TensorFlow and Keras have them. */
export function tensorflowBatchNorm(scope: string): UnitNames['bn'] {
  return {
    weight: `${scope}/gamma`,
    bias: `${scope}/beta`,
    running_mean: `${scope}/moving_mean`,
    running_var: `${scope}/moving_variance`,
  };
}

/** Picks the tensors of a network out of an archive, and checks their shapes on the way. */
export class Selection {
  readonly #archive: Archive;
  readonly #layout: string;
  readonly #tensors = new Map<string, ImportedTensor>();
  readonly #used = new Set<string>();
  readonly #ignored: IgnoredTensor[] = [];

  constructor(archive: Archive, layout: string) {
    this.#archive = archive;
    this.#layout = layout;
  }

  /** Our tensor `target` of our `shape`, from the archive's `source`, whose axes are turned; then what `change` makes. */
  take(
    target: string,
    source: string,
    shape: readonly number[],
    turn: Turn = asStored,
    change: (values: Float32Array) => Float32Array = (values) => values,
  ): void {
    const tensor = this.#find(source, target, shape, turn);
    this.#tensors.set(target, { shape, read: async () => change(turned(await tensor.read(), tensor.shape, turn)) });
  }

  /** Our tensor `target` computed from several of the archive's, which have the shapes given. */
  derive(
    target: string,
    shape: readonly number[],
    sources: readonly (readonly [name: string, shape: readonly number[]])[],
    compute: (...values: Float32Array[]) => Float32Array,
  ): void {
    const tensors = sources.map(([name, size]) => this.#find(name, target, size, asStored));
    const read = async () => compute(...(await Promise.all(tensors.map((tensor) => tensor.read()))));
    this.#tensors.set(target, { shape, read });
  }

  /** A convolution and its batch norm. */
  takeUnit(unit: ConvolutionUnit, names: UnitNames, turn: Turn = asStored): void {
    this.take(`${unit.conv}.weight`, names.weight, unit.shape, turn);
    for (const part of batchNormParts) this.take(`${unit.bn}.${part}`, names.bn[part], unit.shape.slice(0, 1));
  }

  /** Leaves out the tensors that `matches`, for a reason of which the report tells. */
  leave(matches: (name: string) => boolean, reason: string): void {
    for (const name of this.#archive.tensors.keys()) {
      if (this.#used.has(name) || !matches(name)) continue;
      this.#used.add(name);
      this.#ignored.push({ name, reason });
    }
  }

  /** What was picked; all other tensors are left out as unknown. */
  finish(metadata: Readonly<Record<string, string>>): ImportedModel {
    this.leave(() => true, 'is no part of the network');
    return { layout: this.#layout, metadata, tensors: this.#tensors, ignored: this.#ignored };
  }

  #find(source: string, target: string, shape: readonly number[], turn: Turn): ArchiveTensor {
    const tensor = this.#archive.tensors.get(source);
    const expected = sourceShape(shape, turn);
    if (tensor === undefined) {
      throw invalid(this.#archive, `has no tensor ${source} [${expected.join(',')}], which ${target} is made of`);
    }
    if (!sameShape(tensor.shape, expected, turn)) {
      const [found, wanted] = [tensor.shape, expected].map((sizes) => `[${sizes.join(',')}]`);
      throw invalid(this.#archive, `has the tensor ${source} ${found}: expected ${wanted}, for ${target}`);
    }
    this.#used.add(source);
    return tensor;
  }
}

/**
 * Caffe's older files give every blob four sizes, the first of them 1: these say the same, where no axis is turned.
 */
function sameShape(found: readonly number[], expected: readonly number[], turn: Turn): boolean {
  const one = (size: number) => size !== 1;
  const [a, b] = turn === asStored ? [found.filter(one), expected.filter(one)] : [found, expected];
  return a.length === b.length && a.every((size, i) => size === b[i]);
}

/** The shape of a tensor that the layout cannot do without. */
export function shapeOf(archive: Archive, name: string): readonly number[] {
  const tensor = archive.tensors.get(name);
  if (tensor === undefined) throw invalid(archive, `has no tensor ${name}`);
  return tensor.shape;
}

/** One size of such a tensor. */
export function sizeOf(archive: Archive, name: string, axis: number): number {
  const shape = shapeOf(archive, name);
  const size = shape.at(axis);
  if (size !== undefined) return size;
  throw invalid(archive, `has the tensor ${name} [${shape.join(',')}]: expected more dimensions`);
}

/**
 * What stands before `anchor` in the archive's names, as `base.` or `state_dict.module.`; undefined if no name ends so.
 */
export function prefixOf(archive: Archive, anchor: string): string | undefined {
  for (const name of archive.tensors.keys()) {
    if (name === anchor || name.endsWith(`.${anchor}`)) return name.slice(0, name.length - anchor.length);
  }
  return undefined;
}

/** The archive is of this layout, and damaged or incomplete. */
export function invalid(archive: Archive, what: string): DeepLabError {
  return new DeepLabError('ERR_INVALID_WEIGHTS', `${archive.file} ${what}`);
}

/** The archive is sound, and a network that cannot be built. */
export function unsupported(archive: Archive, what: string): DeepLabError {
  return new DeepLabError('ERR_UNSUPPORTED_MODEL', `${archive.file} ${what}`);
}
