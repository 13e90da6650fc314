import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import sharp from 'sharp';
import { vocPalette } from '../lib';
import { type EvaluationReport, type ReportImage, writeReport } from '../lib/evaluate/report';
import { temporaryFolder } from './folder';
import { randomImage } from './models';

const folder = temporaryFolder();
const hostile = `<script>alert("1")</script>'&amp; "><img src=x onerror=y>`;

const figures = (miou: number, iou: readonly (number | null)[]) => ({
  miou,
  pixelAccuracy: 0.9,
  meanAccuracy: 0.8,
  frequencyWeightedIou: 0.7,
  iou,
});

function image(name: string, width: number, height: number): ReportImage {
  const truth = Uint8Array.from({ length: width * height }, (_, i) => (i % width < width / 2 ? 0 : 255));
  const found = new Uint8Array(width * height).fill(1);
  return { name, image: randomImage(width, height, 1), width, height, truth, found, miou: 0.25 };
}

const plain: EvaluationReport = {
  title: 'CamVid',
  facts: [['Model', 'a.safetensors']],
  classes: vocPalette(2).map((color, id) => ({ name: `class${id}`, color })),
  before: figures(0.5, [0.5, null]),
  worst: [],
  best: [],
};

let written = 0;
async function render(report: Partial<EvaluationReport>): Promise<string> {
  const file = path.join(folder, `${written++}`, 'report.html');
  await writeReport(file, { ...plain, ...report });
  expect(await readdir(path.dirname(file))).toEqual(['report.html']);
  return await readFile(file, 'utf8');
}

/** Opening and closing tags in order, which fit each other; the names of the elements. */
function elementsOf(html: string): string[] {
  const open: string[] = [];
  const all: string[] = [];
  const body = html.replace(/<style>.*?<\/style>/s, '').replace('<!DOCTYPE html>', '');
  for (const [, closing, name = ''] of body.matchAll(/<(\/?)([a-z][a-z0-9]*)\b[^>]*>/g)) {
    if (closing === '/') expect(open.pop()).toBe(name);
    else if (!['meta', 'link', 'img'].includes(name)) open.push(name);
    if (closing === '') all.push(name);
  }
  expect(open).toEqual([]);
  return all;
}

function pictures(html: string): { readonly alt: string; readonly data: Buffer }[] {
  return Array.from(html.matchAll(/<img src="data:image\/(?:png|jpeg);base64,([^"]*)" alt="([^"]*)">/g), (match) => ({
    alt: match[2] ?? '',
    data: Buffer.from(match[1] ?? '', 'base64'),
  }));
}

test('a report without a CRF has figures and classes, and nothing from elsewhere', async () => {
  const html = await render({});
  expect(elementsOf(html)).toEqual(expect.arrayContaining(['html', 'title', 'h1', 'table', 'caption']));
  expect(html).toContain('<tr><th scope="row">Mean IoU</th><td>50.00</td></tr>');
  expect(html).toMatch(/class1<\/th><td>–<\/td>/);
  expect(html).not.toMatch(/https?:|After CRF|<script|Near boundaries|Worst/);
});

test('a report with a CRF says what it changed', async () => {
  const html = await render({ after: figures(0.525, [0.4, null]) });
  elementsOf(html);
  expect(html).toContain('<td>50.00</td><td>52.50</td><td>+2.50</td>');
  expect(html).toContain('<td>50.00</td><td>40.00</td><td>−10.00</td>');
  expect(html).toContain('<td>90.00</td><td>90.00</td><td>0.00</td>');
});

test('the trimap is a curve and its numbers', async () => {
  const html = await render({ trimap: { widths: [1, 2.5], before: [Number.NaN, 0.3], after: [0.2, 0.4] } });
  elementsOf(html);
  const [curve] = pictures(html);
  expect(await sharp(curve?.data).metadata()).toMatchObject({ format: 'png', width: 900 });
  expect(html).toContain('<tr><th scope="row">2.5</th>');
});

test('images stand beside their label maps, in the colours of the classes, at most 480 pixels wide', async () => {
  const one = image('large', 1000, 500);
  const refined = new Uint8Array(1000 * 500);
  const html = await render({ worst: [{ ...one, refined, refinedMiou: 0.5 }], best: [image('small', 40, 30)] });
  expect(elementsOf(html).filter((name) => name === 'figure')).toHaveLength(2);
  expect(html).toContain('large: 25.00, after CRF 50.00');
  const found = pictures(html);
  expect(found.map(({ alt }) => alt)).toEqual([
    ...['image of large', 'truth of large', 'network of large', 'after CRF of large'],
    ...['image of small', 'truth of small', 'network of small'],
  ]);
  for (const [i, { data }] of found.entries()) {
    expect(await sharp(data).metadata()).toMatchObject(i < 4 ? { width: 480, height: 240 } : { width: 40, height: 30 });
  }
  const colorsAt = async (i: number, x: number) => {
    const { data, info } = await sharp(found[i]?.data)
      .toColourspace('srgb')
      .raw()
      .toBuffer({ resolveWithObject: true });
    return [...data.subarray(x * info.channels, x * info.channels + 3)];
  };
  expect(await colorsAt(1, 0)).toEqual([0, 0, 0]);
  expect(await colorsAt(1, 470)).toEqual([224, 224, 224]);
  expect(await colorsAt(2, 0)).toEqual([128, 0, 0]);
});

test('256 classes leave no colour for void, and need none', async () => {
  const classes = vocPalette(256).map((color, id) => ({ name: `${id}`, color }));
  expect(pictures(await render({ classes, worst: [image('a', 8, 6)] }))).toHaveLength(3);
});

test('names are text, whatever is in them', async () => {
  const html = await render({
    title: hostile,
    facts: [[hostile, hostile]],
    classes: [{ name: hostile, color: [1, 2, 3] }],
    worst: [image(hostile, 8, 6)],
  });
  expect(elementsOf(html)).not.toContain('script');
  expect(pictures(html)).toHaveLength(elementsOf(html).filter((name) => name === 'img').length);
  expect(html).not.toContain(hostile);
  const escaped =
    '&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;amp; &quot;&gt;&lt;img src=x onerror=y&gt;';
  expect(html.split(escaped)).toHaveLength(10);
});

test('an image that cannot be read leaves nothing behind, and what was there as it was', async () => {
  const file = path.join(folder, 'kept.html');
  await writeReport(file, plain);
  const before = await readFile(file, 'utf8');
  const worst = [{ ...image('gone', 8, 6), image: path.join(folder, 'gone.png') }];
  await expect(writeReport(file, { ...plain, title: 'new', worst })).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
  expect(await readFile(file, 'utf8')).toBe(before);
  expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
});
