// The network and the image that `deeplab doctor` tries a machine with, and what must come out: weights made from a seed,
// so that nothing has to be shipped, and logits that PyTorch computed of them (test/parity/self_test.py). A few hundred
// kilobytes, a few milliseconds. Who runs it, and what a failure means, is doctor/trial.ts's.

import { writeFileSync } from 'node:fs';
import type { RawImage } from './image';
import type { Precision } from './native';

/** MobileNetV2 at a tenth of its channels under a narrow head of DeepLab v3: every kind of layer but max pooling. */
const metadata: Readonly<Record<string, string>> = {
  architecture: 'deeplab_v3',
  backbone: 'mobilenet_v2',
  width_multiplier: '0.1',
  output_stride: '16',
  aspp_rates: '2',
  head_channels: '16',
  batch_norm: 'folded',
  classes: 'a,b,c',
  channel_order: 'rgb',
  mean: '0.5,0.5,0.5',
  std: '0.25,0.25,0.25',
  value_range: '0..1',
};

/** Expansion and output channels of each of the 17 blocks, a tenth of the paper's (1801.04381, table 2), in eights. */
const blocks: readonly (readonly [expansion: number, channels: number])[] = [
  [1, 8],
  ...Array<[number, number]>(9).fill([6, 8]),
  ...Array<[number, number]>(6).fill([6, 16]),
  [6, 32],
];

/** Of the classifier, so that each class gets pixels. */
const classifierBias: readonly number[] = [6, 5, 0];

/** Names and shapes of the tensors, as docs/weights.md has them. */
function tensorShapes(): [name: string, shape: readonly number[]][] {
  const shapes: [string, readonly number[]][] = [];
  const convolution = (name: string, outputs: number, inputs: number, kernel: number) => {
    shapes.push([`${name}.weight`, [outputs, inputs, kernel, kernel]], [`${name}.bias`, [outputs]]);
  };
  let channels = 8;
  convolution('stem.conv', channels, 3, 3);
  for (const [i, [expansion, outputs]] of blocks.entries()) {
    const width = channels * expansion;
    if (expansion > 1) convolution(`blocks.${i}.expand.conv`, width, channels, 1);
    convolution(`blocks.${i}.depthwise.conv`, width, 1, 3);
    convolution(`blocks.${i}.project.conv`, outputs, width, 1);
    channels = outputs;
  }
  const head = Number(metadata.head_channels);
  convolution('aspp.branches.0.conv', head, channels, 1);
  convolution('aspp.branches.1.conv', head, channels, 3);
  convolution('aspp.pooling.conv', head, channels, 1);
  convolution('aspp.project.conv', head, 3 * head, 1);
  convolution('classifier', 3, head, 1);
  return shapes;
}

/** Uniform in [0, 1), by MurmurHash3's finaliser of a counter. */
function random(counter: number): number {
  let h = Math.imul(counter ^ (counter >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return ((h ^ (h >>> 16)) >>> 8) * 2 ** -24;
}

/** Writes the weights file (docs/weights.md). */
export function writeSelfTest(file: string): void {
  const header: Record<string, unknown> = { __metadata__: metadata };
  const parts: Float32Array[] = [];
  let offset = 0;
  let counter = 1;
  for (const [name, shape] of tensorShapes()) {
    const values = new Float32Array(shape.reduce((product, size) => product * size));
    // Kernels after He et al. (1502.01852), so that signals neither die nor explode on their way.
    const bound = shape.length === 1 ? 0.1 : Math.sqrt((6 * (shape[0] as number)) / values.length);
    for (let i = 0; i < values.length; i++) values[i] = (2 * random(counter++) - 1) * bound;
    if (name === 'classifier.bias') values.set(classifierBias);
    parts.push(values);
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + values.byteLength] };
    offset += values.byteLength;
  }
  const json = JSON.stringify(header);
  const text = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(file, Buffer.concat([length, text, ...parts.map(({ buffer }) => Buffer.from(buffer))]));
}

/** Stripes that widen to the right, in three colours: 49 by 33 pixels. */
export function selfTestImage(): RawImage {
  const [width, height] = [49, 33];
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const color = Math.trunc((y + x * 2) / (4 + (x >> 2))) % 3;
      data[3 * (y * width + x) + color] = 255 - 3 * y;
    }
  }
  return { data, width, height, channels: 3 };
}

/** What PyTorch computes in double precision: logits [3,3,4], and the pixels of each class. */
export const selfTestReference: { readonly logits: readonly number[]; readonly pixels: readonly number[] } = {
  logits: [
    7.00605, 7.50843, 8.882, 7.27197, 6.08887, 8.07478, 6.91114, 7.62157, 7.97244, 5.89412, 7.84947, 6.18188, 8.11512,
    10.3334, 8.27095, 7.52882, 7.06939, 4.51509, 6.52466, 6.29456, 8.60737, 9.05942, 8.23693, 7.63771, 8.61439, 10.0643,
    6.93435, 9.14815, 6.27401, 5.90809, 5.93994, 6.30492, 9.15907, 8.25678, 6.95234, 6.22386,
  ],
  pixels: [522, 639, 456],
};

/** What the largest logit may be off by, relative to the largest; and how many of the pixels may change their class. */
const tolerances: Readonly<Record<Precision, readonly [logits: number, pixels: number]>> = {
  f32: [1e-3, 0.01],
  tf32: [2e-2, 0.05],
  f16: [2e-2, 0.05],
  bf16: [1e-1, 0.2],
};

/** How far logits and labels are from the reference, relative to the largest logit, and why that is wrong; empty if not. */
export function judgeSelfTest(
  logits: Float32Array,
  labels: Uint8Array,
  precision: Precision,
): { readonly error: number; readonly reason: string } {
  const { logits: expected, pixels } = selfTestReference;
  const largest = Math.max(...expected.map(Math.abs));
  const error = Math.max(...expected.map((value, i) => Math.abs(value - (logits[i] ?? Number.NaN)))) / largest;
  const moved = pixels.map((count, label) => Math.abs(count - labels.filter((each) => each === label).length));
  const share = Math.max(...moved) / labels.length;
  const [ofLogits, ofPixels] = tolerances[precision];
  const wrong = [
    ...(error <= ofLogits ? [] : [`logits are off by ${percent(error)} of the largest: at most ${percent(ofLogits)}`]),
    ...(share <= ofPixels ? [] : [`${percent(share)} of the pixels have another class: at most ${percent(ofPixels)}`]),
  ];
  return { error, reason: wrong.join('; ') };
}

function percent(share: number): string {
  return `${(100 * share).toPrecision(2)} %`;
}
