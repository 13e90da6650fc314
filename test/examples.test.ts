// Runs every @example of the library's documentation as it stands there, with `modelPath`, `photoPath`, `datasetPath` (a
// plain folder that has the photo and its labels) and `dataPath` (a dataset in the form of CamVid) given.

import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import * as deeplab from '../lib';
import { temporaryFolder } from './folder';
import { writeGreyLabels } from './labelled-images';
import { randomImage, randomModel } from './models';
import { writeTrainingData } from './training-data';

interface Example {
  readonly place: string;
  readonly code: string;
}

function examplesOf(file: string): Example[] {
  const source = readFileSync(path.join(lib, file), 'utf8');
  return Array.from(source.matchAll(/@example\n[ ]*\* ```ts\n(.*?)\n[ ]*\* ```/gs), ({ 1: block = '', index }) => ({
    place: `${file}:${source.slice(0, index).split('\n').length}`,
    code: block.replaceAll(/^ *\* ?/gm, ''),
  }));
}

const lib = path.join(__dirname, '../lib');
const examples = readdirSync(lib, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .flatMap(examplesOf);

const AsyncFunction = (async () => {}).constructor as new (
  ...code: readonly string[]
) => (...values: readonly unknown[]) => Promise<void>;

/** Imports become the same modules by other means, since a function cannot hold import statements. */
function withoutImports(code: string): string {
  return code
    .replaceAll(/^import (\{.*\}) from '(.*)';$/gm, "const $1 = load('$2');")
    .replaceAll(/^import (\w+) from '(.*)';$/gm, "const $1 = load('$2');");
}

const load = (name: string): unknown => (name === 'deeplab' ? deeplab : require(name));
const folder = temporaryFolder();
const datasetPath = path.join(folder, 'dataset');
const photoPath = path.join(datasetPath, 'images', 'photo.png');
const dataPath = path.join(folder, 'data');
const before = process.cwd();
let modelPath: string;

beforeAll(async () => {
  modelPath = await randomModel({ backbone: 'resnet50' });
  const { data, width, height, channels } = randomImage(49, 33, 1);
  mkdirSync(path.dirname(photoPath), { recursive: true });
  await sharp(data, { raw: { width, height, channels } }).png().toFile(photoPath);
  const labels = Uint8Array.from(data.slice(0, width * height), (value) => value & 1);
  await writeGreyLabels(path.join(datasetPath, 'labels', 'photo.png'), labels, width);
  await writeTrainingData(dataPath);
  process.chdir(folder);
  jest.spyOn(console, 'log').mockImplementation(() => {});
});
afterAll(() => process.chdir(before));

test('every public function and class has an example', () => {
  const shown = examples.map(({ code }) => code).join('\n');
  for (const name of Object.keys(deeplab).filter((name) => !['errorCatalogue', 'Segmentation'].includes(name))) {
    expect(shown).toMatch(new RegExp(`import \\{.*\\b${name}\\b.*\\} from 'deeplab'`));
  }
});

test.each(examples)('$place runs', async ({ code }) => {
  const given = { modelPath, photoPath, datasetPath, dataPath };
  const example = new AsyncFunction('load', ...Object.keys(given), withoutImports(code));
  await example(load, ...Object.values(given));
});
