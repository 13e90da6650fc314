// Losses, gradients and steps of SGD are PyTorch's: test/parity/generate_training.py made the references, gradients in
// float64, steps in float32.

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { type NativeTrainer, type NativeTrainerOptions, native } from '../lib/native';
import { describedModel, type FamilyModel, fingerprint, randomCrops } from './models';

interface Reference extends FamilyModel {
  readonly batchNorm: 'frozen' | 'trained';
  readonly classWeights: readonly number[];
  readonly crops: { readonly width: number; readonly height: number; readonly count: number };
  readonly loss: 'grid' | 'image';
}

interface GradientReference extends Reference {
  readonly value: number;
  readonly gradients: Readonly<Record<string, readonly [number, number]>>;
  readonly running: Readonly<Record<string, readonly [number, number]>>;
}

interface StepsReference extends Reference {
  readonly crops: Reference['crops'] & { readonly batches: number };
  readonly learningRate: number;
  readonly momentum: number;
  readonly weightDecay: number;
  readonly losses: readonly number[];
}

const references = path.join(__dirname, 'parity', 'references');
const casesOf = (kind: string) =>
  readdirSync(path.join(references, kind)).map((file): string => path.basename(file, '.json'));
const read = <T>(kind: string, name: string) =>
  JSON.parse(readFileSync(path.join(references, kind, `${name}.json`), 'utf8')) as T;

async function trainerOf(reference: Reference, options: Partial<NativeTrainerOptions> = {}): Promise<NativeTrainer> {
  const { crops, batchNorm, loss, classWeights } = reference;
  const all: NativeTrainerOptions = {
    device: 'cpu',
    precision: 'f32',
    threads: 1,
    cudnn: '',
    batch: crops.count,
    width: crops.width,
    height: crops.height,
    batchNorm,
    batchNormMomentum: 0.1,
    dropout: 0,
    loss,
    ignoreLabel: 255,
    classWeights: Float32Array.from(classWeights),
    ...options,
  };
  return native().createTrainer(describedModel(reference), all).made;
}

/** One step's gradients, by parameter, and its loss. */
async function differentiate(trainer: NativeTrainer, { crops }: Reference, step = 0): Promise<number> {
  const { pixels, labels } = randomCrops(crops.width, crops.height, crops.count, step);
  return (await trainer.accumulate(pixels, labels, { scale: 1, seed: 0 }).result).loss;
}

/** How far two fingerprints are apart, relative to the norm; of gradients that vanish, to what counts as some. */
function distance([norm, product]: readonly number[], [wanted, projection]: readonly number[], least: number): number {
  const elsewhere =
    Math.abs((product as number) - (projection as number)) + Math.abs((norm as number) - (wanted as number));
  return elsewhere / Math.max(wanted as number, least);
}

describe.each(casesOf('training'))('gradients of %s', (name) => {
  const reference = read<GradientReference>('training', name);
  const indexOf = (tensor: string) => reference.tensors.findIndex(([known]) => known === tensor);

  it('are those of PyTorch, and so are the loss and the running statistics', async () => {
    const trainer = await trainerOf(reference);
    expect(Math.abs((await differentiate(trainer, reference)) / reference.value - 1)).toBeLessThan(1e-5);
    const trained = trainer.parameters.filter((parameter) => parameter.trained).map((parameter) => parameter.name);
    expect(trained.sort()).toEqual(Object.keys(reference.gradients).sort());
    const norms = Object.values(reference.gradients).map(([norm]) => norm);
    const least = 1e-4 * Math.max(...norms);
    const errors: Record<string, number> = {};
    for (const [index, { name: tensor, kind }] of trainer.parameters.entries()) {
      const running = kind === 'mean' || kind === 'variance';
      const wanted = (running ? reference.running : reference.gradients)[tensor];
      if (wanted === undefined) continue;
      const { data } = await trainer.read(index, running ? 'value' : 'gradient').result;
      errors[tensor] = distance(fingerprint(data, indexOf(tensor)), wanted, running ? 0 : least);
    }
    // Batch norm by the batch divides by what is left of differences: PyTorch's own float32 is 1.5e-3 away.
    const bound = reference.batchNorm === 'trained' ? 5e-3 : 1e-4;
    const wrong = Object.entries(errors).filter(([, error]) => !(error < bound));
    expect(wrong).toEqual([]);
    await trainer.close();
  });
});

describe.each(casesOf('training-steps'))('steps of %s', (name) => {
  const reference = read<StepsReference>('training-steps', name);

  it('have the losses of PyTorch, to 1e-4', async () => {
    const trainer = await trainerOf(reference);
    const rates = new Float32Array(trainer.parameters.length).fill(reference.learningRate);
    const decays = new Float32Array(trainer.parameters.length).fill(reference.weightDecay);
    const losses: number[] = [];
    for (let step = 0; step < reference.losses.length; step++) {
      losses.push(await differentiate(trainer, reference, step % reference.crops.batches));
      await trainer.update({ learningRates: rates, weightDecays: decays, momentum: reference.momentum }).result;
    }
    const errors = losses.map((loss, i) => Math.abs(loss / (reference.losses[i] as number) - 1));
    expect(Math.max(...errors)).toBeLessThan(1e-4);
    await trainer.close();
  });
});
