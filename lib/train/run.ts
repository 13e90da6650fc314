// The loop of a training: batches to the network, its loss to the log, and now and then a checkpoint and an evaluation.
// Every iteration is a function of the configuration and of what the one before left; a checkpoint holds all of that.

import { createHash } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { cudnnFolder } from '../device';
import { DeepLabError } from '../errors';

import type { Precision } from '../native';
import { writeFileAtomically } from '../output';
import {
  type Best,
  type Checkpoint,
  checkContinues,
  readCheckpoint,
  restoreMomentum,
  type TrainingState,
  writeCheckpoint,
  writeWeights,
} from './checkpoint';
import { givenWeights, medianFrequencyWeights } from './class-weights';
import { type Config, decisiveKeys } from './config';
import { drawCurves } from './curves';
import { evaluateTraining } from './evaluation';
import { ignoredLabel, type LabelledImages, openImages } from './images';
import { type Initialization, initialize } from './initialize';
import { type LoadedBatch, Loader } from './loader';
import { type EvaluationRecord, type StepRecord, TrainingLog } from './log';
import { meanColor, networkMetadata } from './network';
import { NetworkTrainer } from './network-trainer';
import { Random } from './random';
import { learningRateAt, type Share, shareOf } from './schedule';

/** The files of a training, in its folder. */
export const trainingFiles = {
  config: 'config.json',
  initial: 'initial.safetensors',
  checkpoint: 'checkpoint.safetensors',
  last: 'last.safetensors',
  best: 'best.safetensors',
  failed: 'failed.json',
  curves: 'curves.png',
} as const;

/** That a training begins, or goes on. */
export interface StartEvent {
  readonly kind: 'start';
  /** With everything decided. */
  readonly config: Config;
  /** Updates that were made before. */
  readonly iteration: number;
  /** Images to learn from. */
  readonly images: number;
  readonly classes: readonly string[];
  readonly device: string;
  readonly precision: Precision;
  readonly threads: number;
  /** Numbers that are trained. */
  readonly parameters: number;
  /** Memory in bytes: activations with their gradients; weights, gradients and momentum. */
  readonly activationBytes: number;
  readonly parameterBytes: number;
  /** What the weights were made of; null where the training goes on. */
  readonly initialization: Initialization | null;
}

/** That a file was written. */
export interface SavedEvent {
  readonly kind: 'checkpoint' | 'weights';
  readonly iteration: number;
  readonly file: string;
}

/** What happens in a training, in the order in which it does. */
export type TrainEvent = StartEvent | StepRecord | EvaluationRecord | SavedEvent;

/** What a training came to. */
export interface TrainResult {
  /** Updates that were made, those before it went on included. */
  readonly iterations: number;
  /** Of the last iteration; NaN where none was left to do. */
  readonly loss: number;
  /** Null where nothing was evaluated. */
  readonly best: Best | null;
  /** Weights files: as they are after the last iteration, and as they were at the best evaluation. */
  readonly last: string;
  readonly bestFile: string | null;
}

/** How a training is run. */
export interface RunOptions {
  readonly resume: boolean;
  readonly cudnn?: string | undefined;
  readonly onEvent: (event: TrainEvent) => void;
}

/** Trains to the end of the configuration, or until `signal` is aborted: then a checkpoint is written first. */
export async function runTraining(config: Config, options: RunOptions, signal: AbortSignal): Promise<TrainResult> {
  const dataset = await openImages(config.data);
  const metadata = networkMetadata(config, dataset);
  const images = createHash('sha256').update(JSON.stringify(dataset.names)).digest('hex');
  const fileOf = (name: keyof typeof trainingFiles) => path.join(config.out, trainingFiles[name]);
  const checkpoint = await readCheckpoint(fileOf('checkpoint'));
  if (checkpoint !== undefined && !options.resume) {
    const message = `${config.out} has a training already, of ${checkpoint.state.iteration} iterations: expected a new folder, or to go on with it (resume)`;
    throw new DeepLabError('ERR_INVALID_ARGUMENT', message);
  }
  if (checkpoint !== undefined) checkContinues(checkpoint, config, images);
  await mkdir(config.out, { recursive: true });
  await writeFileAtomically(fileOf('config'), Buffer.from(`${JSON.stringify(config, null, 2)}\n`));
  const iteration = checkpoint?.state.iteration ?? 0;
  const padding = { color: meanColor(metadata), label: ignoredLabel };
  const loader = new Loader(config, dataset.names.length, padding, iteration * config.accumulate);
  let trainer: NetworkTrainer | undefined;
  let log: TrainingLog | undefined;
  try {
    const classWeights = await weightsOf(config, loader, dataset, signal);
    const created = await createTrainer(
      config,
      metadata,
      classWeights,
      checkpoint,
      fileOf('initial'),
      options.cudnn,
      signal,
    );
    trainer = created.trainer;
    log = new TrainingLog(config.out, iteration);
    const best = checkpoint?.state.best ?? null;
    const parts = { config, options, dataset, metadata, images, loader, trainer, log, begun: created.begun };
    const training = new Training(parts, iteration, best);
    return await training.run(signal);
  } finally {
    log?.close();
    await Promise.all([trainer?.close(), loader.close()]);
  }
}

async function weightsOf(
  { classWeights }: Config,
  loader: Loader,
  { classes }: LabelledImages,
  signal: AbortSignal,
): Promise<Float32Array> {
  if (classWeights !== 'median-frequency') return givenWeights(classWeights, classes.length);
  return medianFrequencyWeights(await loader.counts(signal), classes.length);
}

async function createTrainer(
  config: Config,
  metadata: Record<string, string>,
  classWeights: Float32Array,
  checkpoint: Checkpoint | undefined,
  initial: string,
  cudnn: string | undefined,
  signal: AbortSignal,
): Promise<{ trainer: NetworkTrainer; begun: Initialization | null }> {
  const { init, seed, augment, batch, batchNorm, batchNormMomentum, dropout, loss, device, precision } = config;
  const { from, zeroResidual } = init;
  const begun =
    checkpoint === undefined
      ? await initialize({ metadata, from: from ?? undefined, seed, batchNorm, zeroResidual, signal }, initial)
      : null;
  const trainer = await NetworkTrainer.create(
    checkpoint?.file ?? initial,
    {
      device,
      precision,
      threads: config.threads ?? os.availableParallelism(),
      cudnn: cudnnFolder(cudnn),
      batch,
      width: augment.width,
      height: augment.height,
      batchNorm,
      batchNormMomentum,
      dropout,
      loss,
      ignoreLabel: ignoredLabel,
      classWeights,
    },
    signal,
  );
  try {
    if (checkpoint !== undefined) await restoreMomentum(trainer, checkpoint);
    await rm(initial, { force: true });
    return { trainer, begun };
  } catch (error) {
    await trainer.close();
    throw error;
  }
}

/** What a training works with. */
interface Parts {
  readonly config: Config;
  readonly options: RunOptions;
  readonly dataset: LabelledImages;
  readonly metadata: Readonly<Record<string, string>>;
  readonly images: string;
  readonly loader: Loader;
  readonly trainer: NetworkTrainer;
  readonly log: TrainingLog;
  readonly begun: Initialization | null;
}

class Training {
  readonly #parts: Parts;
  /** Per parameter. */
  readonly #shares: readonly Share[];
  /** Updates that were made. */
  #iteration: number;
  #best: Best | null;
  #savedAt = performance.now();
  #steppedAt = performance.now();
  /** Of the last update. */
  #updated: Promise<void> = Promise.resolve();

  constructor(parts: Parts, iteration: number, best: Best | null) {
    this.#parts = parts;
    this.#shares = parts.trainer.parameters.map((parameter) => shareOf(parameter, parts.config));
    this.#iteration = iteration;
    this.#best = best;
  }

  async run(signal: AbortSignal): Promise<TrainResult> {
    const { config, options, dataset, trainer, metadata } = this.#parts;
    const trained = trainer.parameters.filter((parameter) => parameter.trained);
    options.onEvent({
      kind: 'start',
      config,
      iteration: this.#iteration,
      images: dataset.names.length,
      classes: (metadata.classes ?? '').split(','),
      device: trainer.native.device,
      precision: trainer.native.precision,
      threads: trainer.native.threads,
      parameters: trained.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0),
      activationBytes: trainer.native.activationBytes,
      parameterBytes: trainer.native.parameterBytes,
      initialization: this.#parts.begun,
    });
    let loss = Number.NaN;
    try {
      if (this.#missesEvaluation()) {
        await this.#evaluate(signal);
        await this.#save();
      }
      while (this.#iteration < config.iterations) {
        loss = await this.#step(signal);
        await this.#afterStep(signal);
      }
    } catch (error) {
      // What was learnt is not lost because somebody wants to stop; the network is still that of the last iteration.
      if (signal.aborted && this.#iteration > 0) await this.#save();
      throw error;
    }
    const last = this.#file('last');
    await writeWeights(trainer, metadata, last);
    options.onEvent({ kind: 'weights', iteration: this.#iteration, file: last });
    await this.#drawCurves();
    const bestFile = this.#best === null ? null : this.#file('best');
    return { iterations: this.#iteration, loss, best: this.#best, last, bestFile };
  }

  /** One update, to its loss. */
  async #step(signal: AbortSignal): Promise<number> {
    const { config, options, trainer, log } = this.#parts;
    const { accumulate, batch } = config;
    let [loss, waitedMs] = [0, 0];
    for (let part = 0; part < accumulate; part++) {
      const asked = performance.now();
      const loaded = await this.#nextBatch(signal);
      waitedMs += performance.now() - asked;
      const seed = new Random(config.seed, 'dropout', this.#iteration * accumulate + part).bits();
      const partLoss = await trainer.accumulate(loaded, { scale: 1 / accumulate, seed });
      await this.#updated;
      if (!Number.isFinite(partLoss)) throw await this.#failed(partLoss, loaded);
      loss += partLoss / accumulate;
    }
    const learningRate = learningRateAt(this.#iteration, config);
    // Waited for when the next batch is on its way, so that the device has always something to do.
    this.#updated = trainer.update({
      learningRates: Float32Array.from(this.#shares, ({ rate }) => rate * learningRate),
      weightDecays: Float32Array.from(this.#shares, ({ decay }) => decay * config.weightDecay),
      momentum: config.momentum,
    });
    this.#updated.catch(() => {});
    this.#iteration++;
    const now = performance.now();
    const seconds = (now - this.#steppedAt) / 1000;
    this.#steppedAt = now;
    const record: StepRecord = {
      kind: 'step',
      iteration: this.#iteration,
      loss,
      learningRate,
      imagesPerSecond: rounded((accumulate * batch) / seconds),
      waitedMs: rounded(waitedMs),
    };
    log.write(record);
    options.onEvent(record);
    return loss;
  }

  async #nextBatch(signal: AbortSignal): Promise<LoadedBatch> {
    signal.throwIfAborted();
    let stop: (() => void) | undefined;
    const aborted = new Promise<never>((_, reject) => {
      stop = () => reject(signal.reason as Error);
      signal.addEventListener('abort', stop, { once: true });
    });
    try {
      return await Promise.race([this.#parts.loader.next(), aborted]);
    } finally {
      if (stop !== undefined) signal.removeEventListener('abort', stop);
    }
  }

  /** Evaluates before it saves, so that a checkpoint knows of the best model. */
  async #afterStep(signal: AbortSignal): Promise<void> {
    const { iterations, checkpoint } = this.#parts.config;
    const last = this.#iteration === iterations;
    if (this.#evaluationIsDue()) await this.#evaluate(signal);
    const due = checkpoint.every > 0 && this.#iteration % checkpoint.every === 0;
    const late = checkpoint.minutes !== null && performance.now() - this.#savedAt > checkpoint.minutes * 60_000;
    if (last || due || late) await this.#save();
    this.#steppedAt = performance.now();
  }

  #evaluationIsDue(): boolean {
    const { iterations, evaluation } = this.#parts.config;
    return evaluation.every > 0 && (this.#iteration === iterations || this.#iteration % evaluation.every === 0);
  }

  /** Whether the training goes on from where it was aborted in the middle of an evaluation. */
  #missesEvaluation(): boolean {
    const iteration = this.#iteration;
    const known = this.#parts.log.records.some(
      (record) => record.kind === 'evaluation' && record.iteration === iteration,
    );
    return iteration > 0 && this.#evaluationIsDue() && !known;
  }

  async #save(): Promise<void> {
    const { config, options, images, metadata, trainer } = this.#parts;
    const state: TrainingState = {
      iteration: this.#iteration,
      best: this.#best,
      decisive: Object.fromEntries(decisiveKeys(config)),
      images,
    };
    const file = this.#file('checkpoint');
    await writeCheckpoint(trainer, metadata, state, file);
    this.#savedAt = performance.now();
    options.onEvent({ kind: 'checkpoint', iteration: this.#iteration, file });
  }

  async #evaluate(signal: AbortSignal): Promise<void> {
    const { config, options, metadata, trainer, log } = this.#parts;
    const iteration = this.#iteration;
    const file = this.#file('last');
    await writeWeights(trainer, metadata, file);
    const record = { iteration, ...(await evaluateTraining(file, config, options.cudnn, signal)) };
    const best = record.miou > (this.#best?.miou ?? -1);
    if (best) {
      this.#best = { iteration, miou: record.miou };
      await writeWeights(trainer, metadata, this.#file('best'));
      options.onEvent({ kind: 'weights', iteration, file: this.#file('best') });
    }
    const evaluated: EvaluationRecord = { kind: 'evaluation', ...record, best };
    log.write(evaluated);
    await this.#drawCurves();
    options.onEvent(evaluated);
  }

  /** Saves what is needed to find out why, and says where. */
  async #failed(loss: number, batch: LoadedBatch): Promise<DeepLabError> {
    const { config, dataset, log } = this.#parts;
    const iteration = this.#iteration + 1;
    const file = this.#file('failed');
    const report = {
      iteration,
      loss: String(loss),
      learningRate: learningRateAt(this.#iteration, config),
      images: batch.images.map((image) => dataset.names[image]),
      lossesBefore: log.records.filter(({ kind }) => kind === 'step').slice(-20),
    };
    await writeFileAtomically(file, Buffer.from(`${JSON.stringify(report, null, 2)}\n`));
    return new DeepLabError(
      'ERR_DIVERGED',
      `The loss is ${loss} at iteration ${iteration}: the training has diverged. ${file} names the images of the batch. A lower learning rate, or a warm-up, may help`,
    );
  }

  /** Drawn again at each evaluation: a training takes days, and is looked at on the way. */
  async #drawCurves(): Promise<void> {
    const { records } = this.#parts.log;
    if (records.length > 0) await writeFileAtomically(this.#file('curves'), await drawCurves(records));
  }

  #file(name: keyof typeof trainingFiles): string {
    return path.join(this.#parts.config.out, trainingFiles[name]);
  }
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
