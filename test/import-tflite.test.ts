import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type LiteOperator, looksLikeTensorflowLite, openTensorflowLite } from '../lib/import/tensorflow-lite';
import { temporaryFolder } from './folder';
import { changeBytes, copyModel, cutAnywhere, type DescribedTensors, readTensors, rounded } from './import/archives';

// Written by TensorFlow's converter: test/import/tensorflow.py.
const fixtures = path.join(__dirname, 'import/tensorflow');
const folder = temporaryFolder();
const fixture = (name: string) => path.join(fixtures, name);

const models: Record<string, { tensors: DescribedTensors; operators: string[] }> = JSON.parse(
  readFileSync(fixture('models.json'), 'utf8'),
);

/** The operators of a file, by its metadata. */
async function operatorsOf(file: string): Promise<readonly LiteOperator[]> {
  const { metadata, close } = await openTensorflowLite(file);
  await close();
  return JSON.parse(metadata.operators ?? '');
}

test.each(Object.keys(models))('constants and operators of %s are those that TensorFlow sees', async (name) => {
  const file = fixture(name);
  expect(await readTensors(openTensorflowLite, file)).toEqual(rounded(models[name]?.tensors));
  expect((await operatorsOf(file)).map(({ op }) => op)).toEqual(models[name]?.operators);
});

test('operators have their inputs, shapes and options', async () => {
  const [stem, depthwise, mean, spread, concatenation, logits, upsample] = await operatorsOf(fixture('float32.tflite'));
  expect(stem?.options).toEqual({ padding: 'same', stride: [2, 2], dilation: [1, 1], activation: 'relu6' });
  expect(stem?.inputs.slice(1)).toEqual(['Conv2D', 'arith.constant']);
  expect(stem?.outputs).toMatchObject([{ shape: [1, 9, 7, 4], dtype: 'float32' }]);
  expect(depthwise?.options).toEqual({
    padding: 'same',
    stride: [1, 1],
    dilation: [2, 2],
    depthMultiplier: 1,
    activation: 'relu',
  });
  expect(depthwise?.inputs[0]).toBe(stem?.outputs[0]?.name);
  expect(mean).toMatchObject({
    inputs: [depthwise?.outputs[0]?.name, 'Mean/reduction_indices'],
    options: { keepDims: true },
  });
  expect(spread?.options).toEqual({ alignCorners: true, halfPixelCenters: false });
  expect(concatenation?.options).toEqual({ axis: 3, activation: 'none' });
  expect(logits?.options).toMatchObject({ padding: 'valid', activation: 'none' });
  expect(upsample?.options).toEqual({ alignCorners: false, halfPixelCenters: true });
  const { metadata, close } = await openTensorflowLite(fixture('float32.tflite'));
  await close();
  expect(JSON.parse(metadata.inputs ?? '')).toMatchObject([{ shape: [1, 17, 13, 3], dtype: 'float32' }]);
  expect(JSON.parse(metadata.outputs ?? '')).toEqual(upsample?.outputs);
});

test('quantised models are refused', async () => {
  await expect(openTensorflowLite(fixture('quantised.tflite'))).rejects.toMatchObject({
    code: 'ERR_UNSUPPORTED_MODEL',
    message: expect.stringMatching(/is quantised: tensor '.*' is int\d+ with a scale; float models are read/),
  });
});

test('models are told from other files by their content', () => {
  for (const file of readdirSync(fixtures)) {
    const head = readFileSync(fixture(file)).subarray(0, 512);
    expect([file, looksLikeTensorflowLite(head, 'renamed')]).toEqual([file, file.endsWith('tflite')]);
  }
  expect(looksLikeTensorflowLite(Buffer.alloc(0), 'empty.tflite')).toBe(false);
});

test('what is no model is refused', async () => {
  const other = path.join(folder, 'other.tflite');
  writeFileSync(other, 'This is no model of TensorFlow Lite.');
  await expect(openTensorflowLite(other)).rejects.toMatchObject({ code: 'ERR_INVALID_WEIGHTS' });
  await expect(openTensorflowLite(path.join(folder, 'none.tflite'))).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
});

test('a tensor is not read after the archive was closed', async () => {
  const { tensors, close } = await openTensorflowLite(fixture('float32.tflite'));
  await close();
  await expect(tensors.get('Conv2D')?.read()).rejects.toMatchObject({ code: 'ERR_CLOSED' });
});

test.each(['float32.tflite', 'float16.tflite'])('damage to %s is an error, wherever it is', async (name) => {
  copyModel(fixtures, name, folder);
  const file = path.join(folder, name);
  const original = readFileSync(file);
  expect((await cutAnywhere(openTensorflowLite, file, original)).length).toBeLessThan(0.1 * original.length);
  await changeBytes(openTensorflowLite, file, original, 300);
});

const shared = path.join(__dirname, '../../shared/models/deeplabv3-mobilenetv2-voc.tflite');
const testShared = existsSync(shared) ? test : test.skip;
testShared('the published DeepLab v3 on MobileNetV2 is read (needs ../shared)', async () => {
  const operators = await operatorsOf(shared);
  const { tensors, close } = await openTensorflowLite(shared);
  const dilated = operators.filter(({ op, options }) => op === 'DEPTHWISE_CONV_2D' && (options.dilation?.[0] ?? 1) > 1);
  expect(dilated.map(({ options }) => options.dilation)).toEqual([...Array(7).fill([2, 2]), ...Array(3).fill([4, 4])]);
  expect(tensors.get('logits/semantic/weights')?.shape).toEqual([21, 1, 1, 256]);
  expect((await tensors.get('MobilenetV2/Conv/weights')?.read())?.every(Number.isFinite)).toBe(true);
  expect(operators.at(-1)?.outputs).toMatchObject([{ shape: [1, 257, 257, 21] }]);
  await close();
});
