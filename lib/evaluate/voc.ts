// PASCAL VOC 2012: the folder of the development kit (VOCdevkit, VOC2012, or what holds them), whose ImageSets list a
// split's images; or images/ and labels/ alone. Label maps are indexed PNGs, or pictures in the colours of the palette;
// 255, the border of objects, is void.

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { DeepLabError } from '../errors';
import { vocPalette } from '../palette';
import { type DatasetItem, labelsOf, namesIn, pairsIn, type Split, type SplitPlace, voidLabel } from './split';

const names = [
  ...['background', 'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow'],
  ...['diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor'],
];
const palette = vocPalette(256);
const classes = names.map((name, id) => ({ name, color: palette[id] ?? [0, 0, 0] }));
const idOfColor = new Map(palette.map(([r, g, b], id) => [r + 256 * g + 65_536 * b, id]));

/** @throws ERR_NOT_FOUND, ERR_INVALID_ARGUMENT for a list of images that is none. */
export async function vocSplit({ path: place, split = 'val' }: SplitPlace): Promise<Split> {
  const labelOf = labelsOf(classes.length, voidLabel);
  for (const kit of [place, path.join(place, 'VOC2012'), path.join(place, 'VOCdevkit', 'VOC2012')]) {
    const lists = path.join(kit, 'ImageSets', 'Segmentation');
    if ((await namesIn(lists)) === undefined) continue;
    return { classes, items: await listed(kit, path.join(lists, `${split}.txt`)), labelOf, idOfColor };
  }
  return { classes, items: (await pairsIn(place, split)).items, labelOf, idOfColor };
}

async function listed(kit: string, list: string): Promise<DatasetItem[]> {
  let text: string;
  try {
    text = await readFile(list, 'utf8');
  } catch (cause) {
    throw new DeepLabError('ERR_NOT_FOUND', `The list of images cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
  const ids = text.split('\n').map((line) => line.trim());
  return ids.filter(Boolean).map((id) => {
    // A name, and no way out of the folder.
    if (!/^[\w-]+$/.test(id))
      throw new DeepLabError('ERR_INVALID_ARGUMENT', `${list} has a line that is no name: ${id}`);
    const image = path.join(kit, 'JPEGImages', `${id}.jpg`);
    return { id, image, labels: path.join(kit, 'SegmentationClass', `${id}.png`) };
  });
}
