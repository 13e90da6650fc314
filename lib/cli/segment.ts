// `deeplab segment`: finds the images, segments one after the other, writes label maps and overlays, prints tables or
// JSON lines. One bad image never stops the others.

import path from 'node:path';
import { DeepLab } from '../deeplab';
import type { DeepLabError } from '../errors';
import type { LoadOptions } from '../load-options';
import { fromNative } from '../native';
import { writeFileAtomically } from '../output';
import { formatInteger } from '../quantity';
import type { SegmentOptions } from '../segment-options';
import type { ClassShare } from '../segmentation';
import { formatClasses, presentClasses } from './classes';
import { type CliInput, findInputs, labelsSuffix, overlaySuffix } from './inputs';
import { Progress } from './progress';

/** The options of the command line, as commander leaves them. */
export interface SegmentCommandOptions {
  readonly out: string;
  readonly model?: string;
  readonly outputStride?: LoadOptions['outputStride'];
  readonly device?: LoadOptions['device'];
  readonly precision?: LoadOptions['precision'];
  readonly cudnn?: string;
  readonly threads?: number;
  readonly winograd: boolean;
  readonly fit?: SegmentOptions['fit'];
  readonly size?: number;
  readonly overlap?: number;
  readonly scales?: SegmentOptions['scales'];
  readonly fuse?: SegmentOptions['fuse'];
  readonly flip?: boolean;
  readonly crf?: boolean;
  readonly overlay?: boolean;
  readonly labels?: boolean;
  readonly json?: boolean;
}

/** What is said of an image; with --json, the line that is printed. */
interface Report {
  readonly input: string;
  readonly width: number;
  readonly height: number;
  /** Where the label map and the overlay are; null if not asked for. */
  readonly labels: string | null;
  readonly overlay: string | null;
  /** The classes that the image has, the largest first. */
  readonly classes: readonly ClassShare[];
  /** From the file to the labels: decoding and inference. */
  readonly milliseconds: number;
}

/**
 * Runs the command.
 *
 * @returns Whether every image was segmented and written.
 * @throws DeepLabError for what concerns all images: a model that cannot be loaded, clashing names.
 */
export async function segmentCommand(args: readonly string[], options: SegmentCommandOptions): Promise<boolean> {
  const weights = options.model ?? (process.env.DEEPLAB_MODEL || undefined);
  const inputs = await findInputs(args);
  const { outputStride, device, precision, cudnn, threads, winograd, json = false } = options;
  const model = await DeepLab.load(weights, { outputStride, device, precision, cudnn, threads, winograd });
  const progress = new Progress(inputs.length, process.stderr.isTTY && inputs.length > 1 && !json);
  let failures = 0;
  try {
    for (const input of inputs) {
      const outcome = await segmentInput(model, input, options);
      progress.advance(() => printOutcome(outcome, json));
      if ('error' in outcome) failures++;
    }
  } finally {
    progress.stop();
    await model.close();
  }
  return failures === 0;
}

interface Failure {
  readonly input: string;
  readonly error: DeepLabError;
}

async function segmentInput(
  model: DeepLab,
  input: CliInput,
  options: SegmentCommandOptions,
): Promise<Report | Failure> {
  if (input.kind === 'missing') return { input: input.path, error: input.error };
  try {
    return await segmentImage(model, input.path, path.join(options.out, input.name), options);
  } catch (error) {
    return { input: input.path, error: fromNative(error) };
  }
}

async function segmentImage(
  model: DeepLab,
  input: string,
  output: string,
  options: SegmentCommandOptions,
): Promise<Report> {
  const start = performance.now();
  const { fit, size, overlap, scales, fuse, flip, crf } = options;
  const result = await model.segment(input, { fit, size, overlap, scales, fuse, flip, crf });
  const milliseconds = Math.round(performance.now() - start);
  const both = !options.labels && !options.overlay;
  const labels = both || options.labels ? output + labelsSuffix : null;
  const overlay = both || options.overlay ? output + overlaySuffix : null;
  if (labels !== null) await writeFileAtomically(labels, await result.toPng());
  if (overlay !== null) await writeFileAtomically(overlay, await result.overlay());
  const { width, height } = result;
  return { input, width, height, labels, overlay, classes: presentClasses(result), milliseconds };
}

function printOutcome(outcome: Report | Failure, json: boolean): void {
  if ('error' in outcome) {
    const { code, message } = outcome.error;
    process.stderr.write(`deeplab: ${code}: ${outcome.input}: ${message}\n`);
    if (json) process.stdout.write(`${JSON.stringify({ input: outcome.input, error: { code, message } })}\n`);
  } else {
    process.stdout.write(json ? `${JSON.stringify(outcome)}\n` : `${formatReport(outcome)}\n\n`);
  }
}

function formatReport({ input, width, height, classes, milliseconds, labels, overlay }: Report): string {
  const files = [labels, overlay].filter((file) => file !== null);
  const heading = `${input}: ${width}x${height}, ${formatInteger(milliseconds)} ms`;
  return [heading, formatClasses(classes), ...files].join('\n');
}
