// `deeplab eval`: evaluates a model on a dataset, prints the figures, and writes them, the curve near boundaries and the
// report to a folder, from which a killed evaluation goes on.

import path from 'node:path';
import { DeepLab } from '../deeplab';
import { DeepLabError } from '../errors';
import { type EvaluateOptions, evaluate } from '../evaluate';
import { type Dataset, type DatasetFormat, openDataset } from '../evaluate/dataset';
import type { EvaluationReport, ReportImage, ReportTrimap } from '../evaluate/report';
import type { EvaluatedImage, Evaluation } from '../evaluate/run';
import { writeFileAtomically } from '../output';
import { plot } from '../plot';
import { formatTable } from '../table';
import { defaultModel } from '../weights';
import { Progress } from './progress';

/** The options of the command line, as commander leaves them. */
export interface EvaluateCommandOptions
  extends Pick<
    EvaluateOptions,
    'scales' | 'fuse' | 'flip' | 'limit' | 'trimap' | 'device' | 'precision' | 'threads' | 'cudnn'
  > {
  readonly model?: string;
  readonly data: DatasetFormat;
  readonly split?: string;
  readonly crf?: boolean;
  readonly out?: string;
  readonly html?: boolean;
  readonly json?: boolean;
}

/** Images of either end in the report. */
const shownImages = 4;

/**
 * Runs the command.
 *
 * @throws DeepLabError for whatever goes wrong.
 */
export async function evaluateCommand(place: string, options: EvaluateCommandOptions): Promise<void> {
  const { data: format, split, limit, scales, fuse, flip, crf, trimap, device, precision, threads, cudnn } = options;
  const { out, html = false, json = false } = options;
  if (html && out === undefined) {
    throw new DeepLabError('ERR_INVALID_ARGUMENT', 'Expected --out with --html: the report is written there');
  }
  const weights = options.model ?? (process.env.DEEPLAB_MODEL || undefined);
  const load = { device, precision, threads, cudnn };
  const asked = { scales, fuse, flip, crf, trimap };
  const choice = { format, path: place, split, limit };
  let progress: Progress | undefined;
  const onImage = ({ done, total }: { readonly done: number; readonly total: number }) => {
    // Those that were done before count from the start.
    progress ??= new Progress(total - done + 1, process.stderr.isTTY && !json);
    progress.advance(() => {});
  };
  const resume = out === undefined ? undefined : path.join(out, 'progress.jsonl');
  let evaluation: Evaluation;
  try {
    evaluation = await evaluate(weights, choice, { ...asked, ...load, resume, onImage });
  } finally {
    progress?.stop();
  }
  const about = { model: weights ?? defaultModel.name, data: choice, options: asked };
  if (out !== undefined) await writeResults(out, { ...about, ...evaluation });
  if (html && out !== undefined) {
    const model = await DeepLab.load(weights, load);
    try {
      const classes = model.classes.map(({ name }) => name);
      const dataset = await openDataset({ ...choice, ...(format === 'folder' && { classes }) });
      await writeHtml(path.join(out, 'report.html'), evaluation, { model, dataset, about });
    } finally {
      await model.close();
    }
  }
  process.stdout.write(`${json ? JSON.stringify({ ...about, ...evaluation }) : formatEvaluation(evaluation)}\n`);
}

/** What was evaluated, and how. */
interface About {
  readonly model: string;
  readonly data: { readonly format: string; readonly path: string; readonly split?: string | undefined };
  readonly options: Pick<EvaluateOptions, 'scales' | 'fuse' | 'flip' | 'crf' | 'trimap'>;
}

async function writeResults(folder: string, results: About & Evaluation): Promise<void> {
  await writeFileAtomically(path.join(folder, 'metrics.json'), Buffer.from(`${JSON.stringify(results, null, 2)}\n`));
  const band = trimapOf(results);
  if (band === undefined) return;
  const { widths, before, after } = band;
  const percent = (values: readonly number[]) => values.map((value) => 100 * value);
  const series = [{ name: 'network', x: widths, y: percent(before) }];
  if (after !== undefined) series.push({ name: 'after CRF', x: widths, y: percent(after) });
  const png = await plot({ panels: [{ x: 'Width of the band (pixels)', y: 'Mean IoU (%)', series }] });
  await writeFileAtomically(path.join(folder, 'trimap.png'), png);
}

function trimapOf({ trimap, withCrf }: Evaluation): ReportTrimap | undefined {
  return trimap && { widths: trimap.widths, before: trimap.miou, after: withCrf?.trimap?.miou };
}

async function writeHtml(
  file: string,
  evaluation: Evaluation,
  { model, dataset, about }: { readonly model: DeepLab; readonly dataset: Dataset; readonly about: About },
): Promise<void> {
  const { writeReport } = await import('../evaluate/report.js');
  const ranked = evaluation.images.filter(({ miou }) => !Number.isNaN(miou)).sort((a, b) => a.miou - b.miou);
  const show = async (image: EvaluatedImage) => await reportImage(image, model, dataset, about.options);
  const [worst, best]: [ReportImage[], ReportImage[]] = [[], []];
  for (const image of ranked.slice(0, shownImages)) worst.push(await show(image));
  for (const image of ranked.slice(shownImages).reverse().slice(0, shownImages)) best.push(await show(image));
  const { scales, fuse, flip } = about.options;
  const facts: EvaluationReport['facts'] = [
    ['Model', about.model],
    ['Dataset', `${about.data.format}, ${about.data.path}, ${about.data.split ?? 'val'}`],
    ['Images', String(evaluation.images.length)],
    ['Computed by', `${model.device}, ${model.precision}`],
    ['Scales', `${(scales ?? [1]).join(', ')}${flip ? ', mirrored as well' : ''}${fuse ? `, by ${fuse}` : ''}`],
  ];
  await writeReport(file, {
    title: `${path.basename(about.model)} on ${about.data.format}`,
    facts,
    classes: evaluation.classes,
    before: evaluation,
    after: evaluation.withCrf,
    trimap: trimapOf(evaluation),
    worst,
    best,
  });
}

/** Segments an image once more: the labels of all would be too many to keep. */
async function reportImage(
  { id, image, labels, miou, withCrf }: EvaluatedImage,
  model: DeepLab,
  dataset: Dataset,
  { crf, scales, fuse, flip }: About['options'],
): Promise<ReportImage> {
  const { data: truth, width, height } = await dataset.readLabels({ id, image, labels });
  const found = await model.segment(image, { scales, fuse, flip });
  const refined = crf ? await model.segment(image, { scales, fuse, flip, crf }) : undefined;
  const pictures = { truth, found: found.labels, refined: refined?.labels };
  return { name: id, image, width, height, ...pictures, miou, refinedMiou: withCrf?.miou };
}

/** Tables for people, in per cent. */
export function formatEvaluation(evaluation: Evaluation): string {
  const { classes, withCrf, images, imagesPerSecond, trimap } = evaluation;
  const percent = (value: number | null | undefined) =>
    value === null || value === undefined || Number.isNaN(value) ? '-' : (100 * value).toFixed(3);
  const ways = withCrf === undefined ? [evaluation] : [evaluation, withCrf];
  const titles = (['network', 'with CRF'] as const).slice(0, ways.length);
  const table = (first: string, rows: readonly (readonly string[])[]) =>
    formatTable(
      [{ title: first, align: 'left' as const }, ...titles.map((title) => ({ title, align: 'right' as const }))],
      rows,
    );
  const all = (
    [
      ['mean IoU', 'miou'],
      ['pixel accuracy', 'pixelAccuracy'],
      ['mean accuracy', 'meanAccuracy'],
      ['frequency-weighted IoU', 'frequencyWeightedIou'],
    ] as const
  ).map(([name, key]) => [name, ...ways.map((way) => percent(way[key]))]);
  const parts = [
    table(
      'IoU (%)',
      classes.map(({ name }, id) => [name, ...ways.map(({ iou }) => percent(iou[id]))]),
    ),
    table('all classes (%)', all),
  ];
  if (trimap !== undefined) {
    const rows = trimap.widths.map((width, i) => [`${width} px`, ...ways.map((way) => percent(way.trimap?.miou[i]))]);
    parts.push(table('mean IoU near boundaries (%)', rows));
  }
  const speed = imagesPerSecond === null ? '' : `, ${imagesPerSecond.toFixed(2)} a second`;
  return [...parts, `${images.length} images${speed}`].join('\n\n');
}
