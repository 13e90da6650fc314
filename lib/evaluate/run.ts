// Evaluates a model on a dataset: segments the images, counts, and adds up. What is asked for, lib/evaluate.ts has checked.

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type { DeepLab } from '../deeplab';
import { DeepLabError } from '../errors';
import type { SegmentAllOptions } from '../segment-all';
import { Confusion, type Scores } from './confusion';
import type { Dataset } from './dataset';
import { type Counted, type ImageCounts, ProgressFile } from './progress';
import type { DatasetClass, DatasetItem } from './split';
import { Trimap, type TrimapRecord } from './trimap';

/** What of an evaluation decides its numbers, beside the model and the images. */
export interface EvaluationSettings extends Pick<SegmentAllOptions, 'scales' | 'fuse' | 'flip' | 'crf'> {
  /** Widths of the bands. */
  readonly trimap?: readonly number[] | undefined;
}

/** How an evaluation is run. */
export interface EvaluationRun extends EvaluationSettings {
  /** File for the progress, and the weights file, whose content is part of what the progress is of. */
  readonly resume?: { readonly file: string; readonly weights: string } | undefined;
  readonly onImage?: ((event: ImageEvent) => void) | undefined;
}

/** An image that was evaluated. */
export interface EvaluatedImage extends Pick<DatasetItem, 'id' | 'image' | 'labels'> {
  /** Over the classes that this image has, 0..1; NaN where all of it is void. */
  readonly miou: number;
  readonly pixelAccuracy: number;
  readonly withCrf?: Pick<Scores, 'miou' | 'pixelAccuracy'> | undefined;
}

/** Says that an image is done. */
export interface ImageEvent {
  /** Images that are done, this one included, and all there are. */
  readonly done: number;
  readonly total: number;
  readonly image: EvaluatedImage;
}

/** What one way of labelling comes to. */
export interface Result extends Scores {
  /** Pixels by true class (rows) and predicted class. */
  readonly confusion: readonly (readonly number[])[];
  /** Mean IoU near the boundaries, for each width of the band; NaN where it has no pixels. */
  readonly trimap?: { readonly widths: readonly number[]; readonly miou: readonly number[] } | undefined;
}

/** What an evaluation comes to: the network's labels, and with a CRF the refined ones as well. */
export interface Evaluation extends Result {
  readonly classes: readonly DatasetClass[];
  readonly withCrf?: Result | undefined;
  /** In the order of the dataset. */
  readonly images: readonly EvaluatedImage[];
  /** From file to figures, of the images that were not done before; null where there were none. */
  readonly imagesPerSecond: number | null;
}

/** @throws What {@link evaluate} throws. */
export async function runEvaluation(
  model: DeepLab,
  dataset: Dataset,
  { resume, onImage, ...settings }: EvaluationRun,
  signal: AbortSignal,
): Promise<Evaluation> {
  const classes = dataset.classes.length;
  if (model.classes.length !== classes) {
    const message = `The model has ${model.classes.length} classes and the dataset ${classes}: expected the same`;
    throw new DeepLabError('ERR_INVALID_ARGUMENT', message);
  }
  const progress =
    resume &&
    (await ProgressFile.open(resume.file, await keyOf(model, dataset, settings, resume.weights), classes ** 2));
  const counts = new Map(progress?.done);
  const pending = dataset.items.filter(({ id }) => !counts.has(id));
  const start = performance.now();
  for await (const [item, one] of countImages(model, dataset, pending, settings, signal)) {
    progress?.add(one);
    counts.set(item.id, one);
    onImage?.({ done: counts.size, total: dataset.items.length, image: imageOf(item, one, classes) });
  }
  const seconds = (performance.now() - start) / 1000;
  const all = dataset.items.map((item) => [item, counts.get(item.id) as ImageCounts] as const);
  const refined = all.flatMap(([, { withCrf }]) => withCrf ?? []);
  return {
    classes: dataset.classes,
    ...total(
      all.map(([, one]) => one),
      classes,
    ),
    withCrf: refined.length > 0 ? total(refined, classes) : undefined,
    images: all.map(([item, one]) => imageOf(item, one, classes)),
    imagesPerSecond: pending.length > 0 ? pending.length / seconds : null,
  };
}

async function* countImages(
  model: DeepLab,
  dataset: Dataset,
  items: readonly DatasetItem[],
  { trimap, crf, ...options }: EvaluationSettings,
  signal: AbortSignal,
): AsyncGenerator<[DatasetItem, ImageCounts]> {
  const images = items.map(({ image }) => image);
  const classes = dataset.classes.length;
  const plain = model.segmentAll(images, { ...options, signal });
  // Another pass, so that the refined labels are to the bit those that `segment` has with a CRF.
  const refining =
    crf === undefined || crf === false ? undefined : model.segmentAll(images, { ...options, crf, signal });
  const next = async (results: typeof plain, { image }: DatasetItem) => {
    const { value } = await results.next();
    if (!value) throw new DeepLabError('ERR_INTERNAL', `${image} was not segmented`);
    if (value.error)
      throw new DeepLabError(value.error.code, `${image}: ${value.error.message}`, { cause: value.error });
    return value.result.labels;
  };
  try {
    for (const item of items) {
      const truth = await dataset.readLabels(item);
      const count = (labels: Uint8Array): Counted => {
        const confusion = new Confusion(classes);
        confusion.add(truth.data, labels);
        const band = trimap && new Trimap(classes, trimap);
        band?.add(truth.data, labels, truth.width, truth.height);
        return { confusion: [...confusion.counts], trimap: band?.toJSON() };
      };
      const found = count(await next(plain, item));
      yield [item, { id: item.id, ...found, withCrf: refining && count(await next(refining, item)) }];
    }
  } finally {
    await Promise.all([plain.return(), refining?.return()]);
  }
}

function imageOf({ id, image, labels }: DatasetItem, one: ImageCounts, classes: number): EvaluatedImage {
  const figures = ({ confusion }: Counted) => {
    const { miou, pixelAccuracy } = new Confusion(classes, confusion).scores();
    return { miou, pixelAccuracy };
  };
  return { id, image, labels, ...figures(one), withCrf: one.withCrf && figures(one.withCrf) };
}

function total(counted: readonly Counted[], classes: number): Result {
  const confusion = new Confusion(classes);
  let trimap: TrimapRecord | undefined;
  for (const one of counted) {
    confusion.merge(new Confusion(classes, one.confusion));
    if (one.trimap !== undefined) trimap = trimap === undefined ? one.trimap : added(trimap, one.trimap);
  }
  const band = trimap && { widths: trimap.widths, miou: Trimap.fromJSON(trimap).miou() };
  return { confusion: confusion.rows(), ...confusion.scores(), trimap: band };
}

function added(one: TrimapRecord, other: TrimapRecord): TrimapRecord {
  const pixels = one.pixels.map((counts, band) =>
    counts.map((count, cell) => count + (other.pixels[band]?.[cell] ?? 0)),
  );
  return { ...one, pixels };
}

/** A hash of all that the numbers of an image depend on. */
async function keyOf(
  model: DeepLab,
  { format, classes, items }: Dataset,
  settings: EvaluationSettings,
  weights: string,
): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(weights), hash).catch((cause: Error) => {
    throw new DeepLabError('ERR_NOT_FOUND', `The weights cannot be read: ${cause.message}`, { cause });
  });
  const { device, precision, outputStride } = model;
  const { scales = [1], fuse = 'max', flip = false, crf = false, trimap = [] } = settings;
  const images = items.map(({ id }) => id);
  const how = { device, precision, outputStride, scales, fuse, flip, crf: crf === true ? model.crf : crf, trimap };
  const all = { weights: hash.digest('hex'), format, classes, images, ...how };
  return createHash('sha256').update(JSON.stringify(all)).digest('hex');
}
