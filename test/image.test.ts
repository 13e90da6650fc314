import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import sharp, { type Sharp } from 'sharp';
import type { ImageInput, RawImage } from '../lib';
import { decodeImage } from '../lib/image';
import { temporaryFolder } from './folder';

const folder = temporaryFolder();
const color = { r: 200, g: 100, b: 50 };

const plain = (width = 8, height = 6) => sharp({ create: { width, height, channels: 3, background: color } });
const noise = () =>
  sharp({
    create: {
      width: 200,
      height: 200,
      channels: 3,
      background: color,
      noise: { type: 'gaussian', mean: 128, sigma: 60 },
    },
  });

const band = Buffer.alloc(48, 9);
const onePlane = { raw: { width: 8, height: 6, channels: 1 as const } };

/** A lossless picture of 3x2 pixels, all different. */
const stored = [
  [1, 2, 3],
  [4, 5, 6],
] as const;
const small = (): Sharp =>
  sharp(Buffer.from(stored.flat().flatMap((value) => [value, value * 10, value * 20])), {
    raw: { width: 3, height: 2, channels: 3 },
  });

const red = (image: RawImage) => [...image.data].filter((_, i) => i % image.channels === 0);

async function expectColor(image: RawImage, expected: readonly number[], tolerance: number): Promise<void> {
  expect(image.channels).toBe(3);
  expect(image.data.length).toBe(image.width * image.height * 3);
  image.data.forEach((value, i) => {
    expect(Math.abs(value - (expected[i % 3] as number))).toBeLessThanOrEqual(tolerance);
  });
}

describe('inputs', () => {
  const expected = stored.flat();

  test('a file path', async () => {
    const file = path.join(folder, 'small.png');
    await small().png().toFile(file);
    const image = await decodeImage(file);
    expect(image).toMatchObject({ width: 3, height: 2, channels: 3 });
    expect(red(image)).toEqual(expected);
  });

  test('a file that has changed since it was read', async () => {
    const file = path.join(folder, 'changing.png');
    await small().png().toFile(file);
    await decodeImage(file);
    await small().negate().png().toFile(file);
    expect(red(await decodeImage(file))).toEqual(expected.map((value) => 255 - value));
  });

  test('a Buffer, and a Uint8Array that is part of a larger one', async () => {
    const png = await small().png().toBuffer();
    expect(red(await decodeImage(png))).toEqual(expected);
    const larger = new Uint8Array(png.length + 10).fill(7);
    larger.set(png, 5);
    expect(red(await decodeImage(larger.subarray(5, 5 + png.length)))).toEqual(expected);
  });

  test.each(['jpeg', 'webp', 'avif', 'tiff', 'gif'] as const)('a %s', async (format) => {
    await expectColor(await decodeImage(await plain(16, 16).toFormat(format).toBuffer()), [200, 100, 50], 6);
  });

  test.each([1, 3, 4] as const)('decoded pixels of %d channels, copied', async (channels) => {
    const data = Uint8Array.from({ length: 6 * channels }, (_, i) => i);
    const image = await decodeImage({ data, width: 3, height: 2, channels });
    const before = [...data];
    data.fill(0);
    expect(image).toMatchObject({ width: 3, height: 2, channels });
    expect([...image.data]).toEqual(before);
  });

  test('a sharp instance, with its own steps', async () => {
    const instance = small().flop();
    const image = await decodeImage(instance);
    expect(red(image)).toEqual([3, 2, 1, 6, 5, 4]);
  });

  test('a sharp instance that is as it was afterwards', async () => {
    const instance = sharp(await small().withMetadata({ orientation: 6 }).png().toBuffer());
    expect(await decodeImage(instance)).toMatchObject({ width: 2, height: 3 });
    const own = await instance.toBuffer({ resolveWithObject: true });
    expect(own.info).toMatchObject({ format: 'png', width: 3, height: 2 });
  });

  test('a sharp instance of another copy of sharp', async () => {
    const foreign = { clone: () => small(), raw: () => {}, toBuffer: () => {} };
    expect(red(await decodeImage(foreign as unknown as Sharp))).toEqual(expected);
  });

  test.each([
    ['grey', () => plain().greyscale(), 128],
    ['grey with alpha', () => plain().greyscale().ensureAlpha(0.5), 128],
    ['two channels', () => sharp(band, onePlane).joinChannel(band, onePlane), 9],
    ['RGBA', () => plain().ensureAlpha(0), 200],
    ['16-bit', () => plain().toColourspace('rgb16').raw({ depth: 'ushort' }), 200],
  ])('a sharp instance that gives %s', async (_, make, value) => {
    const image = await decodeImage(make());
    expect(image).toMatchObject({ width: 8, height: 6 });
    expect([1, 3, 4]).toContain(image.channels);
    expect(image.data.length).toBe(48 * image.channels);
    for (const each of red(image)) expect(Math.abs(each - value)).toBeLessThanOrEqual(1);
  });
});

describe('kinds of images', () => {
  test('grey becomes RGB', async () => {
    await expectColor(await decodeImage(await plain().greyscale().png().toBuffer()), [128, 128, 128], 1);
  });

  test('16 bits become 8', async () => {
    const png = await plain().toColourspace('rgb16').png().toBuffer();
    expect((await sharp(png).metadata()).depth).toBe('ushort');
    await expectColor(await decodeImage(png), [200, 100, 50], 1);
  });

  test('16-bit grey becomes 8-bit RGB', async () => {
    const png = await plain().greyscale().toColourspace('grey16').png().toBuffer();
    await expectColor(await decodeImage(png), [128, 128, 128], 1);
  });

  test('CMYK becomes RGB', async () => {
    const jpeg = await plain(64, 64).toColourspace('cmyk').jpeg({ quality: 100 }).toBuffer();
    expect((await sharp(jpeg).metadata()).space).toBe('cmyk');
    await expectColor(await decodeImage(jpeg), [200, 100, 50], 40);
  });

  test('alpha is ignored: the colour beneath it counts', async () => {
    const png = await sharp({ create: { width: 4, height: 4, channels: 4, background: { ...color, alpha: 0 } } })
      .png()
      .toBuffer();
    await expectColor(await decodeImage(png), [200, 100, 50], 0);
  });

  test('a palette image becomes RGB', async () => {
    await expectColor(await decodeImage(await plain().png({ palette: true }).toBuffer()), [200, 100, 50], 2);
  });

  test.each(['gif', 'webp'] as const)('an animated %s counts as its first frame', async (format) => {
    const frames = ['#ff0000', '#0000ff'].map((background) =>
      sharp({ create: { width: 5, height: 4, channels: 3, background } })
        .png()
        .toBuffer(),
    );
    const animation = await sharp(await Promise.all(frames), { join: { animated: true } })
      .toFormat(format, { lossless: true })
      .toBuffer();
    expect((await sharp(animation).metadata()).pages).toBe(2);
    const image = await decodeImage(animation);
    expect(image).toMatchObject({ width: 5, height: 4 });
    await expectColor(image, [255, 0, 0], 0);
  });

  test('1x1', async () => {
    expect(await decodeImage(await plain(1, 1).png().toBuffer())).toMatchObject({ width: 1, height: 1, channels: 3 });
  });
});

describe('EXIF orientation', () => {
  // Where the stored pixel (row 0, column 0) is seen, and how the axes lie: EXIF 2.32, section 4.6.4, Orientation.
  const [[a, b, c], [d, e, f]] = stored;
  const upright = {
    1: [a, b, c, d, e, f],
    2: [c, b, a, f, e, d],
    3: [f, e, d, c, b, a],
    4: [d, e, f, a, b, c],
    5: [a, d, b, e, c, f],
    6: [d, a, e, b, f, c],
    7: [f, c, e, b, d, a],
    8: [c, f, b, e, a, d],
  };

  for (const [tag, expected] of Object.entries(upright)) {
    const orientation = Number(tag);
    const [width, height] = orientation < 5 ? [3, 2] : [2, 3];

    test(`${orientation} of encoded bytes`, async () => {
      const image = await decodeImage(await small().withMetadata({ orientation }).png().toBuffer());
      expect(image).toMatchObject({ width, height });
      expect(red(image)).toEqual(expected);
    });

    test(`${orientation} of a sharp instance`, async () => {
      const instance = sharp(await small().withMetadata({ orientation }).png().toBuffer());
      expect(red(await decodeImage(instance))).toEqual(expected);
    });
  }
});

describe('refusals', () => {
  const rejects = async (input: unknown, code: string, message: RegExp, limit?: number | false) =>
    expect(decodeImage(input as ImageInput, limit)).rejects.toMatchObject({
      name: 'DeepLabError',
      code,
      message: expect.stringMatching(message),
    });

  test('a file that is not there', async () => {
    await rejects(path.join(folder, 'none.jpg'), 'ERR_NOT_FOUND', /ENOENT.*none\.jpg/);
    await rejects(sharp(path.join(folder, 'none.jpg')), 'ERR_NOT_FOUND', /none\.jpg/);
  });

  test('a folder', async () => rejects(folder, 'ERR_NOT_FOUND', /EISDIR/));

  test('a file that is no image, named in the message', async () => {
    const file = path.join(folder, 'text.jpg');
    await writeFile(file, 'This is not a photo.');
    await rejects(file, 'ERR_INVALID_IMAGE', /text\.jpg cannot be decoded: .*unsupported image format/);
  });

  test('no bytes at all', async () => {
    await rejects(new Uint8Array(0), 'ERR_INVALID_IMAGE', /empty/);
    const file = path.join(folder, 'empty.png');
    await writeFile(file, '');
    await rejects(file, 'ERR_INVALID_IMAGE', /empty\.png is empty/);
  });

  test.each(['jpeg', 'png', 'webp'] as const)('a truncated %s', async (format) => {
    const bytes = await noise().toFormat(format).toBuffer();
    await rejects(bytes.subarray(0, bytes.length >> 1), 'ERR_INVALID_IMAGE', /cannot be decoded/);
  });

  test('more pixels than the limit, of any kind of input', async () => {
    const png = await plain(8, 6).png().toBuffer();
    await rejects(png, 'ERR_IMAGE_TOO_LARGE', /limitInputPixels \(47\)/, 47);
    await rejects(sharp(png), 'ERR_IMAGE_TOO_LARGE', /8x6 pixels.*47/, 47);
    await rejects({ data: new Uint8Array(48), width: 8, height: 6, channels: 1 }, 'ERR_IMAGE_TOO_LARGE', /8x6.*47/, 47);
    expect(await decodeImage(png, 48)).toMatchObject({ width: 8, height: 6 });
    expect(await decodeImage(png, false)).toMatchObject({ width: 8, height: 6 });
  });

  test('a bomb, refused by its header', async () => {
    const bomb = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="30000" height="30000"/>');
    await rejects(bomb, 'ERR_IMAGE_TOO_LARGE', /268402689/);
    await rejects(sharp(bomb), 'ERR_IMAGE_TOO_LARGE', /pixel/i);
  });

  test.each([
    [/positive integer for width but received 0/, { width: 0 }],
    [/positive integer for height but received -2/, { height: -2 }],
    [/positive integer for width but received 1\.5/, { width: 1.5 }],
    [/positive integer for width but received undefined/, { width: undefined }],
    [/1 \(grey\), 3 \(RGB\) or 4 \(RGBA\) for channels but received 2/, { channels: 2 }],
    [/channels but received undefined/, { channels: undefined }],
    [/Expected 18 \(3x2x3\) for data\.length but received 17/, { data: new Uint8Array(17) }],
    [/Expected Uint8Array for data but received Array/, { data: [1, 2, 3] }],
    [/Uint8Array for data but received Float32Array/, { data: new Float32Array(18) }],
  ])('decoded pixels: %s', async (message, fault) => {
    await rejects(
      { data: new Uint8Array(18), width: 3, height: 2, channels: 3, ...fault },
      'ERR_INVALID_ARGUMENT',
      message,
    );
  });

  test.each([[undefined], [null], [42], [{}], [[1, 2]], [new ArrayBuffer(8)]])(
    'what is no picture: %p',
    async (input) => {
      await rejects(input, 'ERR_INVALID_ARGUMENT', /Expected file path.* for input but received/);
    },
  );
});
