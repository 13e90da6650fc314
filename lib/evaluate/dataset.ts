// Labelled images on the disk: the splits of PASCAL VOC, CamVid and Cityscapes, and plain folders. Where the files lie and
// what their labels mean, the reader of each format says; label maps are read, and checked, here.

import sharp from 'sharp';
import { DeepLabError } from '../errors';
import { checkOptions, integerRule, type OptionRule, oneOfRule } from '../options';
import { camvidSplit } from './camvid';
import { cityscapesSplit } from './cityscapes';
import { folderSplit } from './folder';
import { type LabelMap, readLabelMap } from './label-map';
import { type DatasetClass, type DatasetItem, type Split, type SplitPlace, voidLabel } from './split';
import { vocSplit } from './voc';

/** How a dataset lies on the disk; docs/evaluation.md describes each. */
export type DatasetFormat = 'voc' | 'camvid' | 'cityscapes' | 'folder';

const readers: Readonly<Record<DatasetFormat, (place: SplitPlace) => Promise<Split>>> = {
  voc: vocSplit,
  camvid: camvidSplit,
  cityscapes: cityscapesSplit,
  folder: folderSplit,
};

export const datasetFormats = Object.keys(readers) as readonly DatasetFormat[];

/** Which images. */
export interface DatasetChoice {
  readonly format: DatasetFormat;
  /** Folder of the dataset. */
  readonly path: string;
  /** Default `val`. Where `path` has images/ itself, there are no splits. */
  readonly split?: string | undefined;
  /**
   * Names of the classes by label, 1..255; for `folder` alone. Default: those in its classes.txt, or else numbers up to the
   * largest label.
   */
  readonly classes?: readonly string[] | undefined;
  /** Takes this many of the images, the first ones. Default: all. */
  readonly limit?: number | undefined;
}

const stringRule: OptionRule = { expected: 'string', accepts: (value) => typeof value === 'string' && value !== '' };

const rules: Readonly<Record<keyof DatasetChoice, OptionRule>> = {
  format: { ...oneOfRule(datasetFormats), required: true },
  path: { ...stringRule, required: true },
  split: { expected: 'name of a split', accepts: (value) => typeof value === 'string' && /^[\w.-]*\w$/.test(value) },
  classes: {
    expected: 'array of names',
    accepts: (value) => Array.isArray(value) && value.every((name) => typeof name === 'string'),
  },
  limit: integerRule(1, 1e9),
};

/** The labels of an image. */
export interface Labels {
  /** uint8 [H,W]: the place of the class, or 255 for what counts for nothing. */
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** Images whose labels are known. */
export interface Dataset {
  readonly format: DatasetFormat;
  /** By label. */
  readonly classes: readonly DatasetClass[];
  /** In an order that does not change. */
  readonly items: readonly DatasetItem[];
  /**
   * Reads the labels of an image, one of `items`.
   *
   * @throws ERR_NOT_FOUND; ERR_INVALID_IMAGE for a file that is no label map, has not the size of the image, or has an id
   * that the format does not know: it names file, pixel and id.
   */
  readLabels(item: DatasetItem): Promise<Labels>;
}

/**
 * Opens a dataset: finds its files, of which it reads none.
 *
 * @throws ERR_NOT_FOUND where there are no images, ERR_INVALID_ARGUMENT for an unknown or wrong option.
 *
 * @example
 * ```ts
 * import { openDataset } from 'deeplab';
 *
 * const dataset = await openDataset({ format: 'folder', path: datasetPath, classes: ['ground', 'sky'] });
 * const [first] = dataset.items;
 * const { data, width, height } = await dataset.readLabels(first);
 * console.log(first.id, `${width}x${height}`, dataset.classes[data[0]]?.name ?? 'void');
 * ```
 */
export async function openDataset(choice: DatasetChoice): Promise<Dataset> {
  checkOptions(choice, rules);
  const { format, path, split: name, classes: names, limit } = choice;
  if (names !== undefined && format !== 'folder') {
    throw new DeepLabError('ERR_INVALID_ARGUMENT', `Expected no classes for ${format}, which has its own`);
  }
  const split = await readers[format]({ path, split: name, classes: names });
  const ids = new Set<string>();
  for (const { id, image } of split.items) {
    if (ids.has(id)) throw new DeepLabError('ERR_INVALID_ARGUMENT', `${image}: there is another image of that name`);
    ids.add(id);
  }
  const items = split.items.slice(0, limit);
  if (items.length === 0) throw new DeepLabError('ERR_NOT_FOUND', `${path} has no images`);
  return { format, classes: split.classes, items, readLabels: (item) => readLabels(item, split) };
}

async function readLabels({ image, labels: file }: DatasetItem, split: Split): Promise<Labels> {
  const [map, size] = await Promise.all([readLabelMap(file), sizeOf(image)]);
  const { width, height } = map;
  if (width !== size.width || height !== size.height) {
    const message = `${file} is ${width}x${height}: expected ${size.width}x${size.height}, as ${image}`;
    throw new DeepLabError('ERR_INVALID_IMAGE', message);
  }
  return { data: toLabels(idsOf(map, file, split), file, split, width), width, height };
}

/** Of the upright image. */
async function sizeOf(image: string): Promise<{ width: number; height: number }> {
  try {
    return (await sharp(image).metadata()).autoOrient;
  } catch (cause) {
    const missing = /missing/.test((cause as Error).message);
    const message = `${image} cannot be ${missing ? 'read' : 'decoded'}: ${(cause as Error).message}`;
    throw new DeepLabError(missing ? 'ERR_NOT_FOUND' : 'ERR_INVALID_IMAGE', message, { cause });
  }
}

function idsOf({ data, width, height, kind }: LabelMap, file: string, { idOfColor }: Split): Uint8Array {
  if (kind === 'ids') return data;
  if (idOfColor === undefined) {
    throw new DeepLabError('ERR_INVALID_IMAGE', `${file} is in colour: expected a PNG with a palette, or of grey`);
  }
  const ids = new Uint8Array(width * height);
  for (let pixel = 0; pixel < ids.length; pixel++) {
    const [r, g, b] = [0, 1, 2].map((channel) => data[3 * pixel + channel] as number) as [number, number, number];
    const id = idOfColor.get(r + 256 * g + 65_536 * b);
    if (id === undefined) throw unknown(file, `the colour ${r},${g},${b}`, pixel, width);
    ids[pixel] = id;
  }
  return ids;
}

function toLabels(ids: Uint8Array, file: string, { labelOf }: Split, width: number): Uint8Array {
  const table = Int16Array.from({ length: 256 }, (_, id) => labelOf.get(id) ?? -1);
  const labels = new Uint8Array(ids.length);
  for (let pixel = 0; pixel < ids.length; pixel++) {
    const id = ids[pixel] as number;
    const label = table[id] as number;
    if (label < 0) {
      const known = [...labelOf].filter(([, each]) => each !== voidLabel).map(([each]) => each);
      const range = `expected ${Math.min(...known)} to ${Math.max(...known)}, or ${voidLabel} for void`;
      throw unknown(file, `the id ${id}`, pixel, width, `: ${range}`);
    }
    labels[pixel] = label;
  }
  return labels;
}

function unknown(file: string, what: string, pixel: number, width: number, expected = ''): DeepLabError {
  const place = `${pixel % width},${Math.floor(pixel / width)}`;
  return new DeepLabError(
    'ERR_INVALID_IMAGE',
    `${file} has ${what} at the pixel ${place}, which is no class${expected}`,
  );
}
