// `deeplab crf-search`: searches the parameters of a model's fully connected CRF on labelled images, and prints what was
// tried. The search is lib/evaluate/crf-search.ts's.

import { SingleBar } from 'cli-progress';
import { DeepLab } from '../deeplab';
import { type CrfSearchOptions, type CrfSearchProgress, type CrfSearchResult, crfSearch } from '../evaluate/crf-search';
import { type DatasetFormat, openDataset } from '../evaluate/dataset';
import type { LoadOptions } from '../load-options';
import { writeFileAtomically } from '../output';
import type { BilateralTerm, GaussianTerm } from '../pairwise';
import { formatInteger } from '../quantity';
import { formatTable } from '../table';

/** The options of the command line, as commander leaves them. */
export interface CrfSearchCommandOptions
  extends Pick<LoadOptions, 'device' | 'precision' | 'outputStride'>,
    Pick<CrfSearchOptions, 'scales' | 'fuse' | 'flip' | 'limit' | 'random' | 'seed' | 'rounds' | 'iterations'>,
    Pick<CrfSearchOptions, 'concurrency'> {
  readonly model?: string;
  readonly data: DatasetFormat;
  readonly split?: string;
  readonly weight?: readonly number[];
  readonly xy?: readonly number[];
  readonly rgb?: readonly number[];
  readonly gaussian?: GaussianTerm;
  readonly out?: string;
  readonly json?: boolean;
}

/**
 * Runs the command.
 *
 * @throws DeepLabError for whatever goes wrong; nothing is written then.
 */
export async function crfSearchCommand(place: string, options: CrfSearchCommandOptions): Promise<void> {
  const { data, split, device, precision, outputStride, weight, xy, rgb, gaussian, out, json = false } = options;
  const weights = options.model ?? (process.env.DEEPLAB_MODEL || undefined);
  const model = await DeepLab.load(weights, { device, precision, outputStride });
  const progress = new SearchProgress(process.stderr.isTTY && !json);
  try {
    // A folder does not say what its classes are.
    const classes = data === 'folder' ? model.classes.map(({ name }) => name) : undefined;
    const dataset = await openDataset({ format: data, path: place, split, classes });
    const { scales, fuse, flip, limit, random, seed, rounds, iterations, concurrency } = options;
    const result = await crfSearch(model, dataset, {
      ...{ scales, fuse, flip, limit, random, seed, rounds, iterations, concurrency },
      grid: { weight, xy, rgb },
      gaussian: gaussian && { weight: gaussian.compatibility as number, xy: gaussian.xy as number },
      onProgress: (at) => progress.show(at),
    });
    progress.stop();
    const report = JSON.stringify(result, null, 2);
    if (out !== undefined) await writeFileAtomically(out, Buffer.from(`${report}\n`));
    process.stdout.write(`${json ? report : formatSearch(result)}\n`);
  } finally {
    progress.stop();
    await model.close();
  }
}

/** A bar for the network, then one for each stage of the search: on stderr, and only for people. */
class SearchProgress {
  readonly #shown: boolean;
  #bar: SingleBar | undefined;
  #done = 0;

  constructor(shown: boolean) {
    this.#shown = shown;
  }

  show({ phase, done, total, best }: CrfSearchProgress): void {
    if (!this.#shown) return;
    if (done <= this.#done || this.#bar === undefined) this.#start(phase, total, best?.miou);
    this.#done = done;
    this.#bar?.update(done);
    if (done === total) this.stop();
  }

  #start(phase: CrfSearchProgress['phase'], total: number, best: number | undefined): void {
    this.stop();
    const sofar = best === undefined ? '' : `, best ${percent(best)} %`;
    const format = `${phase === 'network' ? 'network' : 'CRF'} {bar} {value}/{total}, {eta_formatted} left${sofar}`;
    this.#bar = new SingleBar({ format, stream: process.stderr, hideCursor: true, clearOnComplete: true });
    this.#bar.start(total, 0);
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
    this.#done = 0;
  }
}

/** All that was tried, the best first, and how to use that. */
function formatSearch({ best, crf, metadata, withoutCrf, tried, images, seconds }: CrfSearchResult): string {
  const rows = [...tried]
    .sort((a, b) => b.miou - a.miou)
    .map(({ weight, xy, rgb, miou, stage }) => [
      ...[weight, xy, rgb].map(String),
      percent(miou),
      signed(100 * (miou - withoutCrf)),
      stage,
    ]);
  const numbers = ['weight', 'xy', 'rgb', 'mIoU', 'change'].map((title) => ({ title, align: 'right' as const }));
  const gaussian = crf.pairwise?.find((term): term is GaussianTerm => term.kernel === 'gaussian');
  const bilateral = crf.pairwise?.find((term): term is BilateralTerm => term.kernel === 'bilateral');
  const choice = [
    bilateral && `--bilateral ${bilateral.compatibility},${bilateral.xy},${bilateral.rgb}`,
    gaussian && `--gaussian ${[gaussian.compatibility, gaussian.xy].flat().join(',')}`,
    `--iterations ${crf.iterations}`,
  ];
  return [
    formatTable([...numbers, { title: 'stage', align: 'left' }], rows),
    '',
    `${formatInteger(images)} images, ${formatInteger(tried.length)} parameters, ${Math.round(seconds)} s`,
    `mIoU ${percent(withoutCrf)} % without a CRF, ${percent(best.miou)} % with the best:`,
    choice.filter((part) => part !== undefined).join(' '),
    ...Object.entries(metadata).map(([key, value]) => `${key} = ${value}`),
  ].join('\n');
}

function percent(value: number): string {
  return (100 * value).toFixed(2);
}

function signed(value: number): string {
  return `${value < 0 ? '' : '+'}${value.toFixed(2)}`;
}
