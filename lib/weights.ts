// Which file a model's name or path means. What is in the file is native code's to read and judge.

import { stat } from 'node:fs/promises';
import path from 'node:path';
import { cachedModel } from './cache';
import { DeepLabError, invalidArgument } from './errors';
import { isPublished } from './manifest';

const packagedWeights = unpacked(path.join(__dirname, '..', 'weights'));

/** The model that ships with this package, by its name, and the network of the family that it is (lib/family.ts). */
export const defaultModel = { name: 'camvid-resnet101', network: 'v2-resnet101-aspp' } as const;

/** The file of the model that ships, whether or not it is there. */
export const defaultWeights = packaged(defaultModel.name);

/** Where Electron has unpacked a file of an archive, which native code cannot look into (docs/electron.md). */
export function unpacked(file: string): string {
  return file.replace(/\.asar(?=[\\/])/, '.asar.unpacked');
}

function packaged(name: string): string {
  return path.join(packagedWeights, `${name}.safetensors`);
}

/**
 * The absolute path of a weights file, given as a path (relative to the working folder, or absolute) or as the name of
 * a model: one in this package's weights folder, or one that was pulled. A file of that path comes first.
 *
 * @throws ERR_NOT_FOUND saying where it looked, ERR_INVALID_ARGUMENT if `pathOrName` is not a string or is empty.
 */
export async function resolveWeights(pathOrName: string): Promise<string> {
  if (typeof pathOrName !== 'string' || pathOrName === '') {
    throw invalidArgument('pathOrName', 'path of a weights file or name of a model', pathOrName);
  }
  const candidates = [path.resolve(pathOrName)];
  if (!pathOrName.includes('/') && path.extname(pathOrName) === '') {
    candidates.push(packaged(pathOrName), cachedModel(pathOrName));
  }
  return await firstFile(candidates, pathOrName);
}

/**
 * The absolute path of the model that ships, whatever is in the working folder.
 *
 * @throws ERR_NOT_FOUND if it is not there.
 */
export async function resolveDefaultWeights(): Promise<string> {
  return await firstFile([defaultWeights], defaultModel.name);
}

/** The first of the candidates that is a file. */
async function firstFile(candidates: readonly string[], name: string): Promise<string> {
  for (const candidate of candidates) {
    if (await isFile(candidate)) return candidate;
  }
  const places = candidates.join(' and ');
  throw new DeepLabError(
    'ERR_NOT_FOUND',
    `There is no weights file ${JSON.stringify(name)}: looked for ${places}${hintFor(name)}`,
  );
}

function hintFor(name: string): string {
  if (name === defaultModel.name) {
    return '. It ships with deeplab: install the package whole, and leave it out of bundles; or name another model';
  }
  return isPublished(name) ? `. Get it by: deeplab weights pull ${name}` : '';
}

async function isFile(file: string): Promise<boolean> {
  try {
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}
