// The images of a split with their labels, as a training reads them: by number, decoded. Where they lie, and what their
// labels mean, lib/evaluate/dataset.ts knows.

import { DeepLabError } from '../errors';
import { openDataset } from '../evaluate/dataset';
import { type DatasetClass, type DatasetItem, voidLabel } from '../evaluate/split';
import { decodeImage } from '../image';
import type { LabelledImage } from './augmentation';
import type { Config } from './config';

/** The label of pixels that count for nothing. */
export const ignoredLabel = voidLabel;

/** Which images. */
export type ImageChoice = Pick<Config['data'], 'format' | 'path' | 'split' | 'limit'>;

/** A split of a dataset. */
export interface LabelledImages {
  /** One per image, in an order that does not change. */
  readonly names: readonly string[];
  readonly classes: readonly DatasetClass[];
  /** @throws ERR_INVALID_IMAGE, ERR_NOT_FOUND */
  read(index: number): Promise<LabelledImage>;
}

/** @throws ERR_NOT_FOUND where there are none. */
export async function openImages({ format, path, split, limit }: ImageChoice): Promise<LabelledImages> {
  const dataset = await openDataset({ format, path, split, limit: limit ?? undefined });
  const read = async (index: number): Promise<LabelledImage> => {
    const item = dataset.items[index] as DatasetItem;
    const { data: labels, width, height } = await dataset.readLabels(item);
    const { data: pixels, channels } = await decodeImage(item.image);
    if (channels !== 3) throw new DeepLabError('ERR_INVALID_IMAGE', `${item.image} is not in colour`);
    return { pixels: Uint8Array.from(pixels), labels, width, height };
  };
  return { names: dataset.items.map(({ id }) => id), classes: dataset.classes, read };
}
