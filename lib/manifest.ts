// The list of published models that can be pulled: weights/manifest.json, or the file that the environment variable
// DEEPLAB_MANIFEST names.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { DeepLabError } from './errors';
import { family } from './family';
import { layoutNames } from './import/layouts/index';
import { checkOptions, integerRule, type OptionRule, oneOfRule } from './options';

/** A published model. Facts that nobody has published, or that were not certain, are null. */
export interface PublishedModel {
  /** For people, as `DeepLab v3, ResNet-50`. */
  readonly title: string;
  /** The network of the family that it is, such as `v3-resnet50-torchvision`; null if it is another. */
  readonly network: string | null;
  /** Where its file is. */
  readonly url: string;
  /** Size of that file in bytes. */
  readonly size: number | null;
  /** SHA-256 of that file, 64 hexadecimal digits. */
  readonly sha256: string | null;
  /** The first digits of the SHA-256, where no more was published; at least 8. */
  readonly sha256Prefix: string | null;
  /** The format of the archive that the weights are in. */
  readonly unpack: 'tar.gz' | null;
  /** The layout of its names, for `importWeights`. */
  readonly layout: string;
  readonly classes: number;
  /** What it was trained on. */
  readonly dataset: string;
  /** The accuracy that its makers published, with how it was measured. */
  readonly accuracy: string | null;
  /** The licence under which its makers published it. */
  readonly licence: string | null;
  /** The page that these facts are from. */
  readonly source: string;
  /** Whether this very file was downloaded and run by the makers of this library. */
  readonly tried: boolean;
}

/** The models by name. */
export type Manifest = Readonly<Record<string, PublishedModel>>;

const packaged = path.join(__dirname, '..', 'weights', 'manifest.json');

const textRule: OptionRule = {
  expected: 'text',
  required: true,
  accepts: (value) => typeof value === 'string' && value !== '',
};

const rules: Readonly<Record<keyof PublishedModel, OptionRule>> = {
  title: textRule,
  network: orNull(oneOfRule(family.map(({ name }) => name))),
  url: { ...textRule, expected: 'address (http or https)', accepts: (value) => /^https?:\/\//.test(String(value)) },
  size: orNull(integerRule(1, Number.MAX_SAFE_INTEGER)),
  sha256: orNull(hexRule(64, 64)),
  sha256Prefix: orNull(hexRule(8, 64)),
  unpack: orNull(oneOfRule(['tar.gz'])),
  layout: { ...oneOfRule(layoutNames), required: true },
  classes: { ...integerRule(1, 256), required: true },
  dataset: textRule,
  accuracy: orNull(textRule),
  licence: orNull(textRule),
  source: textRule,
  tried: { expected: 'boolean', required: true, accepts: (value) => typeof value === 'boolean' },
};

function orNull({ expected, accepts }: OptionRule): OptionRule {
  return {
    expected: `${expected} or null`,
    required: true,
    accepts: (value) => value === null || accepts(value),
  };
}

function hexRule(fewest: number, most: number): OptionRule {
  const pattern = new RegExp(`^[0-9a-f]{${fewest},${most}}$`);
  return {
    expected: `${fewest === most ? most : `${fewest} to ${most}`} lower-case hexadecimal digits`,
    accepts: (value) => typeof value === 'string' && pattern.test(value),
  };
}

/**
 * The published models.
 *
 * @throws ERR_NOT_FOUND if there is no manifest, ERR_INVALID_ARGUMENT naming what is wrong in it.
 */
export function readManifest(): Manifest {
  const file = process.env.DEEPLAB_MANIFEST || packaged;
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    const code = cause instanceof SyntaxError ? 'ERR_INVALID_ARGUMENT' : 'ERR_NOT_FOUND';
    throw new DeepLabError(code, `The manifest ${file} cannot be read: ${(cause as Error).message}`, { cause });
  }
  const models = (parsed as { models?: unknown } | null)?.models;
  if (typeof models !== 'object' || models === null) {
    throw new DeepLabError('ERR_INVALID_ARGUMENT', `The manifest ${file} has no object "models"`);
  }
  for (const [name, model] of Object.entries(models)) {
    // It becomes the name of a file.
    if (!/^[a-z0-9][a-z0-9_-]*$/.test(name)) {
      throw new DeepLabError('ERR_INVALID_ARGUMENT', `The manifest ${file} has the name ${JSON.stringify(name)}`);
    }
    checkOptions(model as PublishedModel, rules, `${file}: ${name}`);
  }
  return models as Manifest;
}

/** Whether the manifest has a model of this name; not if it cannot be read. */
export function isPublished(name: string): boolean {
  try {
    return Object.hasOwn(readManifest(), name);
  } catch {
    return false;
  }
}
