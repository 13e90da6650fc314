// Any dataset of images/ and labels/, with PNGs of the names of the images, whose palette indices or shades of grey are
// classes; 255 is void. The classes are the caller's, or those of classes.txt (a name a line), or numbered up to the
// largest label that there is.

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { DeepLabError } from '../errors';
import { vocPalette } from '../palette';
import { readLabelMap } from './label-map';
import { type DatasetItem, labelsOf, pairsIn, type Split, type SplitPlace, voidLabel } from './split';

/** @throws ERR_NOT_FOUND; ERR_INVALID_ARGUMENT for classes that are none. */
export async function folderSplit({ path: place, split = 'val', classes }: SplitPlace): Promise<Split> {
  const { folder, items } = await pairsIn(place, split);
  const names = classes ?? (await listedClasses([folder, place])) ?? (await numberedClasses(items));
  if (names.length < 1 || names.length > voidLabel) {
    const message = `${place} has ${names.length} classes: expected 1 to ${voidLabel}`;
    throw new DeepLabError('ERR_INVALID_ARGUMENT', message);
  }
  const palette = vocPalette(names.length);
  const named = names.map((name, id) => ({ name, color: palette[id] ?? [0, 0, 0] }));
  return { classes: named, items, labelOf: labelsOf(names.length, voidLabel) };
}

async function listedClasses(folders: readonly string[]): Promise<string[] | undefined> {
  for (const folder of folders) {
    const file = path.join(folder, 'classes.txt');
    try {
      const lines = (await readFile(file, 'utf8')).split('\n').map((line) => line.trim());
      return lines.filter(Boolean);
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      if (code !== 'ENOENT') throw new DeepLabError('ERR_NOT_FOUND', `${file} cannot be read: ${message}`, { cause });
    }
  }
  return undefined;
}

/** Looks through all label maps. */
async function numberedClasses(items: readonly DatasetItem[]): Promise<string[]> {
  let largest = -1;
  for (const { labels } of items) {
    const { data, kind } = await readLabelMap(labels);
    if (kind === 'colors') continue; // which is an error when it is read for its labels
    for (const id of data) if (id > largest && id !== voidLabel) largest = id;
  }
  return Array.from({ length: largest + 1 }, (_, id) => String(id));
}
