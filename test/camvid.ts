// CamVid's road scenes and the network that was trained on them, which are in ../shared and not in this repository; and
// the figures by which label maps are judged. What tests of the network, tests of the CRF and bench/crf-camvid.js share.

import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';

const shared = path.join(__dirname, '..', '..', 'shared');
const data = path.join(shared, 'data', 'camvid');

/** The network, and how many classes it knows; the label after them is void. */
export const weights = path.join(shared, 'models', 'deeplabv2-resnet101-camvid.safetensors');
const classes = 11;

/** What is needed and is not there. */
export const missing = [weights, data].filter((file) => !existsSync(file));

export type Split = 'train' | 'val';

/** The paths of a split's images, in order. */
export function camvidImages(split: Split): string[] {
  const folder = path.join(data, split, 'images');
  return readdirSync(folder)
    .sort()
    .map((name) => path.join(folder, name));
}

/** What somebody painted: class ids and void, uint8 [360,480]. */
export async function camvidLabels(image: string): Promise<Uint8Array> {
  const name = `${path.parse(image).name}.png`;
  return await sharp(path.join(path.dirname(image), '..', 'labels', name))
    .extractChannel(0)
    .raw()
    .toBuffer();
}

/** Counts, over any number of images, which classes are taken for which. */
export class Confusion {
  readonly #counts = new Float64Array(classes * classes); // [truth, prediction]

  /** Pixels that are void do not count. */
  add(truth: Uint8Array, prediction: Uint8Array): void {
    for (const [i, label] of prediction.entries()) {
      const known = truth[i] as number;
      if (known < classes) (this.#counts[known * classes + label] as number)++;
    }
  }

  /** Intersection over union of each class, their mean, and pixel accuracy, in per cent. */
  figures(): { readonly ious: readonly number[]; readonly meanIou: number; readonly accuracy: number } {
    const all = Array.from({ length: classes }, (_, k) => k);
    const at = (truth: number, prediction: number) => this.#counts[truth * classes + prediction] as number;
    const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
    const ious = all.map((k) => {
      const hits = at(k, k);
      return (100 * hits) / (sum(all.map((j) => at(k, j) + at(j, k))) - hits);
    });
    const correct = sum(all.map((k) => at(k, k)));
    return { ious, meanIou: sum(ious) / classes, accuracy: (100 * correct) / sum([...this.#counts]) };
  }
}
