// What other frameworks computed with the weights of an archive (networks/*.py, in float64), and how near an imported
// network comes to it.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { DeepLab } from '../../lib';
import type { Archive } from '../../lib/import/archive';
import { layoutOf } from '../../lib/import/layouts';
import type { StoragePrecision } from '../../lib/import/precision';
import { writeModel } from '../../lib/import/write';
import { agreement, relativeError } from '../comparison';
import { randomImage } from '../models';

export interface Reference {
  readonly image: { readonly width: number; readonly height: number; readonly seed: number };
  readonly logits: { readonly shape: readonly number[]; readonly data: readonly number[] };
  /** Of the whole image, uint8 [height,width] in base64. */
  readonly labels: string;
}

/** The reference `name`.json. */
export function readReference(name: string): Reference {
  return JSON.parse(readFileSync(path.join(__dirname, 'networks', 'references', `${name}.json`), 'utf8'));
}

/** Imports the archive as `file`; relative error of the logits, and the share of the pixels with the right label. */
export async function held(archive: Archive, reference: Reference, file: string, precision: StoragePrecision = 'f32') {
  await writeModel(layoutOf(archive).import(archive), file, precision);
  await using model = await DeepLab.load(file, { device: 'cpu', precision: 'f32', winograd: false });
  const { width, height, seed } = reference.image;
  const { logits, labels } = await model.segment(randomImage(width, height, seed), { logits: true });
  expect(logits?.shape).toEqual(reference.logits.shape);
  const error = relativeError(logits?.data ?? [], reference.logits.data);
  const same = agreement(labels, Buffer.from(reference.labels, 'base64'));
  process.stdout.write(`${file}: relative error ${error.toExponential(2)}, ${same * 100} % of the labels\n`);
  return { error, same };
}
