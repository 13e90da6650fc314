// Datasets for tests, in folders: noise for images, and labels as the test wants them.

import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import { type Color, vocPalette } from '../lib';
import { encodeIndexedPng } from '../lib/png';
import { randomImage } from './models';

/** Writes an image of noise. */
export async function writeImage(file: string, width: number, height: number, seed = 1): Promise<void> {
  mkdirSync(path.dirname(file), { recursive: true });
  const { data } = randomImage(width, height, seed);
  await sharp(data, { raw: { width, height, channels: 3 } }).toFile(file);
}

/** Writes labels as shades of grey. */
export async function writeGreyLabels(file: string, labels: Uint8Array, width: number): Promise<void> {
  mkdirSync(path.dirname(file), { recursive: true });
  await sharp(labels, { raw: { width, height: labels.length / width, channels: 1 } })
    .toColourspace('b-w')
    .toFile(file);
}

/** Writes labels as palette indices. */
export async function writeIndexedLabels(
  file: string,
  labels: Uint8Array,
  width: number,
  palette: readonly Color[] = vocPalette(256),
): Promise<void> {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, await encodeIndexedPng(labels, width, labels.length / width, palette));
}

/** Writes labels as colours of the VOC palette. */
export async function writeColorLabels(file: string, labels: Uint8Array, width: number): Promise<void> {
  mkdirSync(path.dirname(file), { recursive: true });
  const palette = vocPalette(256);
  const pixels = Uint8Array.from(Array.from(labels).flatMap((label) => palette[label] as Color));
  await sharp(pixels, { raw: { width, height: labels.length / width, channels: 3 } }).toFile(file);
}

/** A plain folder of some images of 72x48 pixels with labels 0, 1, 2 and void in stripes. */
export async function writeFolderDataset(folder: string, images: number): Promise<void> {
  const [width, height] = [72, 48];
  for (let i = 0; i < images; i++) {
    await writeImage(path.join(folder, 'images', `scene${i}.png`), width, height, i + 1);
    const labels = Uint8Array.from({ length: width * height }, (_, pixel) => {
      const stripe = (Math.floor((pixel % width) / 12) + i) % 4;
      return stripe === 3 ? 255 : stripe;
    });
    await writeGreyLabels(path.join(folder, 'labels', `scene${i}.png`), labels, width);
  }
}
