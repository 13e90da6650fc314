import { inflateSync } from 'node:zlib';
import fc from 'fast-check';
import sharp from 'sharp';
import { vocPalette } from '../lib';
import { encodeIndexedPng } from '../lib/png';

/** Chunks by type, cut by the lengths that they state. */
function chunksOf(png: Buffer): Record<string, Buffer> {
  const chunks: Record<string, Buffer> = {};
  for (let at = 8; at < png.length; ) {
    const length = png.readUInt32BE(at);
    chunks[png.toString('latin1', at + 4, at + 8)] = png.subarray(at + 8, at + 8 + length);
    at += length + 12;
  }
  return chunks;
}

test('the palette indices in the file are the labels', async () => {
  const labels = new Uint8Array([0, 1, 2, 20, 19, 0]);
  const chunks = chunksOf(await encodeIndexedPng(labels, 3, 2, vocPalette(21)));
  expect(Object.keys(chunks)).toEqual(['IHDR', 'PLTE', 'IDAT', 'IEND']);
  expect([...inflateSync(chunks.IDAT as Buffer)]).toEqual([0, 0, 1, 2, 0, 20, 19, 0]);
  expect([...(chunks.PLTE as Buffer)]).toEqual(vocPalette(21).flat());
});

test('the header says 8-bit indexed', async () => {
  const png = await encodeIndexedPng(new Uint8Array(6), 3, 2, vocPalette(1));
  expect(await sharp(png).metadata()).toMatchObject({
    format: 'png',
    width: 3,
    height: 2,
    isPalette: true,
    bitsPerSample: 8,
  });
});

test('any label map, decoded by libpng, shows the colours of its classes', async () => {
  const labelMaps = fc
    .record({
      width: fc.integer({ min: 1, max: 40 }),
      height: fc.integer({ min: 1, max: 40 }),
      classes: fc.integer({ min: 1, max: 256 }),
    })
    .chain(({ width, height, classes }) =>
      fc.record({
        width: fc.constant(width),
        height: fc.constant(height),
        palette: fc.constant(vocPalette(classes)),
        labels: fc.uint8Array({ min: 0, max: classes - 1, minLength: width * height, maxLength: width * height }),
      }),
    );
  await fc.assert(
    fc.asyncProperty(labelMaps, async ({ width, height, palette, labels }) => {
      const png = await encodeIndexedPng(labels, width, height, palette);
      const { data, info } = await sharp(png).toColourspace('srgb').raw().toBuffer({ resolveWithObject: true });
      expect(info).toMatchObject({ width, height, channels: 3 });
      expect([...data]).toEqual(Array.from(labels).flatMap((label) => [...(palette[label] ?? [])]));
    }),
    { numRuns: 100 },
  );
});
