// The images of a split with their labels, as a training reads them: by number, decoded. Where they lie, and what their
// labels mean, lib/evaluate/dataset.ts knows.

import { openDataset } from '../evaluate/dataset';
import { type DatasetClass, type DatasetItem, voidLabel } from '../evaluate/split';
import { decodeImage, type RawImage } from '../image';
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
    return { pixels: threeChannels(await decodeImage(item.image)), labels, width, height };
  };
  return { names: dataset.items.map(({ id }) => id), classes: dataset.classes, read };
}

/** uint8 [H,W,3], as inference sees an image: grey in all three, alpha ignored. */
export function threeChannels({ data, channels }: Pick<RawImage, 'data' | 'channels'>): Uint8Array {
  if (channels === 3) return data;
  const all = new Uint8Array((data.length / channels) * 3);
  for (let i = 0; i < all.length; i++) {
    const pixel = Math.floor(i / 3) * channels;
    all[i] = data[channels === 1 ? pixel : pixel + (i % 3)] as number;
  }
  return all;
}
