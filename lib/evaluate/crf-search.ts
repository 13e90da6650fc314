// Searches the parameters of a model's fully connected CRF on labelled images, as the DeepLab papers do (arXiv 1412.7062,
// section 5; 1606.00915, section 4): the Gaussian term fixed, weight, xy and rgb of the bilateral one from coarse to
// fine. The network runs once per image; the CRFs of several images run at once, each on a thread of its own.

import os from 'node:os';
import { type CallOptions, callRules, stoppable } from '../abort';
import { DenseCrf } from '../crf';
import { type CrfOptions, crfRules } from '../crf-options';
import type { DeepLab } from '../deeplab';
import { DeepLabError, invalidArgument } from '../errors';
import { decodeImage, type RawImage } from '../image';
import { checkOptions, integerRule, type OptionRule } from '../options';
import type { BilateralTerm, GaussianTerm } from '../pairwise';
import { type SegmentOptions, segmentRules } from '../segment-options';
import { Random } from '../train/random';
import { Confusion } from './confusion';
import type { Dataset } from './dataset';
import { KeptScores } from './kept-scores';

/** What is searched: the parameters of the bilateral term. */
export interface BilateralParameters {
  readonly weight: number;
  /** Pixels. */
  readonly xy: number;
  /** 0..255. */
  readonly rgb: number;
}

/** Parameters, and what they came to. */
export interface CrfTrial extends BilateralParameters {
  /** Mean IoU on the images, 0..1. */
  readonly miou: number;
  /** `own`: the model's parameters. `coarse`: of the grid, or drawn. `fine`: around the best so far. */
  readonly stage: 'own' | 'coarse' | 'fine';
}

/** How far a search is. */
export interface CrfSearchProgress {
  /** The network runs first, once for each image; then the CRFs of a stage, one for each image and trial. */
  readonly phase: 'network' | 'crf';
  readonly done: number;
  readonly total: number;
  /** The best of the stages before. */
  readonly best?: CrfTrial | undefined;
}

/** Options of {@link crfSearch}. */
export interface CrfSearchOptions
  extends CallOptions,
    Pick<SegmentOptions, 'fit' | 'size' | 'overlap' | 'scales' | 'fuse' | 'flip' | 'limitInputPixels'> {
  /** Most images to search on, evenly spread over the dataset. Default 100, as in the papers. */
  readonly limit?: number | undefined;
  /**
   * Values to try, in all combinations. Default `weight` 2, 4, 8, `xy` 15, 30, 60, 120, `rgb` 2, 4, 8. With `random`, each
   * is drawn from between the least and the greatest, evenly on a logarithmic scale.
   */
  readonly grid?: { readonly [Name in keyof BilateralParameters]?: readonly number[] | undefined } | undefined;
  /** Draws this many combinations instead of trying all of the grid, 1..10000. */
  readonly random?: number | undefined;
  /** Of what is drawn: the same seed draws the same. Default 0. */
  readonly seed?: number | undefined;
  /**
   * Rounds of refinement, 0..8: each tries xy, rgb and weight of the best, one after the other, a step up and down. Steps
   * are factors: √2 in the first round, and the root of the last one in each further round. Default 2.
   */
  readonly rounds?: number | undefined;
  /** The Gaussian term, which is not searched. Default: the model's. */
  readonly gaussian?: { readonly weight: number; readonly xy: number } | undefined;
  /** Mean-field iterations, 1..10000. Default: the model's. */
  readonly iterations?: number | undefined;
  /** CRFs at once, each on a CPU thread of its own, 1..1024. Default: as many as the process may run in parallel. */
  readonly concurrency?: number | undefined;
  /**
   * Most bytes of scores in memory; 4 bytes for each pixel and class of the images. The rest goes to files in the
   * system's temporary folder, which are removed at the end. Default 2 GiB.
   */
  readonly memoryLimit?: number | undefined;
  /** Told how far the search is. */
  readonly onProgress?: ((progress: CrfSearchProgress) => void) | undefined;
}

/** What a search comes to. */
export interface CrfSearchResult {
  /** The best parameters of the bilateral term. Of equal ones, those that were tried first. */
  readonly best: CrfTrial;
  /** They and all else, as `crf` of `DeepLab.segment` and the options of {@link denseCrf} take them. */
  readonly crf: Pick<CrfOptions, 'pairwise' | 'coordinates' | 'iterations'>;
  /** They and all else, as the metadata of a weights file has them (docs/weights.md). */
  readonly metadata: Readonly<Record<'crf_bilateral' | 'crf_gaussian' | 'crf_iterations', string>>;
  /** Mean IoU without a CRF, 0..1. */
  readonly withoutCrf: number;
  /** All that was tried, in that order. */
  readonly tried: readonly CrfTrial[];
  /** Number of images. */
  readonly images: number;
  readonly seconds: number;
}

const defaultGrid = { weight: [2, 4, 8], xy: [15, 30, 60, 120], rgb: [2, 4, 8] };

const isPositive = (value: unknown) => typeof value === 'number' && value > 0 && Number.isFinite(Math.fround(value));
const positiveRule: OptionRule = { expected: 'finite number above 0', accepts: isPositive };
const valuesRule: OptionRule = {
  expected: 'array of finite numbers above 0',
  accepts: (value) => Array.isArray(value) && value.length > 0 && value.length <= 1000 && value.every(isPositive),
};
const objectRule: OptionRule = {
  expected: 'object',
  accepts: (value) => typeof value === 'object' && value !== null,
};
const { fit, size, overlap, scales, fuse, flip, limitInputPixels } = segmentRules;
const rules: Readonly<Record<keyof CrfSearchOptions, OptionRule>> = {
  ...{ fit, size, overlap, scales, fuse, flip, limitInputPixels },
  limit: integerRule(1, 1e9),
  grid: objectRule,
  random: integerRule(1, 10_000),
  seed: integerRule(0, Number.MAX_SAFE_INTEGER),
  rounds: integerRule(0, 8),
  gaussian: objectRule,
  iterations: { ...crfRules.iterations, ...integerRule(1, 10_000) },
  concurrency: integerRule(1, 1024),
  memoryLimit: integerRule(0, Number.MAX_SAFE_INTEGER),
  onProgress: { expected: 'function', accepts: (value) => typeof value === 'function' },
  ...callRules,
};

/**
 * Searches the bilateral term of a model's CRF for the best mean IoU on some labelled images, which should not be those
 * that the model was trained on.
 *
 * @throws ERR_ABORTED, ERR_TIMEOUT, ERR_CLOSED, ERR_WRITE; what reading the images, `DeepLab.segment` and
 * {@link denseCrf} throw; ERR_INVALID_ARGUMENT for an unknown or wrong option, or a dataset whose number of classes is not
 * the model's.
 *
 * @example
 * ```ts
 * import { crfSearch, DeepLab, openDataset } from 'deeplab';
 *
 * const model = await DeepLab.load(modelPath);
 * const classes = model.classes.map(({ name }) => name);
 * const dataset = await openDataset({ format: 'folder', path: datasetPath, classes });
 * const { crf, best, withoutCrf } = await crfSearch(model, dataset, { limit: 50, random: 3, rounds: 0, seed: 1 });
 * console.log(`${withoutCrf} without a CRF, ${best.miou} with it`);
 * const { labels } = await model.segment(dataset.items[0].image, { crf });
 * console.log(labels.length); // width times height
 * await model.close();
 * ```
 */
export async function crfSearch(
  model: DeepLab,
  dataset: Dataset,
  options: CrfSearchOptions = {},
): Promise<CrfSearchResult> {
  checkOptions(options, rules);
  checkOptions(options.grid ?? {}, { weight: valuesRule, xy: valuesRule, rgb: valuesRule }, 'grid');
  const gaussianRules = { weight: { ...positiveRule, required: true }, xy: { ...positiveRule, required: true } };
  if (options.gaussian !== undefined) checkOptions(options.gaussian, gaussianRules, 'gaussian');
  const [labels, known] = [dataset.classes.length, model.classes.length];
  if (labels !== known) throw invalidArgument('dataset', `dataset of the model's ${known} classes`, labels);
  return await stoppable(options, 'search', async (signal) => {
    const start = performance.now();
    const scores = new KeptScores(options.memoryLimit ?? 2 ** 31);
    try {
      const search = new Search(model, scores, options, signal);
      await search.look(dataset);
      return { ...(await search.run()), seconds: Math.round(performance.now() - start) / 1000 };
    } finally {
      await scores.close();
    }
  });
}

/** An image, and its true labels. */
interface Scene {
  readonly image: RawImage;
  readonly truth: Uint8Array;
}

/** A search under way. */
class Search {
  readonly #scenes: Scene[] = [];
  readonly #tried = new Map<string, CrfTrial>();
  readonly #terms: { readonly bilateral: BilateralTerm | undefined; readonly gaussian: GaussianTerm | undefined };
  /** Of the labels without a CRF. */
  readonly #plain: Confusion;
  #best: CrfTrial | undefined;

  constructor(
    readonly model: DeepLab,
    readonly scores: KeptScores,
    readonly options: CrfSearchOptions,
    readonly signal: AbortSignal,
  ) {
    const { pairwise } = model.crf;
    const given = options.gaussian;
    this.#terms = {
      bilateral: pairwise.find((term) => term.kernel === 'bilateral'),
      gaussian:
        given === undefined
          ? pairwise.find((term) => term.kernel === 'gaussian')
          : { kernel: 'gaussian', xy: given.xy, compatibility: given.weight },
    };
    this.#plain = new Confusion(model.classes.length);
  }

  /** Runs the network, and keeps what it says. */
  async look({ items, readLabels }: Dataset): Promise<void> {
    const { fit, size, overlap, scales, fuse, flip, limitInputPixels, limit = 100 } = this.options;
    const total = Math.min(limit, items.length);
    for (let i = 0; i < total; i++) {
      const item = items[Math.floor(((i + 0.5) * items.length) / total)];
      if (item === undefined) continue;
      const [image, truth] = await Promise.all([decodeImage(item.image, limitInputPixels), readLabels(item)]);
      const segmented = await this.model.segment(image, {
        ...{ fit, size, overlap, scales, fuse, flip, limitInputPixels, signal: this.signal },
        scores: true,
        priority: 'bulk',
      });
      if (segmented.scores === undefined) throw new DeepLabError('ERR_INTERNAL', 'The network gave no scores');
      await this.scores.add(segmented.scores);
      this.#scenes.push({ image, truth: truth.data });
      this.#plain.add(truth.data, segmented.labels);
      this.#tell({ phase: 'network', done: i + 1, total });
    }
  }

  async run(): Promise<Omit<CrfSearchResult, 'seconds'>> {
    const own = this.#terms.bilateral && parametersOf(this.#terms.bilateral);
    if (own !== undefined) await this.#try([own], 'own');
    await this.#try(this.options.random === undefined ? this.#combinations() : this.#drawn(), 'coarse');
    for (let round = 1; round <= (this.options.rounds ?? 2); round++) {
      const step = 2 ** (0.5 ** round);
      for (const name of ['xy', 'rgb', 'weight'] as const) {
        const best = this.#best as CrfTrial;
        const { weight, xy, rgb } = best;
        const around = [best[name] / step, best[name] * step];
        await this.#try(
          around.map((value) => ({ weight, xy, rgb, [name]: rounded(value) })),
          'fine',
        );
      }
    }
    const best = this.#best as CrfTrial;
    return {
      best,
      crf: this.#crfOf(best),
      metadata: this.#metadataOf(best),
      withoutCrf: this.#plain.scores().miou,
      tried: [...this.#tried.values()],
      images: this.#scenes.length,
    };
  }

  #combinations(): BilateralParameters[] {
    const { weight, xy, rgb } = this.#grid();
    return weight.flatMap((w) => xy.flatMap((x) => rgb.map((r) => ({ weight: w, xy: x, rgb: r }))));
  }

  #drawn(): BilateralParameters[] {
    const grid = this.#grid();
    const { random: count = 0, seed = 0 } = this.options;
    return Array.from({ length: count }, (_, index) => {
      const random = new Random(seed, 'search', index);
      const draw = (values: readonly number[]) => {
        const [low, high] = [Math.log(Math.min(...values)), Math.log(Math.max(...values))];
        return rounded(Math.exp(low + (high - low) * random.fraction()));
      };
      return { weight: draw(grid.weight), xy: draw(grid.xy), rgb: draw(grid.rgb) };
    });
  }

  #grid(): Readonly<Record<keyof BilateralParameters, readonly number[]>> {
    const { weight = defaultGrid.weight, xy = defaultGrid.xy, rgb = defaultGrid.rgb } = this.options.grid ?? {};
    return { weight, xy, rgb };
  }

  /** Tries all that were not tried before, on all images. */
  async #try(candidates: readonly BilateralParameters[], stage: CrfTrial['stage']): Promise<void> {
    const fresh = new Map(candidates.map((one) => [keyOf(one), one]));
    for (const key of this.#tried.keys()) fresh.delete(key);
    const trials = Array.from(fresh.values(), (one) => ({
      parameters: one,
      confusion: new Confusion(this.model.classes.length),
    }));
    const total = trials.length * this.#scenes.length;
    let done = 0;
    // Image by image, so that scores in files are read once a stage.
    await atOnce(total, this.options.concurrency ?? os.availableParallelism(), async (task) => {
      const index = Math.floor(task / trials.length);
      const trial = trials[task % trials.length];
      const scene = this.#scenes[index];
      if (trial === undefined || scene === undefined) return;
      const labels = await this.#refine(scene.image, await this.scores.at(index), trial.parameters);
      trial.confusion.add(scene.truth, labels);
      this.#tell({ phase: 'crf', done: ++done, total, best: this.#best });
    });
    for (const { parameters, confusion } of trials) {
      const trial = { ...parameters, miou: confusion.scores().miou, stage };
      this.#tried.set(keyOf(parameters), trial);
      // Not below: a mean of nothing is NaN.
      if (this.#best === undefined || trial.miou > this.#best.miou) this.#best = trial;
    }
  }

  /**
   * The lattices depend on xy and rgb alone, but a DenseCrf is made with its weights, so each trial builds the bilateral
   * one anew; the Gaussian one, which depends on the image's size only, native code keeps by itself.
   */
  async #refine(image: RawImage, probabilities: Float32Array, parameters: BilateralParameters): Promise<Uint8Array> {
    const { signal } = this;
    const { limitInputPixels } = this.options;
    const options = { ...this.#crfOf(parameters), device: 'cpu', threads: 1, limitInputPixels, signal } as const;
    const crf = await DenseCrf.create(image, options);
    try {
      return (await crf.infer({ probabilities }, { marginals: false, signal })).labels;
    } finally {
      await crf.close();
    }
  }

  #crfOf({ weight, xy, rgb }: BilateralParameters): CrfSearchResult['crf'] {
    const bilateral: BilateralTerm = { kernel: 'bilateral', xy, rgb, compatibility: weight };
    const { gaussian } = this.#terms;
    const { coordinates, iterations } = this.model.crf;
    return {
      pairwise: gaussian === undefined ? [bilateral] : [bilateral, gaussian],
      coordinates,
      iterations: this.options.iterations ?? iterations,
    };
  }

  #metadataOf({ weight, xy, rgb }: BilateralParameters): CrfSearchResult['metadata'] {
    const { gaussian } = this.#terms;
    return {
      crf_bilateral: [weight, xy, rgb].join(','),
      crf_gaussian: gaussian === undefined ? '' : [gaussian.compatibility, gaussian.xy].flat().join(','),
      crf_iterations: String(this.options.iterations ?? this.model.crf.iterations),
    };
  }

  #tell(progress: CrfSearchProgress): void {
    this.options.onProgress?.(progress);
  }
}

/** The parameters of a term that has one of each, as those of weights files have. */
function parametersOf({ compatibility, xy, rgb }: BilateralTerm): BilateralParameters | undefined {
  if (typeof compatibility !== 'number' || typeof xy !== 'number' || typeof rgb !== 'number') return undefined;
  return { weight: rounded(compatibility, 6), xy: rounded(xy, 6), rgb: rounded(rgb, 6) };
}

function keyOf({ weight, xy, rgb }: BilateralParameters): string {
  return `${weight},${xy},${rgb}`;
}

/** What nobody would write with more digits. */
function rounded(value: number, digits = 3): number {
  return Number(value.toPrecision(digits));
}

/** Runs tasks 0 to `count` - 1 in this order, some at once. After a failure none is begun; it is thrown when all have ended. */
async function atOnce(count: number, concurrency: number, run: (task: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) {
      try {
        await run(next++);
      } catch (error) {
        next = count;
        throw error;
      }
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: Math.min(concurrency, count) }, worker));
  const failure = ends.find((end) => end.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
}
