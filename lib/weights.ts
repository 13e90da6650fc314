// Which file a model's name or path means. What is in the file is native code's to read and judge.

import { stat } from 'node:fs/promises';
import path from 'node:path';
import { cachedModel } from './cache';
import { DeepLabError, invalidArgument } from './errors';
import { isPublished } from './manifest';

const packagedWeights = path.join(__dirname, '..', 'weights');

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
    candidates.push(path.join(packagedWeights, `${pathOrName}.safetensors`), cachedModel(pathOrName));
  }
  for (const candidate of candidates) {
    if (await isFile(candidate)) return candidate;
  }
  const places = candidates.join(' and ');
  const hint = isPublished(pathOrName) ? `. Get it by: deeplab weights pull ${pathOrName}` : '';
  throw new DeepLabError(
    'ERR_NOT_FOUND',
    `There is no weights file ${JSON.stringify(pathOrName)}: looked for ${places}${hint}`,
  );
}

async function isFile(file: string): Promise<boolean> {
  try {
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}
