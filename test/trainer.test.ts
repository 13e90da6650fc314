// The native trainer by itself: gradients by finite differences, what adds up, what repeats, what is refused, what is
// cancelled, and that nothing stays behind.

import { type NativeTrainer, type NativeTrainerOptions, native } from '../lib/native';
import { growth } from './growth';
import { familyModel, randomCrops, randomModel } from './models';

const [width, height, batch] = [33, 25, 2];
const crops = randomCrops(width, height, batch);

function trainerOf(file: string, options: Partial<NativeTrainerOptions> = {}): Promise<NativeTrainer> {
  const all: NativeTrainerOptions = {
    device: 'cpu',
    precision: 'f32',
    threads: 1,
    cudnn: '',
    batch,
    width,
    height,
    batchNorm: 'trained',
    batchNormMomentum: 0.1,
    dropout: 0,
    loss: 'image',
    ignoreLabel: 255,
    classWeights: new Float32Array(5).fill(1),
    ...options,
  };
  return native().createTrainer(file, all).made;
}

const step = async (trainer: NativeTrainer, seed = 0, scale = 1): Promise<number> =>
  (await trainer.accumulate(crops.pixels, crops.labels, { scale, seed }).result).loss;
const gradientOf = async (trainer: NativeTrainer, index: number) => (await trainer.read(index, 'gradient').result).data;
const indexOf = (trainer: NativeTrainer, name: string) => trainer.parameters.findIndex((one) => one.name === name);

/** The smallest of the family. */
const mobilenet = () => familyModel('v3-mobilenet-v2-half');

test.each([
  ['v2 on ResNet-50', () => randomModel({ backbone: 'resnet50' }), ['layer2.0.conv2.weight', 'layer4.2.bn3.weight']],
  ['v3 on MobileNetV2', mobilenet, ['stem.conv.weight', 'blocks.3.depthwise.conv.weight', 'aspp.project.bn.bias']],
  ['v1 on VGG-16', () => familyModel('vgg16-large-fov'), ['conv2_1.weight', 'aspp.branches.0.fc8.bias']],
])('gradients are what the loss changes by: %s', async (name, model, names) => {
  const trainer = await trainerOf(await model(), { batchNorm: name.includes('VGG') ? 'frozen' : 'trained' });
  await step(trainer);
  const gradients = new Map<string, Float32Array>();
  for (const tensor of names) gradients.set(tensor, await gradientOf(trainer, indexOf(trainer, tensor)));
  for (const [tensor, gradient] of gradients) {
    const index = indexOf(trainer, tensor);
    const { data: value } = await trainer.read(index, 'value').result;
    const norm = Math.sqrt(gradient.reduce((sum, g) => sum + g * g, 0));
    // Along the gradient, so far that the loss changes by some thousandths.
    const distance = 0.004 / norm;
    const lossAt = async (sign: number) => {
      await trainer.write(
        index,
        'value',
        value.map((v, i) => v + (sign * distance * (gradient[i] as number)) / norm),
      ).result;
      return step(trainer);
    };
    const slope = ((await lossAt(1)) - (await lossAt(-1))) / (2 * distance);
    await trainer.write(index, 'value', value).result;
    expect({ tensor, ratio: slope / norm }).toEqual({ tensor, ratio: expect.closeTo(1, 1) });
  }
  await trainer.close();
});

describe('a trainer', () => {
  let trainer: NativeTrainer;
  beforeEach(async () => {
    trainer = await trainerOf(mobilenet(), { dropout: 0.3 });
  });
  afterEach(() => trainer.close());

  it('adds gradients up until an update, which leaves none', async () => {
    const index = indexOf(trainer, 'classifier.weight');
    await step(trainer);
    const once = await gradientOf(trainer, index);
    await step(trainer, 0, 0.5);
    const more = await gradientOf(trainer, index);
    const wanted = once.map((value) => value * 1.5);
    expect(Math.max(...more.map((value, i) => Math.abs(value - (wanted[i] as number))))).toBeLessThan(1e-6);
    const rates = new Float32Array(trainer.parameters.length).fill(0.1);
    const { data: before } = await trainer.read(index, 'value').result;
    await trainer.update({ learningRates: rates, weightDecays: rates.map(() => 0), momentum: 0.9 }).result;
    const { data: after } = await trainer.read(index, 'value').result;
    expect(await gradientOf(trainer, index)).toEqual(more.map(() => 0));
    expect((await trainer.read(index, 'momentum').result).data).toEqual(more);
    for (const [i, value] of before.entries()) expect(after[i]).toBeCloseTo(value - 0.1 * (more[i] as number), 6);
  });

  it('drops other elements with another seed, and the same ones with the same', async () => {
    const losses = [await step(trainer, 1), await step(trainer, 2), await step(trainer, 1)];
    expect(losses[2]).toBe(losses[0]);
    expect(losses[1]).not.toBe(losses[0]);
  });

  it('gives the same bits again', async () => {
    const again = await trainerOf(mobilenet(), { dropout: 0.3 });
    expect(await step(again, 7)).toBe(await step(trainer, 7));
    const index = indexOf(trainer, 'stem.conv.weight');
    expect(await gradientOf(again, index)).toEqual(await gradientOf(trainer, index));
    await again.close();
  });

  it('says where a label is no class', () => {
    const labels = Uint8Array.from(crops.labels);
    labels[width * height + 2 * width + 3] = 9;
    expect(() => trainer.accumulate(crops.pixels, labels, { scale: 1, seed: 0 })).toThrow(
      'Expected labels of 5 classes, or 255, which is ignored, but received 9 in image 1 at x 3, y 2',
    );
  });

  it('refuses what has another size', async () => {
    const { pixels, labels } = crops;
    expect(() => trainer.accumulate(pixels.subarray(3), labels, { scale: 1, seed: 0 })).toThrow('pixels');
    expect(() => trainer.accumulate(pixels, labels.subarray(1), { scale: 1, seed: 0 })).toThrow('labels');
    expect(() => trainer.write(0, 'value', new Float32Array(1))).toThrow('data');
    expect(() => trainer.read(10_000, 'value')).toThrow('parameter');
    expect(() =>
      trainer.update({ learningRates: new Float32Array(1), weightDecays: new Float32Array(1), momentum: 0 }),
    ).toThrow('learningRates');
  });

  it('has a loss of 0, and no gradient, where no pixel counts', async () => {
    const { loss } = await trainer.accumulate(
      crops.pixels,
      crops.labels.map(() => 255),
      { scale: 1, seed: 0 },
    ).result;
    expect(loss).toBe(0);
    const gradient = await gradientOf(trainer, indexOf(trainer, 'stem.conv.weight'));
    expect(gradient.every((value) => value === 0)).toBe(true);
  });

  it('ends a step that is cancelled, and what is queued when it is closed is done', async () => {
    const { id, result } = trainer.accumulate(crops.pixels, crops.labels, { scale: 1, seed: 0 });
    trainer.cancel(id);
    await expect(result).rejects.toMatchObject({ code: 'ERR_ABORTED' });
    const last = step(trainer);
    const closed = trainer.close();
    expect(await last).toBeGreaterThan(0);
    await closed;
    await expect(trainer.read(0, 'value').result).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  });
});

test('what is not trained is neither changed nor has it momentum', async () => {
  const trainer = await trainerOf(mobilenet(), { batchNorm: 'frozen' });
  const frozen = trainer.parameters.filter(({ trained }) => !trained);
  expect(new Set(frozen.map(({ kind }) => kind))).toEqual(new Set(['scale', 'shift', 'mean', 'variance']));
  const index = indexOf(trainer, 'stem.bn.weight');
  const { data: before } = await trainer.read(index, 'value').result;
  await step(trainer);
  const rates = new Float32Array(trainer.parameters.length).fill(0.1);
  await trainer.update({ learningRates: rates, weightDecays: rates, momentum: 0.9 }).result;
  expect((await trainer.read(index, 'value').result).data).toEqual(before);
  expect((await trainer.read(index, 'momentum').result).data).toHaveLength(0);
  await trainer.close();
});

test('folded batch norm cannot be trained, and a wrong number of class weights is refused', async () => {
  const folded = familyModel('v3-mobilenet-v2-folded');
  await expect(trainerOf(folded)).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED_MODEL' });
  await (await trainerOf(folded, { batchNorm: 'frozen' })).close();
  const weights = new Float32Array(4).fill(1);
  await expect(trainerOf(mobilenet(), { classWeights: weights })).rejects.toThrow('a weight for each of the 5 classes');
});

test('in bf16 the loss is that of f32 to some thousandths', async () => {
  if (!native().system('').precisions.includes('bf16')) return console.warn('No bf16 on this CPU: skipped');
  const model = await randomModel({ backbone: 'resnet50' });
  const [f32, bf16] = await Promise.all([trainerOf(model), trainerOf(model, { precision: 'bf16' })]);
  expect((await step(bf16)) / (await step(f32))).toBeCloseTo(1, 2);
  await Promise.all([f32.close(), bf16.close()]);
});

test('1,000 steps keep no memory', async () => {
  const small = randomCrops(9, 9, 1);
  const trainer = await trainerOf(mobilenet(), { batch: 1, width: 9, height: 9, batchNorm: 'frozen' });
  const rates = new Float32Array(trainer.parameters.length).fill(1e-4);
  const grown = await growth(1000, async (seed) => {
    await trainer.accumulate(small.pixels, small.labels, { scale: 1, seed }).result;
    await trainer.update({ learningRates: rates, weightDecays: rates, momentum: 0.9 }).result;
  });
  expect(grown).toBeLessThan(24);
  await trainer.close();
}, 120_000);
