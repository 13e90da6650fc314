// Training on a GPU: the losses of the CPU's trainer, the same bits run after run, and limits. Needs a GPU; gradients,
// parameter by parameter, are compared natively (test/native/training_cases.cc).

import { type NativeTrainer, type NativeTrainerOptions, native, type Precision } from '../lib/native';
import { randomCrops, randomModel } from './models';

const { cuda } = native().system('');
const hasGpu = cuda.reason === '';
if (!hasGpu) process.stderr.write(`gpu-training.test.ts is skipped: ${cuda.reason}\n`);
const precisions: readonly Precision[] = cuda.gpus.find(({ reason }) => reason === '')?.precisions ?? [];

const width = 65;
const height = 49;
const batch = 2;
const classes = 5;

jest.setTimeout(600_000);

(hasGpu ? describe : describe.skip)('training on a GPU (needs one)', () => {
  let weights: string;
  beforeAll(async () => {
    weights = await randomModel({ backbone: 'resnet50' });
  });

  const trainerOf = (options: Partial<NativeTrainerOptions>): Promise<NativeTrainer> =>
    native().createTrainer(weights, {
      device: 'cuda',
      precision: 'f32',
      threads: 2,
      cudnn: '',
      batch,
      width,
      height,
      batchNorm: 'frozen',
      batchNormMomentum: 0.1,
      dropout: 0,
      loss: 'grid',
      ignoreLabel: 255,
      classWeights: new Float32Array(classes).fill(1),
      ...options,
    }).made;

  /** Losses of some steps of SGD: the third one on is replayed. */
  async function losses(options: Partial<NativeTrainerOptions>, steps = 5): Promise<number[]> {
    const trainer = await trainerOf(options);
    const count = trainer.parameters.length;
    const update = {
      learningRates: new Float32Array(count).fill(1e-3),
      weightDecays: new Float32Array(count).fill(5e-4),
      momentum: 0.9,
    };
    const found: number[] = [];
    for (let step = 0; step < steps; step++) {
      const { pixels, labels } = randomCrops(width, height, batch, step);
      found.push((await trainer.accumulate(pixels, labels, { scale: 1, seed: step }).result).loss);
      await trainer.update(update).result;
    }
    await trainer.close();
    return found;
  }

  const bounds: Record<Precision, number> = { f32: 1e-4, tf32: 5e-3, f16: 2e-2, bf16: 5e-2 };

  describe.each([
    ['frozen', 'grid'],
    ['trained', 'image'],
  ] as const)('with batch norm %s and the loss on the %s', (batchNorm, loss) => {
    let expected: number[];
    beforeAll(async () => {
      expected = await losses({ device: 'cpu', batchNorm, loss });
    });

    test.each(precisions)('has the losses of the CPU, in %s', async (precision) => {
      const found = await losses({ batchNorm, loss, precision });
      const errors = found.map((value, i) => Math.abs(value / (expected[i] as number) - 1));
      expect(Math.max(...errors)).toBeLessThan(bounds[precision]);
    });

    test('has the same losses run after run, bit for bit', async () => {
      const options = { batchNorm, loss, precision: 'auto', dropout: 0.3 } as const;
      expect(await losses(options)).toEqual(await losses(options));
    });
  });

  test('takes bf16 where the card has it', async () => {
    const trainer = await trainerOf({ precision: 'auto' });
    expect(trainer.precision).toBe(precisions.includes('bf16') ? 'bf16' : 'f32');
    await trainer.close();
  });

  test('refuses crops that are too large for the card, and goes on', async () => {
    await expect(trainerOf({ batch: 64, width: 8192, height: 8192 })).rejects.toMatchObject({
      code: 'ERR_OUT_OF_MEMORY',
    });
    expect(await losses({}, 1)).toHaveLength(1);
  });
});
