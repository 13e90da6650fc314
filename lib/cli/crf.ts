// `deeplab crf`: refines labels that somebody painted, or probabilities that some network gave, by a fully connected CRF.

import { readFile } from 'node:fs/promises';
import { readAnnotation } from '../annotation';
import { type CrfResult, type DenseCrfOptions, denseCrf } from '../crf';
import { DeepLabError } from '../errors';
import { decodeImage } from '../image';
import { decodeNpy, encodeNpy } from '../npy';
import { writeFileAtomically } from '../output';
import type { BilateralTerm, GaussianTerm } from '../pairwise';
import { type Color, vocPalette } from '../palette';
import { formatInteger } from '../quantity';
import { decodeSafetensor } from '../safetensors';
import { type ClassShare, Segmentation } from '../segmentation';
import { Tensor } from '../tensor';
import type { UnaryInput } from '../unary';
import { formatClasses, presentClasses } from './classes';

/** The options of the command line, as commander leaves them. */
export interface CrfCommandOptions {
  readonly out: string;
  readonly labels?: string;
  readonly probabilities?: string;
  readonly gtProb?: number;
  readonly bilateral?: BilateralTerm;
  readonly gaussian?: GaussianTerm;
  readonly coordinates?: 'yx' | 'xy';
  readonly iterations?: number;
  readonly tolerance?: number;
  readonly device?: DenseCrfOptions['device'];
  readonly threads?: number;
  readonly marginals?: string;
  readonly json?: boolean;
}

/** What is known before the CRF, and what its classes look like. */
interface Knowledge {
  readonly unary: UnaryInput;
  readonly classes: readonly { readonly id: number; readonly name: string; readonly color: Color }[];
}

/** What is said of the result; with --json, the line that is printed. */
interface Report {
  readonly input: string;
  readonly width: number;
  readonly height: number;
  readonly iterations: number;
  /** Where the label map and the marginals are; null if not asked for. */
  readonly labels: string;
  readonly marginals: string | null;
  /** The classes that the image has, the largest first. */
  readonly classes: readonly ClassShare[];
  /** From decoded pixels to labels. */
  readonly milliseconds: number;
}

/**
 * Runs the command.
 *
 * @throws DeepLabError for whatever goes wrong; nothing is written then, unless writing is what went wrong.
 */
export async function crfCommand(input: string, options: CrfCommandOptions): Promise<void> {
  const { coordinates, iterations, tolerance, device, threads } = options;
  const { unary, classes } = await readKnowledge(options);
  const image = await decodeImage(input);
  const start = performance.now();
  const result = await denseCrf(image, unary, {
    ...chosenTerms(options),
    coordinates,
    iterations,
    tolerance,
    device,
    threads,
    marginals: options.marginals !== undefined,
  });
  const milliseconds = Math.round(performance.now() - start);
  const segmentation = new Segmentation({ labels: result.labels }, image, classes);
  if (options.marginals !== undefined) await writeFileAtomically(options.marginals, npyOf(result));
  await writeFileAtomically(options.out, await segmentation.toPng());
  const report: Report = {
    input,
    width: result.width,
    height: result.height,
    iterations: result.iterations,
    labels: options.out,
    marginals: options.marginals ?? null,
    classes: presentClasses(segmentation),
    milliseconds,
  };
  process.stdout.write(`${options.json ? JSON.stringify(report) : formatReport(report)}\n`);
}

/** The terms that are named, or nothing if none is: the library then takes its own. */
function chosenTerms({ bilateral, gaussian }: CrfCommandOptions) {
  const pairwise = [bilateral, gaussian].filter((term) => term !== undefined);
  return pairwise.length === 0 ? {} : { pairwise };
}

async function readKnowledge({ labels, probabilities, gtProb }: CrfCommandOptions): Promise<Knowledge> {
  if (labels !== undefined) return await readLabels(labels, gtProb);
  if (probabilities !== undefined) return await readProbabilities(probabilities);
  throw new DeepLabError(
    'ERR_INVALID_ARGUMENT',
    'nothing is known of the pixels: name a label map with --labels or an array with --probabilities',
  );
}

async function readLabels(file: string, gtProb: number | undefined): Promise<Knowledge> {
  const { labels, width, height, colors, unknown } = await readAnnotation(file);
  return {
    unary: { labels: new Tensor(labels, [height, width]), classes: colors.length, gtProb, unknown },
    classes: colors.map((color, id) => ({ id, name: `#${Buffer.from(color).toString('hex')}`, color })),
  };
}

async function readProbabilities(file: string): Promise<Knowledge> {
  const bytes = await readFile(file).catch((cause: Error) => {
    throw new DeepLabError('ERR_NOT_FOUND', `The array cannot be read: ${cause.message}`, { cause });
  });
  const probabilities = /\.safetensors$/i.test(file)
    ? decodeSafetensor(bytes, 'probabilities', file)
    : decodeNpy(bytes, file);
  const classes = vocPalette(Math.min(probabilities.shape[0] ?? 0, 256));
  return { unary: { probabilities }, classes: classes.map((color, id) => ({ id, name: String(id), color })) };
}

function npyOf({ marginals = new Float32Array(), classes, width, height }: CrfResult): Buffer {
  return encodeNpy(new Tensor(marginals, [classes, height, width]));
}

function formatReport(report: Report): string {
  const { input, width, height, iterations, milliseconds, labels, marginals, classes } = report;
  const time = `${formatInteger(iterations)} iterations, ${formatInteger(milliseconds)} ms`;
  const files = marginals === null ? [labels] : [labels, marginals];
  return [`${input}: ${width}x${height}, ${time}`, formatClasses(classes), ...files].join('\n');
}
