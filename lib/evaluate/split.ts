// What a reader of a dataset (voc.ts, camvid.ts, cityscapes.ts, folder.ts) finds out about a split: its files, its classes,
// and which class an id of its label maps is. dataset.ts reads the label maps by it.

import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { DeepLabError } from '../errors';
import type { Color } from '../palette';

/** The label of pixels that count for nothing. */
export const voidLabel = 255;

/** A class of a dataset. Its label is its place. */
export interface DatasetClass {
  readonly name: string;
  readonly color: Color;
}

/** An image and its label map, as paths. */
export interface DatasetItem {
  /** Unique within the dataset. */
  readonly id: string;
  readonly image: string;
  readonly labels: string;
}

/** Where a split lies, and how much of the format is the caller's to decide. */
export interface SplitPlace {
  readonly path: string;
  readonly split: string | undefined;
  readonly classes: readonly string[] | undefined;
}

/** A split as its format describes it. */
export interface Split {
  readonly classes: readonly DatasetClass[];
  /** In an order that does not change. */
  readonly items: readonly DatasetItem[];
  /** The label of each id that label maps may have. */
  readonly labelOf: ReadonlyMap<number, number>;
  /** Where label maps may be pictures in colour: the id of each, by r + 256 g + 65536 b. */
  readonly idOfColor?: ReadonlyMap<number, number>;
}

/** Ids that are labels, and ids that are void. */
export function labelsOf(classes: number, ...voidIds: readonly number[]): Map<number, number> {
  const labels = Array.from({ length: classes }, (_, id) => [id, id] as const);
  return new Map([...labels, ...voidIds.map((id) => [id, voidLabel] as const)]);
}

/** The names in a folder, in order; undefined where there is no such folder. */
export async function namesIn(folder: string): Promise<string[] | undefined> {
  try {
    return (await readdir(folder)).sort();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new DeepLabError('ERR_NOT_FOUND', `The dataset cannot be read: ${message}`, { cause });
  }
}

/** Names of pictures. */
export function isImage(name: string): boolean {
  return /\.(png|jpe?g|webp|tiff?|avif)$/i.test(name);
}

/**
 * The pictures in `images/`, each with the PNG of its name in `labels/`: of `place` itself if it has such a folder, else of
 * the split inside.
 *
 * @returns And the folder that has them.
 * @throws ERR_NOT_FOUND
 */
export async function pairsIn(place: string, split: string): Promise<{ folder: string; items: DatasetItem[] }> {
  const candidates = [place, path.join(place, split)];
  for (const folder of candidates) {
    const names = await namesIn(path.join(folder, 'images'));
    if (names === undefined) continue;
    const items = names.filter(isImage).map((name) => {
      const id = path.parse(name).name;
      return { id, image: path.join(folder, 'images', name), labels: path.join(folder, 'labels', `${id}.png`) };
    });
    return { folder, items };
  }
  const places = candidates.map((folder) => path.join(folder, 'images')).join(' and ');
  throw new DeepLabError('ERR_NOT_FOUND', `There is no folder of images: looked for ${places}`);
}
