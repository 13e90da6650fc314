// The configuration of a training: what there is to decide, which values it may have, and what is decided where nothing is
// said. docs/training.md describes every key; a test holds it against this schema.

import { z } from 'zod';
import { precisionChoices } from '../device';
import { DeepLabError } from '../errors';
import { family } from '../family';

const count = z.int().min(1).max(1e9);
const side = z.int().min(1).max(16_384);
const positive = z.number().positive();
const notNegative = z.number().nonnegative();
const text = z.string().min(1);
const path = z.string().min(1);

/** The keys of docs/weights.md, which a weights file has in its `__metadata__`; `network` stands for many of them. */
const model = z.strictObject({
  network: z.enum(family.map(({ name }) => name)).optional(),
  architecture: text.optional(),
  backbone: text.optional(),
  output_stride: text.optional(),
  aspp_rates: z.string().optional(),
  aspp_fusion: text.optional(),
  stride_placement: text.optional(),
  stride_unit: text.optional(),
  dilation_start: text.optional(),
  multi_grid: text.optional(),
  cascade_blocks: text.optional(),
  image_pooling: text.optional(),
  head_channels: text.optional(),
  head_conv: text.optional(),
  fc6_kernel: text.optional(),
  pool5a: text.optional(),
  width_multiplier: text.optional(),
  channel_divisor: text.optional(),
  bn_eps: text.optional(),
  head_bn_eps: text.optional(),
  batch_norm: text.optional(),
  stem_padding: text.optional(),
  max_pool: text.optional(),
  upsample: text.optional(),
  classes: text.optional(),
  palette: text.optional(),
  channel_order: text.default('rgb'),
  value_range: text.default('0..1'),
  mean: text.default('0.485,0.456,0.406'),
  std: text.default('0.229,0.224,0.225'),
  input_size: text.optional(),
  pad_to_multiple: text.optional(),
  crf_bilateral: text.optional(),
  crf_gaussian: text.optional(),
  crf_iterations: text.optional(),
});

const data = z.strictObject({
  format: z.enum(['voc', 'camvid', 'cityscapes', 'folder']),
  path,
  split: text.default('train'),
  limit: count.nullable().default(null),
  workers: z.int().min(1).max(64).nullable().default(null),
  prefetch: z.int().min(1).max(64).default(3),
  cacheBytes: z
    .int()
    .min(0)
    .max(2 ** 50)
    .default(2 ** 30),
});

const augment = z.strictObject({
  scale: z
    .tuple([z.number().min(0.05).max(20), z.number().min(0.05).max(20)])
    .refine(([lowest, highest]) => lowest <= highest, 'Expected the lower scale first')
    .default([0.5, 1.5]),
  width: side.default(321),
  height: side.default(321),
  flip: z.boolean().default(true),
});

const warmup = z.int().min(0).max(1e9).default(0);
const policy = z.discriminatedUnion('name', [
  z.strictObject({ name: z.literal('poly'), power: notNegative.default(0.9), warmup }),
  z.strictObject({ name: z.literal('step'), size: count, gamma: positive.max(1).default(0.1), warmup }),
]);

const multipliers = z.strictObject({
  backbone: notNegative.default(1),
  backboneBias: notNegative.default(1),
  head: notNegative.default(10),
  headBias: notNegative.default(20),
});

const evaluation = z.strictObject({
  every: z.int().min(0).max(1e9).default(1000),
  split: text.default('val'),
  limit: count.nullable().default(null),
});

const checkpoint = z.strictObject({
  every: z.int().min(0).max(1e9).default(1000),
  minutes: positive.nullable().default(10),
});

export const configSchema = z.strictObject({
  model,
  init: z.strictObject({ from: path.nullable().default(null), zeroResidual: z.boolean().default(true) }).prefault({}),
  data,
  augment: augment.prefault({}),
  batch: z.int().min(1).max(1024).default(10),
  accumulate: z.int().min(1).max(1024).default(1),
  iterations: count.default(20_000),
  learningRate: positive.default(0.001),
  policy: policy.prefault({ name: 'poly' }),
  momentum: z.number().min(0).lt(1).default(0.9),
  weightDecay: notNegative.default(5e-4),
  multipliers: multipliers.prefault({}),
  decay: z.strictObject({ bias: z.boolean().default(false), batchNorm: z.boolean().default(false) }).prefault({}),
  batchNorm: z.enum(['frozen', 'trained']).default('frozen'),
  batchNormMomentum: z.number().min(0).max(1).default(0.1),
  dropout: z.number().min(0).lt(1).default(0.5),
  loss: z.enum(['grid', 'image']).default('grid'),
  classWeights: z.union([z.enum(['none', 'median-frequency']), z.array(notNegative).min(1).max(256)]).default('none'),
  seed: z
    .int()
    .min(0)
    .max(2 ** 32 - 1)
    .default(1),
  device: z
    .string()
    .regex(/^(auto|cpu|cuda(:\d{1,4})?)$/, 'Expected auto, cpu, cuda or cuda:<number>')
    .default('auto'),
  precision: z.enum(precisionChoices).default('auto'),
  threads: z.int().min(1).max(1024).nullable().default(null),
  evaluation: evaluation.prefault({}),
  checkpoint: checkpoint.prefault({}),
  out: path.default('training'),
});

/** A configuration as it is written: what has a default may be left out. */
export type TrainConfig = z.input<typeof configSchema>;

/** A configuration with everything decided. */
export type Config = z.output<typeof configSchema>;

/**
 * Checks a configuration and fills in what it leaves out.
 *
 * @throws ERR_INVALID_ARGUMENT naming each key that is unknown or wrong.
 */
export function readConfig(value: unknown): Config {
  const result = configSchema.safeParse(value);
  if (!result.success) {
    const problems = result.error.issues.flatMap((issue) => describe(issue, []));
    throw new DeepLabError('ERR_INVALID_ARGUMENT', `The training's configuration is wrong: ${problems.join('; ')}`);
  }
  const { model } = result.data;
  if (model.network === undefined && model.architecture === undefined) {
    throw new DeepLabError(
      'ERR_INVALID_ARGUMENT',
      "The training's configuration is wrong: model has neither network, a name that `deeplab models` lists, nor architecture",
    );
  }
  return result.data;
}

/** Such as "augment.width: expected number, received string". */
function describe(issue: z.core.$ZodIssue, above: readonly PropertyKey[]): string[] {
  const path = [...above, ...issue.path];
  const place = path.length === 0 ? 'the whole' : path.map(String).join('.');
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => `${[...path, key].map(String).join('.')}: there is no such key`);
  }
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    const options = issue.errors.map((each) => each.flatMap((inner) => describe(inner, path)).join(' and '));
    return [options.join(', or ')];
  }
  return [`${place}: ${issue.message}`];
}

/**
 * Sets a key of a configuration that was read from a file, such as `policy.power` to `0.9`: the value is JSON, or else the
 * text itself.
 *
 * @throws ERR_INVALID_ARGUMENT for what is no `key=value`, or leads into what is no object.
 */
export function setKey(config: Record<string, unknown>, assignment: string): void {
  const [, key, value] = /^([A-Za-z0-9_.]+)=(.*)$/s.exec(assignment) ?? [];
  if (key === undefined || value === undefined) {
    throw new DeepLabError('ERR_INVALID_ARGUMENT', `Expected key=value for --set but received ${assignment}`);
  }
  const names = key.split('.');
  const last = names.pop() as string;
  let place: Record<string, unknown> = config;
  for (const name of names) {
    if (!Object.hasOwn(place, name)) place[name] = {};
    const next: unknown = place[name];
    if (typeof next !== 'object' || next === null || Array.isArray(next)) {
      throw new DeepLabError('ERR_INVALID_ARGUMENT', `${key} cannot be set: ${name} is no object`);
    }
    place = next as Record<string, unknown>;
  }
  // Defined, not assigned: `__proto__` is a key like any other, which the schema does not know.
  Object.defineProperty(place, last, { value: parsed(value), enumerable: true, configurable: true, writable: true });
}

function parsed(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

/** Keys that may be others when a training goes on: they change neither what is learnt nor in which order. */
const free = new Set(['out', 'device', 'threads', 'evaluation', 'checkpoint', 'init']);
const freeOfData = new Set(['path', 'workers', 'prefetch', 'cacheBytes']);

/** What of a configuration decides what is learnt; a training goes on only with the same. */
export function decisiveKeys(config: Config): ReadonlyMap<string, string> {
  const keys = new Map<string, string>();
  for (const [key, value] of Object.entries(config)) {
    if (free.has(key)) continue;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) keys.set(key, JSON.stringify(value));
    else {
      for (const [name, inner] of Object.entries(value)) {
        if (key !== 'data' || !freeOfData.has(name)) keys.set(`${key}.${name}`, JSON.stringify(inner));
      }
    }
  }
  return keys;
}

/** The same of a configuration that says nothing beside the network, the data and the policy's name. */
export function defaultKeys({ model, data: { format, path }, policy }: Config): ReadonlyMap<string, string> {
  const named = policy.name === 'step' ? { name: policy.name, size: policy.size } : { name: policy.name };
  return decisiveKeys(readConfig({ model, data: { format, path }, policy: named }));
}
