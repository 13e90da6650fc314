// The report of an evaluation, as one HTML file that needs nothing beside it: figures, curves, and the images that went
// worst and best. What is measured, and which images those are, is the caller's.

import sharp from 'sharp';
import { decodeImage, type ImageInput } from '../image';
import { writeFileAtomically } from '../output';
import type { Color } from '../palette';
import { type PlotSeries, plot } from '../plot';
import { encodeIndexedPng } from '../png';

/** What an evaluation comes to; all 0..1. */
export interface ReportFigures {
  readonly miou: number;
  readonly pixelAccuracy: number;
  readonly meanAccuracy: number;
  readonly frequencyWeightedIou: number;
  /** By class; null where the class is neither in truth nor found. */
  readonly iou: readonly (number | null)[];
}

/** Mean IoU near boundaries, as of {@link Trimap}. */
export interface ReportTrimap {
  /** Pixels. */
  readonly widths: readonly number[];
  /** 0..1 for each width; NaN where there were no pixels. */
  readonly before: readonly number[];
  readonly after?: readonly number[] | undefined;
}

/** An image and its label maps, uint8 [H,W]. */
export interface ReportImage {
  readonly name: string;
  /** As for `DeepLab.segment`; read when the report is written. */
  readonly image: ImageInput;
  readonly width: number;
  readonly height: number;
  /** Labels from the number of classes on are void. */
  readonly truth: Uint8Array;
  readonly found: Uint8Array;
  /** After the CRF. */
  readonly refined?: Uint8Array | undefined;
  /** Mean IoU of this image alone, 0..1. */
  readonly miou: number;
  readonly refinedMiou?: number | undefined;
}

/** What a report says. */
export interface EvaluationReport {
  readonly title: string;
  /** What was evaluated, on what and how: names and values. */
  readonly facts: readonly (readonly [name: string, value: string])[];
  /** By label. */
  readonly classes: readonly { readonly name: string; readonly color: Color }[];
  /** Of the network's labels. */
  readonly before: ReportFigures;
  /** Of the labels after the CRF, where there was one. */
  readonly after?: ReportFigures | undefined;
  readonly trimap?: ReportTrimap | undefined;
  /** The worst first. */
  readonly worst: readonly ReportImage[];
  /** The best first. */
  readonly best: readonly ReportImage[];
}

/** Widest picture, in pixels. */
const thumbnailWidth = 480;

/** What void looks like: no class of a common palette is this grey. */
const voidColor: Color = [224, 224, 224];

/**
 * Writes the report. `file` is never half of one.
 *
 * @throws ERR_WRITE, and what reading an image throws.
 */
export async function writeReport(file: string, report: EvaluationReport): Promise<void> {
  await writeFileAtomically(file, bytesOf(report));
}

/** Piece by piece: no more than one image is in memory. */
async function* bytesOf(report: EvaluationReport): AsyncGenerator<Uint8Array> {
  for await (const piece of piecesOf(report)) yield Buffer.from(piece);
}

async function* piecesOf(report: EvaluationReport): AsyncGenerator<string> {
  const { title, facts, trimap, worst, best } = report;
  const icon = 'data:,'; // or browsers would ask the server for one
  yield `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="${icon}">
<title>${escaped(title)}</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>${escaped(title)}</h1>
<dl>${facts.map(([name, value]) => `<div><dt>${escaped(name)}</dt><dd>${escaped(value)}</dd></div>`).join('')}</dl>
`;
  yield `${figuresSection(report)}\n${classesSection(report)}\n`;
  if (trimap !== undefined) yield `${await trimapSection(trimap)}\n`;
  yield* imagesSection('Worst images', worst, report);
  yield* imagesSection('Best images', best, report);
  yield '</main>\n</body>\n</html>\n';
}

function figuresSection({ before, after }: EvaluationReport): string {
  const rows = (
    [
      ['Mean IoU', 'miou'],
      ['Pixel accuracy', 'pixelAccuracy'],
      ['Mean accuracy', 'meanAccuracy'],
      ['Frequency-weighted IoU', 'frequencyWeightedIou'],
    ] as const
  ).map(([name, key]) => row(escaped(name), before[key], after?.[key], after !== undefined));
  return section('Figures', table('Per cent, over all images', '', rows, after !== undefined));
}

function classesSection({ classes, before, after }: EvaluationReport): string {
  const rows = classes.map(({ name, color }, id) =>
    row(`${swatch(color)}${escaped(name)}`, before.iou[id], after?.iou[id], after !== undefined),
  );
  const rest = `<p class="void">${swatch(voidColor)}void: not counted</p>`;
  return section('Classes', table('IoU, in per cent', 'Class', rows, after !== undefined) + rest);
}

async function trimapSection({ widths, before, after }: ReportTrimap): Promise<string> {
  const percent = (values: readonly number[]) => values.map((value) => 100 * value);
  const series: PlotSeries[] = [{ name: 'network', x: widths, y: percent(before) }];
  if (after !== undefined) series.push({ name: 'after CRF', x: widths, y: percent(after) });
  const png = await plot({ panels: [{ x: 'Width of the band (pixels)', y: 'Mean IoU (%)', series }] });
  const curve = picture(png, 'png', 'Mean IoU against the width of the band; the table below has the numbers');
  const rows = widths.map((width, i) => row(`${width}`, before[i], after?.[i], after !== undefined));
  return section(
    'Near boundaries',
    `<p>Mean IoU of the pixels within a band around the boundaries of the truth (trimap).</p>
<div class="chart">${curve}</div>${table('Per cent', 'Width of the band (pixels)', rows, after !== undefined)}`,
  );
}

async function* imagesSection(
  title: string,
  images: readonly ReportImage[],
  { classes }: EvaluationReport,
): AsyncGenerator<string> {
  if (images.length === 0) return;
  yield `<section>\n<h2>${escaped(title)}</h2>\n<p>By their own mean IoU.</p>\n`;
  const palette = classes.map(({ color }) => color);
  for (const image of images) yield await imageFigure(image, palette);
  yield '</section>\n';
}

interface Thumbnail {
  readonly title: string;
  readonly data: Buffer;
  readonly format: 'jpeg' | 'png';
}

async function imageFigure(one: ReportImage, palette: readonly Color[]): Promise<string> {
  const { name, image, truth, found, refined, miou, refinedMiou } = one;
  const photo = await decodeImage(image);
  const { width, height, channels } = photo;
  const jpeg = await sharp(photo.data, { raw: { width, height, channels }, limitInputPixels: false })
    .resize({ width: thumbnailWidth, withoutEnlargement: true })
    .jpeg({ quality: 80 })
    .toBuffer();
  const pictures: Thumbnail[] = [{ title: 'image', data: jpeg, format: 'jpeg' }];
  for (const [title, labels] of [
    ['truth', truth],
    ['network', found],
    ['after CRF', refined],
  ] as const) {
    if (labels !== undefined) pictures.push({ title, data: await thumbnail(labels, one, palette), format: 'png' });
  }
  const shown = pictures.map(
    ({ title, data, format }) =>
      `<div>${picture(data, format, `${title} of ${name}`)}<span>${escaped(title)}</span></div>`,
  );
  const score = refinedMiou === undefined ? percentOf(miou) : `${percentOf(miou)}, after CRF ${percentOf(refinedMiou)}`;
  return `<figure><figcaption>${escaped(name)}: ${score}</figcaption><div class="row">${shown.join('')}</div></figure>\n`;
}

/** A label map as an indexed PNG, of every so many pixels: a mean of labels would be none. */
function thumbnail(labels: Uint8Array, { width, height }: ReportImage, palette: readonly Color[]): Promise<Buffer> {
  const scale = Math.max(1, width / thumbnailWidth);
  const [across, down] = [width, height].map((side) => Math.max(1, Math.round(side / scale))) as [number, number];
  const voided = palette.length < 256 ? palette.length : 0;
  const small = new Uint8Array(across * down);
  for (let y = 0; y < down; y++) {
    const row = Math.min(height - 1, Math.floor((y + 0.5) * scale)) * width;
    for (let x = 0; x < across; x++) {
      const label = labels[row + Math.min(width - 1, Math.floor((x + 0.5) * scale))] ?? voided;
      small[y * across + x] = label < palette.length ? label : voided;
    }
  }
  return encodeIndexedPng(small, across, down, palette.length < 256 ? [...palette, voidColor] : palette);
}

function section(title: string, content: string): string {
  return `<section>\n<h2>${escaped(title)}</h2>\n${content}\n</section>`;
}

/** @param head - What the first column has. */
function table(caption: string, head: string, rows: readonly string[], refined: boolean): string {
  const columns = refined ? ['Network', 'After CRF', 'Change'] : ['Network'];
  const first = head === '' ? '<td></td>' : `<th scope="col">${escaped(head)}</th>`;
  const titles = columns.map((column) => `<th scope="col">${column}</th>`).join('');
  return `<table><caption>${escaped(caption)}</caption><thead><tr>${first}${titles}</tr></thead><tbody>${rows.join('')}</tbody></table>`;
}

/** @param title - As HTML. */
function row(
  title: string,
  before: number | null | undefined,
  after: number | null | undefined,
  refined: boolean,
): string {
  const change = known(before) && known(after) ? signed(100 * (after - before)) : '–';
  const cells = refined ? [percentOf(before), percentOf(after), change] : [percentOf(before)];
  return `<tr><th scope="row">${title}</th>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`;
}

function known(value: number | null | undefined): value is number {
  return value !== null && value !== undefined && Number.isFinite(value);
}

function percentOf(value: number | null | undefined): string {
  return known(value) ? (100 * value).toFixed(2) : '–';
}

function signed(value: number): string {
  const text = Math.abs(value).toFixed(2);
  return text === '0.00' ? text : `${value < 0 ? '−' : '+'}${text}`;
}

function swatch(color: Color): string {
  return `<i style="background:rgb(${color.map(Number).join(' ')})"></i>`;
}

function picture(data: Buffer, format: 'jpeg' | 'png', alt: string): string {
  return `<img src="data:image/${format};base64,${data.toString('base64')}" alt="${escaped(alt)}">`;
}

/** For text and for attributes in double quotes. */
function escaped(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  };
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? '');
}

const style = `
:root { color-scheme: light dark; --ink: #1c1e21; --paper: #fff; --faint: #5b616a; --line: #d9dce1; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --paper: #16181b; --faint: #a4abb5; --line: #3a3f46; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 76rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.7rem; overflow-wrap: anywhere; }
h2 { margin-top: 2.5rem; font-size: 1.25rem; border-bottom: 1px solid var(--line); }
dl { display: grid; gap: .2rem; }
dl div { display: flex; gap: 1rem; }
dt { flex: 0 0 11rem; color: var(--faint); }
dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--faint); }
th { text-align: left; font-weight: normal; }
thead th + th, td { text-align: right; }
thead th { color: var(--faint); }
th, td { padding: .2rem 1.5rem .2rem 0; border-bottom: 1px solid var(--line); }
i { display: inline-block; width: .9em; height: .9em; margin-right: .5em; border: 1px solid var(--line); vertical-align: -.1em; }
.void, section > p, span { color: var(--faint); }
.chart { max-width: 56rem; background: #fff; border-radius: 4px; }
img { display: block; max-width: 100%; height: auto; }
figure { margin: 1.5rem 0; }
figcaption { overflow-wrap: anywhere; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .5rem; }
.row img { width: 100%; }
`;
