#!/usr/bin/env node
// The command line: what commands and options there are, and how failures end. The work of `segment`, `crf` and
// `weights` is in lib/cli/, that of the others in the modules they are named after.
// What needs sharp is loaded by the commands that need it: the doctor has to speak where sharp cannot be loaded.
// Exit codes: 0 all is well, 1 something failed, 2 the command line is wrong.

import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import type { CrfCommandOptions } from './cli/crf';
import type { CrfSearchCommandOptions } from './cli/crf-search';
import type { EvaluateCommandOptions } from './cli/evaluate';
import type { SegmentCommandOptions } from './cli/segment';
import type { TrainCommandOptions } from './cli/train';
import type { ImportCommandOptions } from './cli/weights';
import { type Device, precisionChoices } from './device';
import { doctor } from './doctor';
import { formatDoctor } from './doctor/text';
import { fitChoices } from './fit';
import type { ImageSize } from './image';
import { layoutNames } from './import/layouts/index';
import { storageChoices } from './import/precision';
import { formatInspection, type InspectOptions, inspect } from './inspect';
import { fromNative } from './native';
import { formatNetworks, networks } from './networks';
import type { BilateralTerm, GaussianTerm } from './pairwise';
import { fuseChoices, readScales } from './scales';
import { formatTuning, type TuneOptions, type Tuning, tune } from './tune';
import { version } from './version';

function program(): Command {
  // Set on the program before the commands are made, which inherit them.
  const deeplab = new Command('deeplab')
    .description('Semantic segmentation of images with the DeepLab networks.')
    .version(version)
    .exitOverride()
    .configureOutput({
      outputError: (text, write) => write(text.replace(/^error: /, 'deeplab: ERR_INVALID_ARGUMENT: ')),
    });

  deeplab
    .command('segment')
    .description('Segment images: write label maps and overlays, print the classes.')
    .argument('<inputs...>', 'image files, folders (the images inside, recursively) or globs')
    .option('-o, --out <folder>', 'folder for the results', 'out')
    .option(
      '--model <file>',
      'weights file, or name of a model (default: the variable DEEPLAB_MODEL, else the one that ships)',
    )
    .addOption(outputStrideOption())
    .addOption(precisionOption())
    .addOption(deviceOption())
    .addOption(cudnnOption())
    .option('--threads <number>', 'CPU threads (default: all)', parseCount)
    .option('--no-winograd', 'compute 3x3 convolutions directly: slower, closer to the reference')
    .addOption(
      new Option('--fit <how>', 'the image as it is, resized, or in tiles (default: as the weights file says)').choices(
        fitChoices,
      ),
    )
    .option('--size <pixels>', 'longer side of a resized image, or side of a tile', parseCount)
    .option('--overlap <pixels>', 'pixels that neighbouring tiles share (default: a quarter of the side)', parseCount)
    .option('--scales <numbers>', 'scales of the image at which the network runs, as in 0.5,0.75,1', parseScales)
    .addOption(
      new Option('--fuse <rule>', 'how the logits of the scales become one (default: max)').choices(fuseChoices),
    )
    .option('--flip', 'run the network on the mirrored image as well')
    .option('--crf', "refine the labels by the model's fully connected CRF")
    .option('--overlay', 'write <name>.overlay.png only, the photo under its class colours')
    .option('--labels', 'write <name>.labels.png only, an indexed PNG of class ids')
    .option('--json', 'print one line of JSON per image')
    .action(async (inputs: string[], options: SegmentCommandOptions) => {
      const { segmentCommand } = await import('./cli/segment.js');
      if (!(await segmentCommand(inputs, options))) process.exitCode = 1;
    });

  deeplab
    .command('crf')
    .description('Refine painted labels, or probabilities, by a fully connected CRF.')
    .argument('<image>', 'image file')
    .requiredOption('-o, --out <file>', 'indexed PNG for the labels')
    .option('--labels <file>', 'picture of labels, a colour per class; black is unknown')
    .addOption(
      new Option('--gt-prob <number>', 'probability that a label is right (default: 0.7)').argParser(parseNumber),
    )
    .addOption(
      new Option('--probabilities <file>', 'float array [C,H,W], .npy or .safetensors').conflicts(['labels', 'gtProb']),
    )
    .option('--bilateral <weight,xy,rgb>', 'appearance term: weight, deviations of position and colour', parseBilateral)
    .option('--gaussian <weight,xy>', 'smoothness term: weight, deviation of position', parseGaussian)
    .option('--iterations <number>', 'mean-field iterations (default: 10)', parseCount)
    .option(
      '--tolerance <number>',
      'stop once an iteration lowers the KL divergence by less, in nats per pixel',
      parseNumber,
    )
    .addOption(
      new Option('--coordinates <order>', "order of the position's features (default: yx)").choices(['yx', 'xy']),
    )
    .addOption(deviceOption())
    .option('--threads <number>', 'CPU threads (default: all)', parseCount)
    .option('--marginals <file>', '.npy file for the probabilities after refinement, float32 [C,H,W]')
    .option('--json', 'print a line of JSON')
    .addHelpText(
      'after',
      "\nWithout --bilateral and --gaussian: DeepLab v2's terms, as --bilateral 4,67,3 --gaussian 3,1.",
    )
    .action(async (image: string, options: CrfCommandOptions) => {
      const { crfCommand } = await import('./cli/crf.js');
      await crfCommand(image, options);
    });

  deeplab
    .command('crf-search')
    .description("Search the parameters of a model's fully connected CRF on labelled images.")
    .argument('<path>', 'folder of the dataset')
    .addOption(dataOption())
    .option(
      '--model <file>',
      'weights file, or name of a model (default: the variable DEEPLAB_MODEL, else the one that ships)',
    )
    .option('--split <name>', 'split of the dataset (default: val)')
    .option('--limit <number>', 'images to search on, evenly spread over the split (default: 100)', parseCount)
    .option('--weight <numbers>', "values of the bilateral term's weight (default: 2,4,8)", parseNumbers)
    .option('--xy <numbers>', 'of its deviation of position (default: 15,30,60,120)', parseNumbers)
    .option('--rgb <numbers>', 'of its deviation of colour (default: 2,4,8)', parseNumbers)
    .option('--random <number>', 'draw this many combinations between these values instead of trying all', parseCount)
    .option('--seed <number>', 'of what is drawn (default: 0)', parseCount)
    .option('--rounds <number>', 'rounds of refinement around the best (default: 2)', parseCount)
    .option('--gaussian <weight,xy>', "the Gaussian term, which is not searched (default: the model's)", parseGaussian)
    .option('--iterations <number>', "mean-field iterations (default: the model's)", parseCount)
    .option('--scales <numbers>', 'scales of the image at which the network runs, as in 0.5,0.75,1', parseScales)
    .addOption(
      new Option('--fuse <rule>', 'how the logits of the scales become one (default: max)').choices(fuseChoices),
    )
    .option('--flip', 'run the network on the mirrored image as well')
    .addOption(outputStrideOption())
    .addOption(precisionOption())
    .addOption(deviceOption())
    .option('--concurrency <number>', 'CRFs at once, each on a CPU thread (default: all threads)', parseCount)
    .option('-o, --out <file>', 'write all that was tried and found, as JSON')
    .option('--json', 'print JSON')
    .action(async (place: string, options: CrfSearchCommandOptions) => {
      const { crfSearchCommand } = await import('./cli/crf-search.js');
      await crfSearchCommand(place, options);
    });

  deeplab
    .command('train')
    .description('Train a network: checkpoints, evaluation, logs. docs/training.md describes the configuration.')
    .requiredOption('--config <file>', 'the configuration, JSON')
    .option('-o, --out <folder>', 'folder for weights, checkpoint and log, instead of its out')
    .option('--init <file>', 'weights to begin with, of any format, instead of its init.from')
    .option('--set <key=value>', 'sets a key of the configuration, as policy.power=0.9; may be repeated', collect, [])
    .option('--resume', 'go on from the checkpoint in the folder, if there is one')
    .addOption(cudnnOption())
    .option('--json', 'print a line of JSON per event')
    .action(async (options: TrainCommandOptions) => {
      const { trainCommand } = await import('./cli/train.js');
      await trainCommand(options);
    });

  deeplab
    .command('eval')
    .description(
      'Evaluate a model on images whose labels are known. docs/evaluation.md describes datasets and figures.',
    )
    .argument('<path>', 'folder of the dataset')
    .addOption(dataOption())
    .option('--split <name>', 'split of the dataset (default: val)')
    .option(
      '--model <file>',
      'weights file, or name of a model (default: the variable DEEPLAB_MODEL, else the one that ships)',
    )
    .option('-o, --out <folder>', 'folder for the results, from which a killed evaluation goes on')
    .option('--scales <numbers>', 'scales of the image at which the network runs, as in 0.5,0.75,1', parseScales)
    .addOption(
      new Option('--fuse <rule>', 'how the logits of the scales become one (default: max)').choices(fuseChoices),
    )
    .option('--flip', 'run the network on the mirrored image as well')
    .option('--crf', "evaluate the labels after the model's fully connected CRF as well")
    .option('--limit <number>', 'take this many images, the first ones', parseCount)
    .option(
      '--trimap <widths>',
      'mean IoU in bands around boundaries of these widths in pixels, as in 1,2,5',
      parseWidths,
    )
    .option('--html', 'write report.html into the folder as well')
    .addOption(precisionOption())
    .addOption(deviceOption())
    .addOption(cudnnOption())
    .option('--threads <number>', 'CPU threads (default: all)', parseCount)
    .option('--json', 'print a line of JSON')
    .action(async (place: string, options: EvaluateCommandOptions) => {
      const { evaluateCommand } = await import('./cli/evaluate.js');
      await evaluateCommand(place, options);
    });

  deeplab
    .command('inspect')
    .description("Print a weights file's network: layers, shapes, multiply-accumulates, parameters, memory.")
    .argument('<model>', 'weights file, or name of a model')
    .addOption(sizeOption())
    .addOption(outputStrideOption())
    .option('--json', 'print JSON')
    .action(async (model: string, { size, json, outputStride }: InspectCommandOptions) => {
      const inspection = await inspect(model, { ...size, outputStride });
      print(json ? JSON.stringify(inspection, null, 2) : formatInspection(inspection));
    });

  deeplab
    .command('models')
    .description('List the networks that can be built: multiply-accumulates, parameters, published accuracy.')
    .addOption(sizeOption())
    .option('--json', 'print JSON')
    .action(({ size, json }: { size: ImageSize; json?: boolean }) => {
      const list = networks(size);
      print(json ? JSON.stringify(list, null, 2) : formatNetworks(list));
    });

  deeplab
    .command('tune')
    .description("Time a model's convolutions on a GPU ahead of their use, and keep the fastest in the cache.")
    .argument('<model>', 'weights file, or name of a model')
    .option(
      '--size <sizes>',
      'sizes of images, WIDTHxHEIGHT, separated by commas or each with a --size (default: 513x513)',
      parseSizes,
    )
    .addOption(outputStrideOption())
    .option('--batch <number>', 'images that are computed at once (default: 1)', parseCount)
    .addOption(precisionOption())
    .addOption(deviceOption('cuda'))
    .addOption(cudnnOption())
    .option('--no-winograd', 'leave out Winograd convolution')
    .option('--json', 'print JSON')
    .action(async (model: string, { size = [{}], json, ...options }: TuneCommandOptions) => {
      const tunings: Tuning[] = [];
      for (const { width, height } of size) {
        const tuning = await tune(model, { ...options, width, height });
        tunings.push(tuning);
        if (!json) print(`${formatTuning(tuning)}\n`);
      }
      if (json) print(JSON.stringify(tunings, null, 2));
    });

  const weights = deeplab.command('weights').description('Get weights: of other frameworks, or published ones.');
  weights
    .command('import')
    .description('Make a weights file of one of PyTorch, TensorFlow, Keras or Caffe.')
    .argument('<file>', 'the weights; of a TensorFlow checkpoint its prefix')
    .requiredOption('-o, --out <file>', 'file to write, .safetensors')
    .addOption(new Option('--as <layout>', 'whose names the tensors have (default: found out)').choices(layoutNames))
    .addOption(new Option('--precision <precision>', 'how kernels are stored (default: f32)').choices(storageChoices))
    .option('--json', 'print JSON')
    .action(async (file: string, options: ImportCommandOptions) => {
      const { importCommand } = await import('./cli/weights.js');
      await importCommand(file, options);
    });
  weights
    .command('export')
    .description('Write a network for another runtime.')
    .argument('<model>', 'weights file, or name of a model')
    .requiredOption('--onnx [file]', 'as an ONNX model (default: <model>.onnx in the working folder)')
    .action(async (model: string, options: { onnx: string | true }) => {
      const { exportCommand } = await import('./cli/weights.js');
      await exportCommand(model, options);
    });
  weights
    .command('list')
    .description('Print the published models that can be pulled.')
    .option('--json', 'print JSON')
    .action(async (options: { json?: boolean }) => {
      const { listCommand } = await import('./cli/weights.js');
      await listCommand(options);
    });
  weights
    .command('pull')
    .description('Download a published model, check and import it, and keep it in the cache.')
    .argument('<name>', 'name of the model, as deeplab weights list prints it')
    .option('--unverified', 'take a model of which no checksum was published')
    .action(async (name: string, options: { unverified?: boolean }) => {
      const { pullCommand } = await import('./cli/weights.js');
      await pullCommand(name, options);
    });

  deeplab
    .command('doctor')
    .description('Print what this machine offers and lacks, and try it: exit code 1 if images cannot be segmented.')
    .addOption(cudnnOption())
    .option('--json', 'print JSON')
    .action(async ({ json, cudnn }: { json?: boolean; cudnn?: string }) => {
      const diagnosis = await doctor({ cudnn });
      print(json ? JSON.stringify(diagnosis, null, 2) : formatDoctor(diagnosis));
      if (diagnosis.problems.length > 0) process.exitCode = 1;
    });

  return deeplab;
}

/** The options of `deeplab inspect`, as commander leaves them. */
interface InspectCommandOptions extends Pick<InspectOptions, 'outputStride'> {
  readonly size: ImageSize;
  readonly json?: boolean;
}

/** The options of `deeplab tune`, as commander leaves them. */
interface TuneCommandOptions extends Omit<TuneOptions, 'width' | 'height'> {
  readonly size?: readonly Partial<ImageSize>[];
  readonly json?: boolean;
}

function dataOption(): Option {
  return new Option('--data <format>', 'how the dataset lies there')
    .choices(['voc', 'camvid', 'cityscapes', 'folder'])
    .makeOptionMandatory();
}

function sizeOption(): Option {
  return new Option('--size <size>', 'size of the image, WIDTHxHEIGHT')
    .argParser(parseSize)
    .default({ width: 513, height: 513 }, '513x513');
}

function outputStrideOption(): Option {
  return new Option('--output-stride <number>', "8 or 16 (default: the weights file's)").argParser(parseCount);
}

function precisionOption(): Option {
  return new Option('--precision <precision>', 'precision of the network (default: auto)').choices(precisionChoices);
}

function deviceOption(preset: Device = 'auto'): Option {
  return new Option('--device <device>', `auto, cpu, cuda or cuda:<number> (default: ${preset})`);
}

function cudnnOption(): Option {
  return new Option('--cudnn <folder>', 'where libcudnn.so.9 is (default: the variable DEEPLAB_CUDNN)');
}

/** The values of an option that may be repeated. */
function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

function parseWidths(text: string): number[] {
  return text.split(',').map(parseNumber);
}

function parseCount(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('Expected a whole number.');
  return Number(text);
}

function parseNumber(text: string): number {
  const number = text.trim() === '' ? Number.NaN : Number(text);
  if (!Number.isFinite(number)) throw new InvalidArgumentError('Expected a number.');
  return number;
}

function parseScales(text: string): readonly number[] {
  return readScales(text.split(',').map(parseNumber));
}

function parseNumbers(text: string): readonly number[] {
  return text.split(',').map(parseNumber);
}

function parseBilateral(text: string): BilateralTerm {
  const [weight, xy, rgb, ...rest] = text.split(',');
  if (weight === undefined || xy === undefined || rgb === undefined || rest.length > 0) {
    throw new InvalidArgumentError('Expected WEIGHT,XY,RGB, as in 4,67,3.');
  }
  return { kernel: 'bilateral', xy: parseNumber(xy), rgb: parseNumber(rgb), compatibility: parseNumber(weight) };
}

function parseGaussian(text: string): GaussianTerm {
  const [weight, xy, ...rest] = text.split(',');
  if (weight === undefined || xy === undefined || rest.length > 0) {
    throw new InvalidArgumentError('Expected WEIGHT,XY, as in 3,1.');
  }
  return { kernel: 'gaussian', xy: parseNumber(xy), compatibility: parseNumber(weight) };
}

function parseSize(text: string): ImageSize {
  const [, width, height] = /^(\d+)x(\d+)$/.exec(text) ?? [];
  if (width === undefined || height === undefined)
    throw new InvalidArgumentError('Expected WIDTHxHEIGHT, as in 513x513.');
  return { width: Number(width), height: Number(height) };
}

function parseSizes(text: string, before: readonly ImageSize[] = []): readonly ImageSize[] {
  return [...before, ...text.split(',').map(parseSize)];
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Says what went wrong, unless commander has said so already, and returns the exit code. */
function exitCodeOf(failure: unknown): number {
  if (failure instanceof CommanderError) return failure.exitCode === 0 ? 0 : 2;
  const { code, message } = fromNative(failure);
  process.stderr.write(`deeplab: ${code}: ${message}\n`);
  return code === 'ERR_INVALID_ARGUMENT' ? 2 : 1;
}

// `deeplab ... | head` closes the pipe early. That is no reason to leave images unsegmented, nor to complain.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

program()
  .parseAsync()
  .catch((failure: unknown) => {
    process.exitCode = exitCodeOf(failure);
  });
