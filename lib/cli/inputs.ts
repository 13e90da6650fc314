// Which images a command line means, and what their results are called. Whether they can be decoded shows later.

import { stat } from 'node:fs/promises';
import path from 'node:path';
import { glob, isDynamicPattern } from 'tinyglobby';
import { DeepLabError } from '../errors';

/** An image to segment, or an argument that means none. */
export type CliInput =
  | {
      readonly kind: 'image';
      /** Path of the image, relative to the working folder as the argument was. */
      readonly path: string;
      /** What its results are called, without suffix: a path relative to the output folder. */
      readonly name: string;
    }
  | { readonly kind: 'missing'; readonly path: string; readonly error: DeepLabError };

/** What `segment` writes after an image's name. Folders and globs skip such files: they are results, not photos. */
export const labelsSuffix = '.labels.png';
export const overlaySuffix = '.overlay.png';

/** What a folder's images are told by: the extensions of the photo formats that sharp's own binaries decode. */
const imagesInside = '**/*.{avif,gif,jfif,jpe,jpeg,jpg,png,tif,tiff,webp}';

interface FoundImage {
  readonly path: string;
  /** The path below the folder, or below the fixed part of the glob; a file's own name. */
  readonly relative: string;
}

/**
 * Expands files, folders (images inside, recursively) and globs, in the order given, each image once. Names keep the
 * path below the folder or glob; two images that differ in the extension only keep it: `a.jpg` and `a.png`.
 *
 * @throws ERR_INVALID_ARGUMENT if the results of two images would have the same name all the same.
 */
export async function findInputs(args: readonly string[]): Promise<CliInput[]> {
  const images = new Map<string, FoundImage>();
  const missing = new Map<string, DeepLabError>();
  for (const arg of args) {
    const found = await expand(arg);
    if (found instanceof DeepLabError) missing.set(arg, found);
    else for (const image of found) images.set(path.resolve(image.path), images.get(path.resolve(image.path)) ?? image);
  }
  return [
    ...nameResults([...images.values()]),
    ...Array.from(missing, ([path, error]) => ({ kind: 'missing', path, error }) as const),
  ];
}

async function expand(arg: string): Promise<FoundImage[] | DeepLabError> {
  const found = await stat(arg).catch(() => undefined);
  if (found?.isDirectory()) {
    const images = await globBelow(arg, imagesInside);
    return images.length > 0 ? images : new DeepLabError('ERR_NOT_FOUND', `There is no image in the folder ${arg}`);
  }
  if (found === undefined && isDynamicPattern(arg)) {
    const { folder, pattern } = splitGlob(arg);
    const images = await globBelow(folder, pattern);
    return images.length > 0 ? images : new DeepLabError('ERR_NOT_FOUND', `No file matches ${arg}`);
  }
  if (found === undefined) return new DeepLabError('ERR_NOT_FOUND', `There is no file or folder ${arg}`);
  return [{ path: arg, relative: path.basename(arg) }];
}

async function globBelow(folder: string, pattern: string): Promise<FoundImage[]> {
  const files = await glob(pattern, {
    cwd: folder,
    ignore: [`**/*${labelsSuffix}`, `**/*${overlaySuffix}`],
    caseSensitiveMatch: false,
    expandDirectories: false,
  });
  return files.sort().map((relative) => ({ path: path.join(folder, relative), relative }));
}

/** The folders before the first special character, and the rest: `photos/2024` and `*` + `/x.jpg`. */
function splitGlob(arg: string): { folder: string; pattern: string } {
  const parts = arg.split('/');
  const special = parts.findIndex((part) => /[*?[{(!]/.test(part));
  return {
    folder: parts.slice(0, special).join('/') || (arg.startsWith('/') ? '/' : '.'),
    pattern: parts.slice(special).join('/'),
  };
}

function nameResults(images: readonly FoundImage[]): CliInput[] {
  const uses = new Map<string, number>();
  for (const { relative } of images) {
    uses.set(withoutExtension(relative), (uses.get(withoutExtension(relative)) ?? 0) + 1);
  }
  const taken = new Map<string, string>();
  return images.map(({ path, relative }) => {
    const name = uses.get(withoutExtension(relative)) === 1 ? withoutExtension(relative) : relative;
    const other = taken.get(name);
    if (other !== undefined) {
      throw new DeepLabError(
        'ERR_INVALID_ARGUMENT',
        `The results of ${other} and ${path} would both be called ${name}: name a folder that holds both, or use two output folders`,
      );
    }
    taken.set(name, path);
    return { kind: 'image', path, name };
  });
}

function withoutExtension(file: string): string {
  return file.slice(0, file.length - path.extname(file).length);
}
