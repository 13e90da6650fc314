// Cityscapes' street scenes: leftImg8bit/<split>/<city>/ has the images, gtFine/<split>/<city>/ the PNGs of label ids, of
// which 19 classes are counted, in the order of their train ids (labels.py of the dataset's scripts), and the others void.

import path from 'node:path';
import { DeepLabError } from '../errors';
import type { Color } from '../palette';
import { type DatasetItem, namesIn, type Split, type SplitPlace, voidLabel } from './split';

/** In the order of the train ids: the label id, the name, the colour. */
const counted: readonly (readonly [id: number, name: string, color: Color])[] = [
  [7, 'road', [128, 64, 128]],
  [8, 'sidewalk', [244, 35, 232]],
  [11, 'building', [70, 70, 70]],
  [12, 'wall', [102, 102, 156]],
  [13, 'fence', [190, 153, 153]],
  [17, 'pole', [153, 153, 153]],
  [19, 'traffic light', [250, 170, 30]],
  [20, 'traffic sign', [220, 220, 0]],
  [21, 'vegetation', [107, 142, 35]],
  [22, 'terrain', [152, 251, 152]],
  [23, 'sky', [70, 130, 180]],
  [24, 'person', [220, 20, 60]],
  [25, 'rider', [255, 0, 0]],
  [26, 'car', [0, 0, 142]],
  [27, 'truck', [0, 0, 70]],
  [28, 'bus', [0, 60, 100]],
  [31, 'train', [0, 80, 100]],
  [32, 'motorcycle', [0, 0, 230]],
  [33, 'bicycle', [119, 11, 32]],
];
const classes = counted.map(([, name, color]) => ({ name, color }));

/** Ids from 0 to this one exist; and -1, a licence plate, which a byte has as 255. */
const lastId = 33;
const suffix = '_leftImg8bit.png';

/** @throws ERR_NOT_FOUND */
export async function cityscapesSplit({ path: place, split = 'val' }: SplitPlace): Promise<Split> {
  const labelOf = new Map([[255, voidLabel]]);
  for (let id = 0; id <= lastId; id++) labelOf.set(id, voidLabel);
  for (const [label, [id]] of counted.entries()) labelOf.set(id, label);
  const folder = path.join(place, 'leftImg8bit', split);
  const cities = await namesIn(folder);
  if (cities === undefined)
    throw new DeepLabError('ERR_NOT_FOUND', `There is no folder of images: looked for ${folder}`);
  const items: DatasetItem[] = [];
  for (const city of cities) {
    for (const name of (await namesIn(path.join(folder, city))) ?? []) {
      if (!name.endsWith(suffix)) continue;
      const id = name.slice(0, -suffix.length);
      const labels = path.join(place, 'gtFine', split, city, `${id}_gtFine_labelIds.png`);
      items.push({ id, image: path.join(folder, city, name), labels });
    }
  }
  return { classes, items, labelOf };
}
