// A thread that reads images and writes crops of them into the batches, which it shares with the thread that asks
// (loader.ts). It keeps the images that it has decoded, as many as it may: to decode one takes longer than to crop it.

import { parentPort, workerData } from 'node:worker_threads';
import sharp from 'sharp';

import { fromNative } from '../native';
import { type AugmentationOptions, drawCrop, type LabelledImage, type Padding, writeCrop } from './augmentation';
import type { Config } from './config';
import { type LabelledImages, openImages } from './images';
import { Random } from './random';

/** What a thread is started with. */
export interface LoaderThreadInput {
  readonly data: Pick<Config['data'], 'format' | 'path' | 'split' | 'limit'>;
  readonly augmentation: AugmentationOptions;
  readonly padding: Padding;
  readonly seed: number;
  /** Most bytes of decoded images that it may keep. */
  readonly cacheBytes: number;
  /** Batches: uint8 [N,H,W,3] and uint8 [N,H,W]. */
  readonly buffers: readonly { readonly pixels: SharedArrayBuffer; readonly labels: SharedArrayBuffer }[];
}

/** What a thread is asked for: a crop in a slot of a batch, or the number of pixels of each class of an image. */
export type LoaderRequest =
  | {
      readonly kind: 'crop';
      readonly id: number;
      readonly image: number;
      /** Of the crop in the whole training, which decides what is random in it. */
      readonly position: number;
      readonly buffer: number;
      readonly slot: number;
    }
  | { readonly kind: 'count'; readonly id: number; readonly image: number };

/** Its answer. */
export type LoaderAnswer =
  | { readonly id: number; readonly counts?: Uint32Array }
  | { readonly id: number; readonly error: { readonly code: string; readonly message: string } };

const input = workerData as LoaderThreadInput;
/** Images that are kept, and those that are being decoded. */
const known = new Map<number, Promise<LabelledImage>>();
let keptBytes = 0;
let images: Promise<LabelledImages> | undefined;

// The threads are what runs in parallel; libvips' own would only be in their way, and its cache never hits.
sharp.concurrency(1);
sharp.cache(false);

function imageAt(index: number): Promise<LabelledImage> {
  let image = known.get(index);
  if (image === undefined) {
    image = decoded(index);
    known.set(index, image);
    image.then(({ pixels, labels }) => {
      const bytes = pixels.length + labels.length;
      // Nothing makes room for others: in a random order, what was used last is no likelier to be next.
      if (keptBytes + bytes <= input.cacheBytes) keptBytes += bytes;
      else known.delete(index);
    }, forgetFailures);
  }
  return image;
}

/** Whoever asked for the image hears of it. */
function forgetFailures(): void {}

async function decoded(index: number): Promise<LabelledImage> {
  images ??= openImages(input.data);
  return await (await images).read(index);
}

async function answer(request: LoaderRequest, begun: Promise<LabelledImage> | undefined): Promise<LoaderAnswer> {
  const { id } = request;
  try {
    const image = await (begun ?? imageAt(request.image));
    if (request.kind === 'count') {
      const counts = new Uint32Array(256);
      for (const label of image.labels) counts[label] = (counts[label] as number) + 1;
      return { id, counts };
    }
    const { augmentation, padding, seed, buffers } = input;
    const { pixels, labels } = buffers[request.buffer] as LoaderThreadInput['buffers'][number];
    const area = augmentation.width * augmentation.height;
    writeCrop(
      image,
      drawCrop(new Random(seed, 'augmentation', request.position), image, augmentation),
      augmentation,
      padding,
      new Uint8Array(pixels, 3 * area * request.slot, 3 * area),
      new Uint8Array(labels, area * request.slot, area),
    );
    return { id };
  } catch (error) {
    const { code, message } = fromNative(error);
    return { id, error: { code, message } };
  }
}

// Images are decoded by libvips' threads while crops are made here, so those of all crops that were asked for are begun; answers come in
// the order of the requests.
let last: Promise<void> = Promise.resolve();
parentPort?.on('message', (request: LoaderRequest) => {
  const begun = request.kind === 'crop' ? imageAt(request.image) : undefined;
  last = last.then(async () => parentPort?.postMessage(await answer(request, begun)));
});
