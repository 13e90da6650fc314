// scripts/ship-model.js: of the folder of a training it makes the file that ships, and of evaluations the card.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DeepLab } from '../lib';
import { initialize } from '../lib/train/initialize';
import { defaultModel } from '../lib/weights';
import { expectBuilt } from './command';
import { temporaryFolder } from './folder';
import { randomImage } from './models';
import { readSafetensors } from './safetensors';
import { writeSmallModel } from './small-model';

const folder = temporaryFolder();
const at = (...names: string[]) => path.join(folder, ...names);
const script = path.join(__dirname, '../scripts/ship-model.js');
const shipped = at('weights', `${defaultModel.name}.safetensors`);

const ship = (...options: string[]) =>
  execFileSync(
    process.execPath,
    [script, at('run'), '--out', at('weights'), '--pictures', at('pictures'), ...options],
    {
      encoding: 'utf8',
      stdio: 'pipe',
    },
  );
const writeConfig = (from: string | null) =>
  writeFileSync(at('run/config.json'), JSON.stringify({ seed: 41, init: { from } }));

beforeAll(async () => {
  expectBuilt();
  writeSmallModel(at('small.safetensors'));
  for (const name of ['run', 'evaluations']) mkdirSync(at(name));
  const { metadata } = readSafetensors(at('small.safetensors'));
  await initialize({ metadata, seed: 41 }, at('run/best.safetensors'));
  writeConfig(null);
  writeFileSync(at('run/curves.png'), 'a picture');
  const records = [
    { kind: 'evaluation', iteration: 200, best: true },
    { kind: 'evaluation', iteration: 300, best: false },
    { kind: 'step', iteration: 320 },
  ];
  writeFileSync(at('run/log.jsonl'), records.map((record) => `${JSON.stringify(record)}\n`).join(''));
  const classes = ['sky', 'road', 'tree'].map((name) => ({ name, color: [0, 0, 0] }));
  const figures = (better: number) => {
    const iou = [0.5 + better, 0.5 + better, null];
    return { iou, miou: 0.6 + better, pixelAccuracy: 0.9, meanAccuracy: 0.7, frequencyWeightedIou: 0.8 };
  };
  const write = (name: string, evaluation: object) =>
    writeFileSync(at('evaluations', `${name}.json`), JSON.stringify({ classes, ...evaluation }));
  write('plain', figures(0));
  write('scales', { ...figures(0.01), withCrf: figures(0.02) });
});

test('the file has int8 kernels, the terms of its data, and says by what commands it is evaluated', async () => {
  const said = ship();
  const { metadata, tensors } = readSafetensors(shipped);
  expect(tensors['stem.conv.weight']?.dtype).toBe('I8');
  expect(metadata).toMatchObject({
    architecture: 'deeplab_v3',
    classes: 'sky,road,tree',
    licence: expect.stringContaining('non-commercial'),
    dataset: expect.stringContaining('CamVid'),
    initialized: 'seed 41',
  });
  expect(metadata.imported_from).toBeUndefined();
  expect(said).toContain(createHash('sha256').update(readFileSync(shipped)).digest('hex'));
  expect(said.match(/deeplab eval \S+ --data camvid --model camvid-resnet101 /g)).toHaveLength(2);
  await using model = await DeepLab.load(shipped, { device: 'cpu', threads: 1 });
  expect((await model.segment(randomImage(33, 17, 1))).labels).toHaveLength(33 * 17);
});

test('the card has the figures of the evaluations, and the file says its accuracy', () => {
  ship();
  const before = readSafetensors(shipped).tensors;
  ship('--card', at('evaluations'), '--hardware', 'two cores');
  const card = readFileSync(at('weights/CARD.md'), 'utf8');
  expect(card).toContain('| sky | 50.00 | 51.00 | 52.00 |');
  expect(card).toContain('| tree |  |  |  |');
  expect(card).toContain('| **mIoU** | 60.00 | 61.00 | 62.00 |');
  expect(card).toMatch(/On two cores\.\n\n200 iterations with the seed 41, from random weights, by/);
  expect(card).toContain(createHash('sha256').update(readFileSync(shipped)).digest('hex'));
  expect(card).not.toMatch(/\{\{|undefined|NaN/);
  expect(card).toContain('](../pictures/curves.png)');
  expect(existsSync(at('pictures/curves.png'))).toBe(true);
  const { metadata, tensors } = readSafetensors(shipped);
  expect(metadata.accuracy).toBe('60.00 mIoU, CamVid val; 61.00 with scales, 62.00 with CRF');
  expect(tensors).toEqual(before);
});

test('a training that began with the weights of others is refused', () => {
  writeConfig('resnet50.pth');
  expect(() => ship('--card', at('evaluations'))).toThrow(/may not ship/);
  expect(() => ship()).toThrow(/began with the weights of resnet50\.pth: those of others may not ship/);
  writeConfig(null);
});

test('a training that began with the weights of one of our own is described with it', () => {
  cpSync(at('run'), at('before'), { recursive: true });
  writeConfig(at('before/best.safetensors'));
  ship();
  ship('--card', at('evaluations'));
  const card = readFileSync(at('weights/CARD.md'), 'utf8');
  expect(card.match(/\d+ iterations with the seed \d+, from [^,]*/g)).toEqual([
    '200 iterations with the seed 41, from random weights',
    '200 iterations with the seed 41, from the weights of the one before',
  ]);
  writeConfig(null);
});
