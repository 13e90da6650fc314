import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import sharp from 'sharp';
import { readAnnotation } from '../lib/annotation';
import type { Color } from '../lib/palette';
import { encodeIndexedPng } from '../lib/png';
import { temporaryFolder } from './folder';

const folder = temporaryFolder();
const [width, height] = [4, 2];
const black = [0, 0, 0] as const;
// In the order of r + 256 g + 65536 b.
const red = [255, 0, 0] as const;
const olive = [1, 128, 0] as const;
const blue = [0, 0, 128] as const;
const colors: readonly Color[] = [blue, blue, black, red, olive, olive, red, black];

const rgb = (colors: readonly (readonly number[])[]) =>
  sharp(Uint8Array.from(colors.flat()), {
    raw: { width, height, channels: (colors[0]?.length ?? 3) as 1 | 2 | 3 | 4 },
  });
async function fileOf(name: string, bytes: Uint8Array | Promise<Uint8Array>): Promise<string> {
  const file = path.join(folder, name);
  await writeFile(file, await bytes);
  return file;
}

const expected = {
  labels: new Uint8Array([2, 2, 3, 0, 1, 1, 0, 3]),
  width,
  height,
  colors: [red, olive, blue],
  unknown: 3,
};

test('colours are classes in the order of r + 256 g + 65536 b, black is unknown', async () => {
  expect(await readAnnotation(await fileOf('rgb.png', rgb(colors).png().toBuffer()))).toEqual(expected);
});

test('palette entries are colours, whatever their index', async () => {
  const palette = [olive, [9, 9, 9], black, blue, red, blue] as const;
  const png = await encodeIndexedPng(new Uint8Array([3, 5, 2, 4, 0, 0, 4, 2]), width, height, palette);
  expect(await readAnnotation(await fileOf('palette.png', png))).toEqual(expected);
});

test('shades of grey are colours', async () => {
  const shades = [7, 7, 0, 200, 7, 200, 1, 0];
  const png = sharp(Uint8Array.from(shades), { raw: { width, height, channels: 1 } })
    .toColourspace('b-w')
    .png()
    .toBuffer();
  expect((await sharp(await png).metadata()).channels).toBe(1);
  expect(await readAnnotation(await fileOf('grey.png', png))).toMatchObject({
    labels: new Uint8Array([1, 1, 3, 2, 1, 2, 0, 3]),
    colors: [
      [1, 1, 1],
      [7, 7, 7],
      [200, 200, 200],
    ],
  });
});

test('two bits a pixel are as good as eight', async () => {
  const png = rgb(colors).png({ palette: true, colours: 4, dither: 0 }).toBuffer();
  const metadata = await sharp(await png).metadata();
  expect(metadata.bitsPerSample).toBe(2);
  expect((await readAnnotation(await fileOf('two.png', png))).labels).toEqual(expected.labels);
});

test('without black, nothing is unknown', async () => {
  const file = await fileOf(
    'known.png',
    rgb(colors.map((color) => (color === black ? blue : color)))
      .png()
      .toBuffer(),
  );
  expect(await readAnnotation(file)).toMatchObject({ colors: [red, olive, blue], unknown: undefined });
});

test('a colour profile does not change the colours', async () => {
  const png = rgb(colors).withIccProfile('p3').png().toBuffer();
  const raw = await sharp(await png, { ignoreIcc: true })
    .raw()
    .toBuffer();
  const { colors: found } = await readAnnotation(await fileOf('profile.png', png));
  expect(found).toContainEqual([...raw.subarray(0, 3)]);
});

test('an alpha channel that is opaque is ignored', async () => {
  const file = await fileOf(
    'opaque.png',
    rgb(colors.map((color) => [...color, 255]))
      .png()
      .toBuffer(),
  );
  expect(await readAnnotation(file)).toEqual(expected);
});

/** A picture of so many colours. */
const manyColors = (count: number, first: number) =>
  sharp(
    Uint8Array.from({ length: 3 * 512 }, (_, i) => ((Math.floor(i / 3) % count) + first) >> (i % 3 === 0 ? 0 : 8)),
    {
      raw: { width: 32, height: 16, channels: 3 },
    },
  )
    .png()
    .toBuffer();

test('256 colours are the most, or 255 beside black', async () => {
  expect((await readAnnotation(await fileOf('256.png', manyColors(256, 1)))).colors).toHaveLength(256);
  expect(await readAnnotation(await fileOf('255.png', manyColors(256, 0)))).toMatchObject({ unknown: 255 });
});

test.each<[string, () => Promise<Uint8Array>, RegExp]>([
  [
    'one colour',
    () =>
      rgb(colors.map(() => red))
        .png()
        .toBuffer(),
    /^Expected 2 to 256 besides black for the colours of .*wrong\.png but received 1 of/,
  ],
  [
    'one colour and black',
    () =>
      rgb(colors.map((color) => (color === black ? black : red)))
        .png()
        .toBuffer(),
    /^Expected 2 to 255 .* received 1 of/,
  ],
  ['257 colours', () => manyColors(257, 1), /^Expected 2 to 256 besides black .* but received 257 of/],
  ['256 colours and black', () => manyColors(257, 0), /^Expected 2 to 255 besides black .* but received 256 of/],
  [
    '16 bits',
    () => rgb(colors).toColourspace('rgb16').png().toBuffer(),
    /^Expected 8 bits in a channel for the depth of .* but received "ushort"/,
  ],
  [
    'a transparent pixel',
    () =>
      rgb(colors.map((color, i) => [...color, i === 3 ? 0 : 255]))
        .png()
        .toBuffer(),
    /^Expected no transparent pixel for the alpha channel of .*wrong\.png/,
  ],
])('%s: refused', async (_, make, message) => {
  await expect(readAnnotation(await fileOf('wrong.png', make()))).rejects.toMatchObject({
    name: 'DeepLabError',
    code: 'ERR_INVALID_ARGUMENT',
    message: expect.stringMatching(message),
  });
});

test('a file that is missing or no picture is named', async () => {
  await expect(readAnnotation('none.png')).rejects.toMatchObject({
    code: 'ERR_NOT_FOUND',
    message: expect.stringContaining('none.png'),
  });
  await expect(readAnnotation(await fileOf('text.png', Buffer.from('red, blue')))).rejects.toMatchObject({
    code: 'ERR_INVALID_IMAGE',
    message: expect.stringContaining('text.png: '),
  });
});
