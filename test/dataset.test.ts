// Readers of datasets: where the files are, what ids become, and which error says what is wrong with a label map.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { crc32, deflateSync } from 'node:zlib';
import { type DatasetChoice, openDataset } from '../lib';
import { openImages } from '../lib/train/images';
import { temporaryFolder } from './folder';
import { writeColorLabels, writeGreyLabels, writeImage, writeIndexedLabels } from './labelled-images';

const folder = temporaryFolder();
const at = (...parts: string[]) => path.join(folder, ...parts);
const [width, height] = [4, 2];
const ids = Uint8Array.of(0, 1, 20, 255, 15, 15, 7, 0);

/** The labels of the image of that place. */
async function labelsOf(choice: DatasetChoice, index = 0): Promise<number[]> {
  const dataset = await openDataset(choice);
  const item = dataset.items[index];
  if (item === undefined) throw new Error('no such image');
  const { data, width: w, height: h } = await dataset.readLabels(item);
  expect(data).toHaveLength(w * h);
  return [...data];
}

/** A row of indices, packed; all colours of the palette are the same. */
function packedPng(indices: readonly number[], bits: number): Buffer {
  const chunk = (type: string, data: Buffer) => {
    const framed = Buffer.alloc(12 + data.length);
    framed.writeUInt32BE(data.length, 0);
    framed.write(type, 4, 'latin1');
    framed.set(data, 8);
    framed.writeUInt32BE(crc32(framed.subarray(4, 8 + data.length)), 8 + data.length);
    return framed;
  };
  const header = Buffer.from([0, 0, 0, indices.length, 0, 0, 0, 1, bits, 3, 0, 0, 0]);
  const digits = indices.map((index) => index.toString(2).padStart(bits, '0')).join('');
  const row = digits.match(/.{8}/g)?.map((byte) => Number.parseInt(byte, 2)) ?? [];
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', header),
    chunk('PLTE', Buffer.alloc(3 * 2 ** bits, 90)),
    chunk('IDAT', deflateSync(Buffer.from([0, ...row]))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

const failure = (code: string, ...words: string[]) =>
  expect.objectContaining({
    code,
    message: expect.stringMatching(new RegExp(words.map((word) => word.replace(/[.()[\]]/g, '\\$&')).join('.*'), 's')),
  });

describe('PASCAL VOC', () => {
  const kit = at('voc', 'VOCdevkit', 'VOC2012');
  beforeAll(async () => {
    mkdirSync(path.join(kit, 'ImageSets', 'Segmentation'), { recursive: true });
    writeFileSync(path.join(kit, 'ImageSets', 'Segmentation', 'val.txt'), '2007_000002\r\n2007_000001\n');
    writeFileSync(path.join(kit, 'ImageSets', 'Segmentation', 'out.txt'), '../../2007\n');
    for (const id of ['2007_000001', '2007_000002', '2007_000003']) {
      await writeImage(path.join(kit, 'JPEGImages', `${id}.jpg`), width, height);
    }
    await writeIndexedLabels(path.join(kit, 'SegmentationClass', '2007_000001.png'), ids, width);
    await writeColorLabels(path.join(kit, 'SegmentationClass', '2007_000002.png'), ids, width);
  });

  it('has the images of a list, in its order, from the kit or what holds it', async () => {
    for (const place of [at('voc'), at('voc', 'VOCdevkit'), kit]) {
      const { items, classes } = await openDataset({ format: 'voc', path: place });
      expect(items.map(({ id }) => id)).toEqual(['2007_000002', '2007_000001']);
      expect([classes.length, classes[15]]).toEqual([21, { name: 'person', color: [192, 128, 128] }]);
    }
    expect((await openDataset({ format: 'voc', path: kit, limit: 1 })).items).toHaveLength(1);
  });

  it('reads palette indices and colours of the palette alike', async () => {
    expect(await labelsOf({ format: 'voc', path: kit }, 0)).toEqual([...ids]);
    expect(await labelsOf({ format: 'voc', path: kit }, 1)).toEqual([...ids]);
  });

  it('refuses names that lead out of the folder, and lists that are not there', async () => {
    const refused = openDataset({ format: 'voc', path: kit, split: 'out' });
    await expect(refused).rejects.toEqual(failure('ERR_INVALID_ARGUMENT', 'out.txt', '../../2007'));
    await expect(openDataset({ format: 'voc', path: kit, split: 'test' })).rejects.toEqual(
      failure('ERR_NOT_FOUND', 'test.txt'),
    );
  });

  it.each([1, 2, 4, 8])('takes indices of %i bits, whatever their colours', async (bits) => {
    const labels = Array.from({ length: 8 }, (_, i) => (i * 5) % Math.min(21, 2 ** bits));
    await writeImage(at(`bits${bits}`, 'images', 'a.png'), 8, 1);
    mkdirSync(at(`bits${bits}`, 'labels'));
    writeFileSync(at(`bits${bits}`, 'labels', 'a.png'), packedPng(labels, bits));
    expect(await labelsOf({ format: 'voc', path: at(`bits${bits}`) })).toEqual(labels);
  });
});

describe('CamVid', () => {
  it('has 11 classes, and void is 11 or 255', async () => {
    await writeImage(at('camvid', 'val', 'images', 'a.png'), width, height);
    await writeGreyLabels(at('camvid', 'val', 'labels', 'a.png'), Uint8Array.of(0, 1, 2, 10, 11, 255, 3, 4), width);
    const labels = [0, 1, 2, 10, 255, 255, 3, 4];
    expect(await labelsOf({ format: 'camvid', path: at('camvid') })).toEqual(labels);
    const images = await openImages({ format: 'camvid', path: at('camvid'), split: 'val', limit: null });
    expect(images.names).toEqual(['a']);
    expect([...(await images.read(0)).labels]).toEqual(labels);
  });

  it('names file, pixel and id of an unknown label', async () => {
    await writeImage(at('unknown', 'val', 'images', 'a.png'), width, height);
    const file = at('unknown', 'val', 'labels', 'a.png');
    await writeGreyLabels(file, Uint8Array.of(0, 1, 2, 10, 11, 255, 37, 4), width);
    const error = failure('ERR_INVALID_IMAGE', file, 'the id 37 at the pixel 2,1', 'expected 0 to 10');
    await expect(labelsOf({ format: 'camvid', path: at('unknown') })).rejects.toEqual(error);
  });
});

describe('Cityscapes', () => {
  it('makes train ids of label ids, and void of all others', async () => {
    const labelIds = Uint8Array.of(7, 8, 11, 33, 0, 4, 29, 255);
    for (const [city, name] of [
      ['ulm', 'ulm_000001_000019'],
      ['bonn', 'bonn_000000_000019'],
    ] as const) {
      await writeImage(at('city', 'leftImg8bit', 'val', city, `${name}_leftImg8bit.png`), width, height);
      await writeGreyLabels(at('city', 'gtFine', 'val', city, `${name}_gtFine_labelIds.png`), labelIds, width);
    }
    const dataset = await openDataset({ format: 'cityscapes', path: at('city') });
    expect(dataset.items.map(({ id }) => id)).toEqual(['bonn_000000_000019', 'ulm_000001_000019']);
    expect(dataset.classes[18]).toEqual({ name: 'bicycle', color: [119, 11, 32] });
    expect(await labelsOf({ format: 'cityscapes', path: at('city') })).toEqual([0, 1, 2, 18, 255, 255, 255, 255]);
  });
});

describe('a plain folder', () => {
  const labels = Uint8Array.of(0, 1, 2, 255, 2, 1, 0, 0);
  beforeAll(async () => {
    await writeImage(at('plain', 'images', 'a.jpg'), width, height);
    await writeIndexedLabels(at('plain', 'labels', 'a.png'), labels, width);
  });
  const plain: DatasetChoice = { format: 'folder', path: at('plain') };

  it('numbers its classes where nobody names them', async () => {
    expect((await openDataset(plain)).classes.map(({ name }) => name)).toEqual(['0', '1', '2']);
    expect(await labelsOf(plain)).toEqual([...labels]);
  });

  it("has the classes of classes.txt, and before them the caller's", async () => {
    writeFileSync(at('plain', 'classes.txt'), 'ground\n sky\r\ntree\nrock\n');
    expect((await openDataset(plain)).classes.map(({ name }) => name)).toEqual(['ground', 'sky', 'tree', 'rock']);
    const two = { ...plain, classes: ['ground', 'sky'] };
    expect((await openDataset(two)).classes).toHaveLength(2);
    await expect(labelsOf(two)).rejects.toEqual(failure('ERR_INVALID_IMAGE', 'a.png', 'the id 2 at the pixel 2,0'));
  });

  it('refuses two images of one name, whose labels would be the same file', async () => {
    for (const name of ['a.png', 'a.jpg']) await writeImage(at('twice', 'images', name), width, height);
    const twice = openDataset({ format: 'folder', path: at('twice'), classes: ['one'] });
    await expect(twice).rejects.toEqual(failure('ERR_INVALID_ARGUMENT', 'a.png: there is another image of that name'));
  });

  it('names a label map that has not the size of its image, is in colour, damaged or not there', async () => {
    await writeImage(at('wrong', 'images', 'a.png'), width, height);
    const wrong: DatasetChoice = { format: 'folder', path: at('wrong'), classes: ['one', 'two'] };
    const file = at('wrong', 'labels', 'a.png');
    await expect(labelsOf(wrong)).rejects.toEqual(failure('ERR_NOT_FOUND', file));
    await writeGreyLabels(file, new Uint8Array(9), 3);
    await expect(labelsOf(wrong)).rejects.toEqual(failure('ERR_INVALID_IMAGE', file, 'is 3x3: expected 4x2'));
    await writeColorLabels(file, labels, width);
    await expect(labelsOf(wrong)).rejects.toEqual(failure('ERR_INVALID_IMAGE', file, 'in colour'));
    await writeIndexedLabels(file, Uint8Array.of(0, 1, 0, 1, 0, 1, 0, 1), width);
    const whole = readFileSync(file);
    const cut = whole.indexOf('IEND') - 4;
    for (let length = 0; length < cut; length += length < 50 ? 1 : 37) {
      writeFileSync(file, whole.subarray(0, length));
      await expect(labelsOf(wrong)).rejects.toEqual(failure('ERR_INVALID_IMAGE', file));
    }
    writeFileSync(file, 'no picture');
    await expect(labelsOf(wrong)).rejects.toEqual(failure('ERR_INVALID_IMAGE', file, 'expected a PNG'));
  });
});

test('what is not there, and options that there are not, are refused', async () => {
  for (const format of ['voc', 'camvid', 'cityscapes', 'folder'] as const) {
    await expect(openDataset({ format, path: at('nowhere') })).rejects.toEqual(failure('ERR_NOT_FOUND', 'nowhere'));
  }
  mkdirSync(at('empty', 'images'), { recursive: true });
  await expect(openDataset({ format: 'camvid', path: at('empty') })).rejects.toEqual(
    failure('ERR_NOT_FOUND', 'no images'),
  );
  for (const wrong of [{ format: 'coco' }, { split: '..' }, { limit: 0 }, { classes: ['a'] }, { splits: 'val' }]) {
    const choice = { format: 'camvid', path: at('camvid'), ...wrong } as DatasetChoice;
    await expect(openDataset(choice)).rejects.toEqual(failure('ERR_INVALID_ARGUMENT'));
  }
});

const sample = path.join(__dirname, '../../shared/data/voc12-sample');
if (!existsSync(sample)) process.stderr.write(`dataset.test.ts: the VOC sample is skipped: ${sample} not found\n`);
(existsSync(sample) ? test : test.skip)('the label maps of the VOC sample are read (needs ../shared)', async () => {
  const dataset = await openDataset({ format: 'voc', path: sample });
  expect(dataset.items).toHaveLength(12);
  const found = new Map<string, string[]>();
  for (const item of dataset.items) {
    const labels = new Set((await dataset.readLabels(item)).data);
    found.set(
      item.id,
      [...labels]
        .filter((id) => id < 21)
        .sort((a, b) => a - b)
        .map((id) => dataset.classes[id]?.name ?? ''),
    );
  }
  // As the photos show.
  expect(found.get('2007_000033')).toEqual(['background', 'aeroplane']);
  expect(found.get('2007_000332')).toEqual(['background', 'horse']);
});
