// The doctor's child process, a script: loads the native addon, asks it what there is, and segments an image on each
// device. It says each step before it takes it, so that its parent (run-trial.ts) knows at which one it died.
//
//   node trial.js '{"cudnn": "", "weights": "self-test.safetensors"}'

import { readFileSync, writeSync } from 'node:fs';
import type sharp from 'sharp';
import type { DeepLab } from '../deeplab';
import { fromNative, native } from '../native';
import { judgeSelfTest, selfTestImage } from '../self-test';
import {
  type Library,
  messageMark,
  type SelfTest,
  type TrialInput,
  type TrialMessage,
  type TrialStep,
} from './messages';

/** Libraries worth a line, by the beginning of their file's name. */
const wanted = /^(libdnnl|libgomp|libomp|libiomp5|libcudnn|libcuda|libvips|libvips-cpp|deeplab_cuda)[.-]/;

/** Written at once, so that nothing is lost when the process dies. */
function say(message: TrialMessage): void {
  writeSync(1, `${messageMark}${JSON.stringify(message)}\n`);
}

/** Says and takes a step; undefined if it failed, which was said then. */
async function take<T>(step: TrialStep, work: () => T | Promise<T>): Promise<T | undefined> {
  say({ kind: 'step', step });
  try {
    return await work();
  } catch (error) {
    say({ kind: 'failed', step, reason: fromNative(error).message });
    return undefined;
  }
}

/** Files that are mapped into this process (proc(5), /proc/pid/maps). */
function mappedFiles(): Set<string> {
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n');
  return new Set(lines.flatMap((line) => /^\S+ \S+ \S+ \S+ [1-9]\d* +(\/.*)$/.exec(line)?.[1] ?? []));
}

/** The version is what the name of the file ends with, as in libdnnl.so.3.6; the system has resolved the links. */
function libraryOf(file: string): Library {
  const base = file.slice(file.lastIndexOf('/') + 1);
  return {
    name: base.replace(/\.so(\..*)?$/, ''),
    version: /\.so\.([\d.]*\d)$/.exec(base)?.[1] ?? '',
    path: file,
  };
}

/** Said twice: what comes with sharp and CUDA comes late, and not at all if they crash. */
function sayLibraries(): void {
  const files = [...mappedFiles()].filter((file) => wanted.test(file.slice(file.lastIndexOf('/') + 1)));
  say({ kind: 'libraries', libraries: files.map(libraryOf) });
}

async function selfTest(
  load: typeof DeepLab.load,
  { weights, cudnn }: TrialInput,
  device: `cuda:${number}` | 'cpu',
  precision: 'auto' | 'f32',
): Promise<void> {
  const step: TrialStep = { name: 'self-test', device, precision };
  const start = performance.now();
  await take(step, async () => {
    await using model = await load(weights, { device, precision, ...(cudnn !== '' && { cudnn }) });
    if (precision === 'auto' && model.precision === 'f32') return;
    const loadMs = performance.now() - start;
    const segment = async () => {
      const before = performance.now();
      const { logits, labels } = await model.segment(selfTestImage(), { logits: true });
      const ms = performance.now() - before;
      return { ms, ...judgeSelfTest(logits?.data ?? new Float32Array(), labels, model.precision) };
    };
    const first = await segment();
    const second = await segment();
    const { error, reason } = first.reason === '' ? second : first;
    const times = { loadMs, firstMs: first.ms, inferenceMs: second.ms };
    const result: SelfTest = { device, precision: model.precision, reason, error, ...times };
    say({ kind: 'self-test', result });
  });
}

async function main(): Promise<void> {
  const input = JSON.parse(process.argv[2] ?? '') as TrialInput;
  const before = mappedFiles();
  const addon = await take({ name: 'load' }, native);
  if (addon === undefined) return;
  const path = [...mappedFiles()].find((file) => file.endsWith('.node') && !before.has(file)) ?? '';
  say({ kind: 'addon', path });
  const system = await take({ name: 'system' }, () => addon.system('', false));
  if (system === undefined) return;
  say({ kind: 'system', system });
  sayLibraries();

  // What needs sharp comes after it; what may make a driver crash comes last.
  const load = await take({ name: 'sharp' }, () => {
    const { versions } = require('sharp') as typeof sharp;
    const { sharp: version = '', vips: libvips = '' } = versions;
    say({ kind: 'sharp', version, libvips });
    return (require('../deeplab') as typeof import('../deeplab')).DeepLab.load;
  });
  const examine = async (device: `cuda:${number}` | 'cpu') => {
    if (load === undefined || input.weights === '') return;
    for (const precision of ['f32', 'auto'] as const) await selfTest(load, input, device, precision);
  };
  await examine('cpu');
  const cuda = await take({ name: 'cuda' }, () => addon.system(input.cudnn).cuda);
  if (cuda !== undefined) say({ kind: 'cuda', cuda });
  for (const { device, reason } of cuda?.gpus ?? []) {
    if (reason === '') await examine(device as `cuda:${number}`);
  }
  sayLibraries();
}

main().then(() => say({ kind: 'end' }));
