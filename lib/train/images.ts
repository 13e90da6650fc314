// The images of a split with their labels, as a training reads them: by number, decoded, classes from 0 and 255 for what
// counts for nothing. Where they lie, and what their labels mean, the dataset's format says.

import { readdir } from 'node:fs/promises';
import path from 'node:path';
import sharp from 'sharp';
import { DeepLabError } from '../errors';
import { decodeImage } from '../image';
import type { Color } from '../palette';
import type { LabelledImage } from './augmentation';
import type { Config } from './config';

/** The label of pixels that count for nothing. */
export const ignoredLabel = 255;

/** Which images. */
export type ImageChoice = Pick<Config['data'], 'format' | 'path' | 'split' | 'limit'>;

/** A split of a dataset. */
export interface LabelledImages {
  /** One per image, in an order that does not change. */
  readonly names: readonly string[];
  readonly classes: readonly { readonly name: string; readonly color: Color }[];
  /** @throws ERR_INVALID_IMAGE, ERR_NOT_FOUND */
  read(index: number): Promise<LabelledImage>;
}

const camvidClasses: readonly { readonly name: string; readonly color: Color }[] = [
  { name: 'sky', color: [128, 128, 128] },
  { name: 'building', color: [128, 0, 0] },
  { name: 'pole', color: [192, 192, 128] },
  { name: 'road', color: [128, 64, 128] },
  { name: 'pavement', color: [60, 40, 222] },
  { name: 'tree', color: [128, 128, 0] },
  { name: 'sign', color: [192, 128, 128] },
  { name: 'fence', color: [64, 64, 128] },
  { name: 'car', color: [64, 0, 128] },
  { name: 'pedestrian', color: [64, 64, 0] },
  { name: 'bicyclist', color: [0, 128, 192] },
];

/** @throws ERR_NOT_FOUND where there are none. */
export async function openImages({ format, path: place, split, limit }: ImageChoice): Promise<LabelledImages> {
  if (format !== 'camvid') {
    throw new DeepLabError('ERR_INVALID_ARGUMENT', `Expected camvid for data.format but received ${format}`);
  }
  const folder = path.join(place, split);
  let files: string[];
  try {
    files = (await readdir(path.join(folder, 'images'))).filter((file) => /\.(png|jpe?g)$/i.test(file)).sort();
  } catch (cause) {
    throw new DeepLabError('ERR_NOT_FOUND', `The images cannot be read: ${(cause as Error).message}`, { cause });
  }
  files = files.slice(0, limit ?? files.length);
  if (files.length === 0) throw new DeepLabError('ERR_NOT_FOUND', `${folder}/images has no images`);
  const names = files.map((file) => path.parse(file).name);
  const read = async (index: number): Promise<LabelledImage> => {
    const file = path.join(folder, 'images', files[index] as string);
    const labelFile = path.join(folder, 'labels', `${names[index]}.png`);
    const { data: pixels, width, height, channels } = await decodeImage(file);
    const labels = await sharp(labelFile).extractChannel(0).raw().toBuffer({ resolveWithObject: true });
    const { info } = labels;
    if (channels !== 3 || info.channels !== 1 || info.width !== width || info.height !== height) {
      const message = `${labelFile} is ${info.width}x${info.height} with ${info.channels} channels: expected ${width}x${height} with 1`;
      throw new DeepLabError('ERR_INVALID_IMAGE', message);
    }
    const classes = Uint8Array.from(labels.data, (label) => (label === camvidClasses.length ? ignoredLabel : label));
    const wrong = classes.find((label) => label !== ignoredLabel && label >= camvidClasses.length);
    if (wrong !== undefined) throw new DeepLabError('ERR_INVALID_IMAGE', `${labelFile} has the unknown label ${wrong}`);
    return { pixels: Uint8Array.from(pixels), labels: classes, width, height };
  };
  return { names, classes: camvidClasses, read };
}
