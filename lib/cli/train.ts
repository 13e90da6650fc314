// `deeplab train`: reads a configuration, prints it in full, and shows how the training goes.

import { readFile } from 'node:fs/promises';
import { DeepLabError } from '../errors';
import { formatBytes, formatCount } from '../quantity';
import { type TrainConfig, type TrainEvent, train, trainConfig } from '../train';
import { setKey } from '../train/config';
import { TrainingView } from './training-view';

/** The options of the command line, as commander leaves them. */
export interface TrainCommandOptions {
  readonly config: string;
  readonly out?: string;
  readonly init?: string;
  readonly set: readonly string[];
  readonly resume?: boolean;
  readonly cudnn?: string;
  readonly json?: boolean;
}

/**
 * Runs the command. Ctrl-C ends it with a checkpoint; a second one at once.
 *
 * @throws DeepLabError for whatever goes wrong.
 */
export async function trainCommand(options: TrainCommandOptions): Promise<void> {
  const config = await readConfigFile(options);
  const decided = trainConfig(config);
  const view = new TrainingView(decided.iterations, !options.json && process.stderr.isTTY === true);
  const print = (text: string) => process.stdout.write(`${text}\n`);
  print(options.json ? JSON.stringify({ kind: 'config', config: decided }) : JSON.stringify(decided, null, 2));
  const interrupt = new AbortController();
  const onSignal = () => interrupt.abort();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, onSignal);
  const onEvent = (event: TrainEvent) => {
    if (options.json) {
      process.stdout.write(`${JSON.stringify(event)}\n`);
      return;
    }
    if (event.kind === 'step') {
      const line = view.step(event);
      if (line !== undefined) print(line);
    } else {
      view.pause();
      print(describe(event));
    }
  };
  const { resume = false, cudnn } = options;
  try {
    const result = await train(config, { resume, cudnn, onEvent, signal: interrupt.signal });
    view.stop();
    if (options.json) process.stdout.write(`${JSON.stringify({ kind: 'end', ...result })}\n`);
    else if (result.best !== null) {
      print(`Best: mIoU ${percent(result.best.miou)} at iteration ${result.best.iteration}, ${result.bestFile}`);
    }
  } finally {
    view.stop();
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.removeListener(name, onSignal);
  }
}

/** The file's configuration with what the command line says besides. */
async function readConfigFile({ config: file, out, init, set }: TrainCommandOptions): Promise<TrainConfig> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    const message = `The configuration cannot be read: ${(cause as Error).message}`;
    throw new DeepLabError('ERR_NOT_FOUND', message, { cause });
  }
  let config: Record<string, unknown>;
  try {
    config = JSON.parse(text) as Record<string, unknown>;
  } catch (cause) {
    const message = `${file} is no JSON: ${(cause as Error).message}`;
    throw new DeepLabError('ERR_INVALID_ARGUMENT', message, { cause });
  }
  if (typeof config !== 'object' || config === null || Array.isArray(config)) {
    throw new DeepLabError('ERR_INVALID_ARGUMENT', `${file} holds no object, which a configuration is`);
  }
  for (const assignment of set) setKey(config, assignment);
  if (out !== undefined) config.out = out;
  if (init !== undefined) config.init = { from: init };
  return config as unknown as TrainConfig;
}

/** What is printed of an event; steps are the view's. */
function describe(event: Exclude<TrainEvent, { kind: 'step' }>): string {
  switch (event.kind) {
    case 'start': {
      const { images, classes, device, precision, threads, parameters, activationBytes, parameterBytes } = event;
      const begun = event.initialization;
      const from =
        begun === null
          ? `going on after iteration ${event.iteration}`
          : `${begun.taken.length} tensors taken, ${begun.expanded.length} bottlenecks added, ${begun.initialized.length} tensors initialised`;
      const memory = `${formatBytes(activationBytes)} of activations, ${formatBytes(parameterBytes)} of weights, gradients and momentum`;
      return `${images} images, ${classes.length} classes, ${formatCount(parameters)} parameters, ${device} in ${precision}, ${threads} threads; ${memory}; ${from}`;
    }
    case 'evaluation': {
      const { iteration, miou, pixelAccuracy, images, seconds, best } = event;
      const head = `iteration ${iteration}: mIoU ${percent(miou)}, pixel accuracy ${percent(pixelAccuracy)} on ${images} images in ${seconds.toFixed(0)} s`;
      return best ? `${head}, the best so far` : head;
    }
    default:
      return `iteration ${event.iteration}: wrote ${event.file}`;
  }
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}
