// CamVid's road scenes with the 11 classes of SegNet: a folder per split with images/ and labels/, PNGs of ids, of which
// 11 is void. Brostow, Fauqueur and Cipolla: Semantic object classes in video, 2009.

import { type DatasetClass, labelsOf, pairsIn, type Split, type SplitPlace, voidLabel } from './split';

const classes: readonly DatasetClass[] = [
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

/** @throws ERR_NOT_FOUND */
export async function camvidSplit({ path: place, split = 'val' }: SplitPlace): Promise<Split> {
  const { items } = await pairsIn(place, split);
  return { classes, items, labelOf: labelsOf(classes.length, classes.length, voidLabel) };
}
