// The weights that a training begins with: random ones, or those of a file as far as they fit, for the network that the
// metadata of a weights file describes. Writes them as a weights file in f32, batch norm not folded. docs/initial-weights.md
// says why each is as it is.

import path from 'node:path';
import { type CallOptions, callRules, stoppable } from '../abort';
import { DeepLabError, invalidArgument } from '../errors';
import type { IgnoredTensor, ImportedModel, ImportedTensor } from '../import/layouts/layout';
import { writeModel } from '../import/write';
import { booleanRule, checkOptions, integerRule, oneOfRule } from '../options';
import { type BlockPlaces, blockOf, placeBlocks } from './expansion';
import { type InitialSource, openInitialSource } from './initial-source';
import { type NetworkTensor, type NetworkTensors, networkTensors } from './network-tensors';
import { normalNumbers } from './normal';

/** What the weights are for, and from. */
export interface InitializeOptions extends CallOptions {
  /** The network: the `__metadata__` of docs/weights.md. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Decides all random values, 0 to 2^53 - 1. */
  readonly seed: number;
  /** A file of weights, of any format that can be imported: whole, or of a backbone alone. Default: all are random. */
  readonly from?: string | undefined;
  /**
   * How the training will treat batch norm. Where it is frozen, or folded, a bottleneck that is added begins as an identity
   * by its last kernel, which trains, instead of by the scale behind it, which does not. Default `trained`.
   */
  readonly batchNorm?: 'trained' | 'frozen' | undefined;
  /**
   * Whether random bottlenecks begin as identities too, by a scale of 0 in their last batch norm (arXiv 1706.02677,
   * section 5.1); only where batch norm is trained. Default true.
   */
  readonly zeroResidual?: boolean | undefined;
}

/** What the weights were made of. Each tensor of the network is taken, of an added bottleneck, or initialised. */
export interface Initialization {
  /** The file that was written, and its size in bytes. */
  readonly output: string;
  readonly bytes: number;
  /** Tensors with the values of `from`. */
  readonly taken: readonly string[];
  /** Bottlenecks that `from` does not have, such as `layer3.1`: the network computes the same with them. */
  readonly expanded: readonly string[];
  /** All other tensors, which have the values that the seed gives them. */
  readonly initialized: readonly string[];
  /** Tensors of `from` that the network does not have, and why. */
  readonly ignored: readonly IgnoredTensor[];
  /** Keys of the metadata by which the network of `from` computes something else with the same weights. */
  readonly differing: readonly { readonly key: string; readonly from: string; readonly network: string }[];
}

/**
 * Writes initial weights to `file`, which is replaced if it exists, and complete and checked when it gets its name.
 *
 * @throws ERR_UNSUPPORTED_MODEL for metadata of no network that can be built, or where nothing in `from` fits it;
 * ERR_NOT_FOUND, ERR_INVALID_WEIGHTS, ERR_UNSAFE_WEIGHTS, ERR_INVALID_ARGUMENT, ERR_WRITE, ERR_ABORTED, ERR_TIMEOUT or
 * ERR_NATIVE_ADDON.
 */
export async function initialize(options: InitializeOptions, file: string): Promise<Initialization> {
  checkOptions(options, {
    ...callRules,
    metadata: { expected: 'object of strings', required: true, accepts: isTexts },
    seed: { ...integerRule(0, Number.MAX_SAFE_INTEGER), required: true },
    from: { expected: 'path of a file', accepts: (value) => typeof value === 'string' && value !== '' },
    batchNorm: oneOfRule(['trained', 'frozen']),
    zeroResidual: booleanRule,
  });
  if (typeof file !== 'string' || file === '') throw invalidArgument('file', 'path of a file', file);
  return await stoppable(options, 'initialisation', async (signal) => {
    const source = options.from === undefined ? undefined : await openInitialSource(options.from);
    try {
      const { model, ...made } = planInitialization(options, source);
      const { bytes } = await writeModel(model, file, 'f32', signal);
      return { output: file, bytes, ...made };
    } finally {
      await source?.close();
    }
  });
}

/** What will be written, and what it is made of; no values are read or drawn yet. */
export interface PlannedInitialization extends Omit<Initialization, 'output' | 'bytes'> {
  readonly model: ImportedModel;
}

/** @throws ERR_UNSUPPORTED_MODEL as {@link initialize}. */
export function planInitialization(options: InitializeOptions, source?: InitialSource): PlannedInitialization {
  return new Initializer(options, networkTensors(options.metadata), source).plan();
}

function isTexts(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.values(value).every((text) => typeof text === 'string');
}

/** The layers that end in the classes, by docs/weights.md. */
const classLayer = /^(aspp\.branches\.\d+(\.fc8)?|classifier)$/;

/** The last batch norm, and the last convolution, of a bottleneck. */
const lastNorm = /^layer\d+\.\d+\.bn3$/;
const lastKernel = /^layer\d+\.\d+\.conv3$/;

/** Metadata that decides what a network computes with given weights, but for what `from` and the new one may differ in. */
const decisiveKeys = [
  ...['channel_order', 'value_range', 'mean', 'std', 'stride_placement', 'stride_unit', 'dilation_start'],
  ...['bn_eps', 'head_bn_eps', 'stem_padding', 'max_pool', 'multi_grid', 'pool5a'],
];

class Initializer {
  readonly #options: InitializeOptions;
  readonly #network: NetworkTensors;
  readonly #source: InitialSource | undefined;
  /** The network with its batch norms, even where they are folded into the convolutions. */
  readonly #unfolded: NetworkTensors;
  /** The source's own batch norms, where it says what network it is and they have to be folded. */
  readonly #sourceNorms: NetworkTensors['norms'];
  readonly #places: BlockPlaces;
  readonly #takesClasses: boolean;
  readonly #taken: string[] = [];
  readonly #expanded = new Set<string>();
  readonly #initialized: string[] = [];
  readonly #used = new Set<string>();

  constructor(options: InitializeOptions, network: NetworkTensors, source: InitialSource | undefined) {
    this.#options = options;
    this.#network = network;
    this.#source = source;
    const { metadata } = options;
    const folded = metadata.batch_norm === 'folded';
    this.#unfolded = folded ? networkTensors({ ...metadata, batch_norm: 'yes' }) : network;
    const described = folded && source?.metadata.architecture !== undefined;
    this.#sourceNorms = described ? networkTensors({ ...source.metadata, batch_norm: 'yes' }).norms : new Map();
    this.#places = placeBlocks(metadata, source);
    this.#takesClasses = this.#classesFit();
  }

  plan(): PlannedInitialization {
    const { metadata, seed } = this.#options;
    const tensors = new Map(this.#network.tensors.map((tensor) => [tensor.name, this.#tensor(tensor)]));
    const source = this.#source;
    if (source !== undefined && this.#taken.length === 0) {
      const some = [...source.tensors.keys()].slice(0, 4).join(', ');
      throw new DeepLabError(
        'ERR_UNSUPPORTED_MODEL',
        `${source.file} has nothing that fits a ${metadata.architecture} with ${metadata.backbone}: it has ${some}`,
      );
    }
    const added = this.#expanded.size > 0 ? `, ${this.#expanded.size} bottlenecks added` : '';
    const initialized = `seed ${seed}${source === undefined ? '' : `, from ${path.basename(source.file)}${added}`}`;
    const ignored = this.#ignored();
    return {
      model: { layout: 'deeplab', metadata: { ...metadata, initialized }, tensors, ignored },
      taken: this.#taken,
      expanded: [...this.#expanded],
      initialized: this.#initialized,
      ignored,
      differing: this.#differing(),
    };
  }

  /** Where a tensor's values come from. */
  #tensor(tensor: NetworkTensor): ImportedTensor {
    const { name, shape } = tensor;
    const block = blockOf(name);
    if (block !== undefined && this.#places.added.has(block)) {
      this.#expanded.add(block);
      return { shape, read: async () => this.#identity(tensor) };
    }
    const read = this.#takes(tensor);
    (read === undefined ? this.#initialized : this.#taken).push(name);
    return { shape, read: read ?? (async () => this.#random(tensor)) };
  }

  /** The reading of a tensor's values in the source; undefined if it has none that fit. */
  #takes(tensor: NetworkTensor): ImportedTensor['read'] | undefined {
    if (this.#source === undefined || (classLayer.test(tensor.layer) && !this.#takesClasses)) return undefined;
    return this.#unfoldedFrom(tensor) ?? this.#foldedFrom(tensor) ?? this.#plainFrom(tensor);
  }

  #plainFrom({ name, shape }: NetworkTensor): ImportedTensor['read'] | undefined {
    const found = this.#find(name, shape);
    return found && (() => found.read());
  }

  /** Of a batch norm that is folded into a bias in the source: one that adds that bias and does nothing else. */
  #unfoldedFrom({ name, layer, kind, shape }: NetworkTensor): ImportedTensor['read'] | undefined {
    const convolution = [...this.#network.norms].find(([, norm]) => norm.layer === layer);
    if (convolution === undefined || this.#peek(name) !== undefined) return undefined;
    const [conv, { eps }] = convolution;
    const bias = this.#find(`${conv}.bias`, shape);
    if (bias === undefined) return undefined;
    if (kind === 'shift') return () => bias.read();
    const value = { scale: Math.sqrt(1 + eps), mean: 0, variance: 1 }[kind as 'scale' | 'mean' | 'variance'];
    return async () => filled(shape, value);
  }

  /** Of a convolution that has a batch norm in the source, and here a bias instead. */
  #foldedFrom({ layer, kind, shape }: NetworkTensor): ImportedTensor['read'] | undefined {
    const norm = this.#unfolded === this.#network ? undefined : this.#unfolded.norms.get(layer);
    const channels = shape.slice(0, 1);
    const names = ['weight', 'bias', 'running_mean', 'running_var'].map((part) => `${norm?.layer}.${part}`);
    const parts = norm && names.map((name) => this.#find(name, channels));
    const kernel = kind === 'kernel' ? this.#find(`${layer}.weight`, shape) : undefined;
    if (norm === undefined || parts === undefined || parts.includes(undefined)) return undefined;
    if (kind === 'kernel' && kernel === undefined) return undefined;
    const { eps } = this.#sourceNorms.get(this.#places.sourceOf(layer)) ?? norm;
    return async () => {
      const read = await Promise.all(parts.map((part) => part?.read()));
      const [scale, shift, mean, variance] = read as [Float32Array, Float32Array, Float32Array, Float32Array];
      const factors = scale.map((value, i) => value / Math.sqrt((variance[i] as number) + eps));
      if (kernel === undefined) return shift.map((value, i) => value - (mean[i] as number) * (factors[i] as number));
      const values = await kernel.read();
      const each = values.length / factors.length;
      return values.map((value, i) => value * (factors[Math.floor(i / each)] as number));
    };
  }

  #peek(name: string): ImportedTensor | undefined {
    return this.#source?.tensors.get(this.#places.sourceOf(name));
  }

  /** The source's tensor for ours, which is used then; undefined if there is none of that shape. */
  #find(name: string, shape: readonly number[]): ImportedTensor | undefined {
    const found = this.#peek(name);
    if (found === undefined || !sameShape(found.shape, shape)) return undefined;
    this.#used.add(this.#places.sourceOf(name));
    return found;
  }

  /** Whether the source's last layers end in the classes of the network: all of them are taken, or none. */
  #classesFit(): boolean {
    const { metadata } = this.#options;
    const { classes, aspp_rates: rates } = this.#source?.metadata ?? {};
    // Names that an import made up say nothing.
    const known = classes !== undefined && !/^class0(,class\d+)*$/.test(classes);
    if (known && classes !== metadata.classes) return false;
    if (metadata.architecture !== 'deeplab_v3' && rates !== undefined && rates !== metadata.aspp_rates) return false;
    return this.#network.tensors
      .filter(({ layer }) => classLayer.test(layer))
      .every(({ name, shape }) => sameShape(this.#source?.tensors.get(name)?.shape ?? [], shape));
  }

  #random({ name, shape, kind, layer }: NetworkTensor): Float32Array {
    const { seed, batchNorm, zeroResidual = true } = this.#options;
    const identity = zeroResidual && batchNorm !== 'frozen' && lastNorm.test(layer);
    if (kind === 'scale' && !identity) return filled(shape, 1);
    if (kind === 'variance') return filled(shape, 1);
    if (kind !== 'kernel') return filled(shape, 0);
    const count = shape.reduce((product, size) => product * size, 1);
    // The layers that end in classes as in DeepLab (arXiv 1412.7062, section 5.1, by way of FCN), all others by He et al.
    // (arXiv 1502.01852, equation 14): the fan-out of a kernel is its outputs times its height and width.
    const [outputs = 1, , height = 1, width = 1] = shape;
    const deviation = classLayer.test(layer) ? 0.01 : Math.sqrt(2 / (outputs * height * width));
    return normalNumbers(seed, name, count, deviation);
  }

  /** Of a bottleneck that adds nothing to its input, but is ready to learn to. */
  #identity(tensor: NetworkTensor): Float32Array {
    const { kind, layer, shape } = tensor;
    const byScale = this.#options.batchNorm !== 'frozen' && this.#options.metadata.batch_norm !== 'folded';
    if (byScale && kind === 'scale') return filled(shape, lastNorm.test(layer) ? 0 : 1);
    if (kind === 'scale') return filled(shape, 1);
    if (!byScale && kind === 'kernel' && lastKernel.test(layer)) return filled(shape, 0);
    return this.#random(tensor);
  }

  #ignored(): IgnoredTensor[] {
    const shapes = new Map(this.#network.tensors.map(({ name, shape }) => [this.#places.sourceOf(name), shape]));
    const reason = (name: string, found: readonly number[]) => {
      const shape = shapes.get(name);
      if (shape === undefined) return 'is no part of the network';
      if (!sameShape(found, shape)) return `has the shape [${found.join(',')}]: expected [${shape.join(',')}]`;
      return 'belongs to other classes or rates';
    };
    return [...(this.#source?.tensors ?? [])]
      .filter(([name]) => !this.#used.has(name))
      .map(([name, { shape }]) => ({ name, reason: reason(name, shape) }));
  }

  #differing(): Initialization['differing'] {
    return decisiveKeys.flatMap((key) => {
      const [from, network] = [this.#source?.metadata[key], this.#options.metadata[key]];
      return from === undefined || network === undefined || from === network ? [] : [{ key, from, network }];
    });
  }
}

function filled(shape: readonly number[], value: number): Float32Array {
  return new Float32Array(shape.reduce((product, size) => product * size, 1)).fill(value);
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}
