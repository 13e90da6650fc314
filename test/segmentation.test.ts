import sharp from 'sharp';
import { type RawImage, Segmentation } from '../lib';

const classes = [
  { id: 0, name: 'sky', color: [0, 0, 255] },
  { id: 1, name: 'road', color: [128, 128, 128] },
  { id: 2, name: 'car', color: [255, 0, 0] },
] as const;
const image: RawImage = { data: new Uint8Array(24).fill(100), width: 4, height: 2, channels: 3 };
const labels = new Uint8Array([0, 0, 0, 0, 1, 1, 2, 1]);
const segmentation = new Segmentation({ labels }, image, classes);

test('it has the size of the image and the labels', () => {
  expect(segmentation).toMatchObject({ width: 4, height: 2 });
  expect([...segmentation.labels]).toEqual([...labels]);
});

test('classes tell how many pixels they have, in the order of ids', () => {
  expect(segmentation.classes.map(({ id, name, pixels, share }) => ({ id, name, pixels, share }))).toEqual([
    { id: 0, name: 'sky', pixels: 4, share: 0.5 },
    { id: 1, name: 'road', pixels: 3, share: 0.375 },
    { id: 2, name: 'car', pixels: 1, share: 0.125 },
  ]);
});

test('a class that is not in the image is listed with nothing', () => {
  const plain = new Segmentation({ labels: new Uint8Array(8) }, image, classes);
  expect(plain.classes[2]).toEqual({ id: 2, name: 'car', color: [255, 0, 0], pixels: 0, share: 0 });
});

test('scores and logits are there only if the network gave them', () => {
  expect(segmentation.scores).toBeUndefined();
  expect(segmentation.logits).toBeUndefined();
  const scores = new Float32Array(24);
  const logits = { data: new Float32Array([1, 2, 3]), shape: [3, 1, 1] };
  const full = new Segmentation({ labels, scores, logits }, image, classes);
  expect(full.scores).toBe(scores);
  expect(full.logits).toMatchObject({ dtype: 'f32', shape: [3, 1, 1] });
  expect(full.logits?.at(2, 0, 0)).toBe(3);
});

test('toPng is a palette image in the colours of the classes', async () => {
  const png = sharp(await segmentation.toPng());
  expect(await png.metadata()).toMatchObject({ format: 'png', width: 4, height: 2, isPalette: true });
  const { data } = await png.toColourspace('srgb').raw().toBuffer({ resolveWithObject: true });
  expect([...data]).toEqual([...labels].flatMap((label) => [...(classes[label]?.color ?? [])]));
});

test('overlay is by default a PNG, half photo and half colours', async () => {
  const overlay = sharp(await segmentation.overlay());
  expect(await overlay.metadata()).toMatchObject({ format: 'png', width: 4, height: 2, channels: 3 });
  const { data } = await overlay.raw().toBuffer({ resolveWithObject: true });
  expect([...data.subarray(0, 3)]).toEqual([50, 50, 178]);
});

test('overlay takes an opacity and a format', async () => {
  const overlay = sharp(await segmentation.overlay({ opacity: 0, format: 'jpeg' }));
  expect(await overlay.metadata()).toMatchObject({ format: 'jpeg', width: 4, height: 2 });
  const { data } = await overlay.raw().toBuffer({ resolveWithObject: true });
  for (const value of data) expect(Math.abs(value - 100)).toBeLessThanOrEqual(2);
});

test.each([
  [{ opacity: 1.1 }, 'Expected number from 0 to 1 for opacity but received 1.1 of type number'],
  [{ opacity: Number.NaN }, 'Expected number from 0 to 1 for opacity but received NaN of type number'],
  [{ format: 'webp' }, 'Expected one of png, jpeg for format but received "webp" of type string'],
  [
    { alpha: 1 },
    'Expected one of opacity, format, signal, timeoutMs for option name but received "alpha" of type string',
  ],
  [null, 'Expected object for options but received null of type object'],
])('overlay refuses %j', async (options, message) => {
  await expect(segmentation.overlay(options as object)).rejects.toMatchObject({
    code: 'ERR_INVALID_ARGUMENT',
    message,
  });
});

test('mask is 255 at the pixels of a class, by id or by name', () => {
  expect([...segmentation.mask(1)]).toEqual([0, 0, 0, 0, 255, 255, 0, 255]);
  expect([...segmentation.mask('car')]).toEqual([0, 0, 0, 0, 0, 0, 255, 0]);
});

test.each([3, -1, 0.5, 'Sky', ''])('mask refuses the class %j and names the known ones', (unknown) => {
  expect(() => segmentation.mask(unknown)).toThrow(
    expect.objectContaining({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringContaining('one of 0 sky, 1 road, 2 car'),
    }),
  );
});
