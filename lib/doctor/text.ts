// A diagnosis for people: a line a subject.

import type { Diagnosis } from '../doctor';
import type { NativeCuda, NativeGpu } from '../native';
import { formatBytes } from '../quantity';
import type { Library, SelfTest } from './messages';

/** What a line is about, and what it says. */
type Subject = readonly [string, string];

const margin = 12;

/** A diagnosis as text: one line per subject, per GPU, library and self-test, and last what is wrong. */
export function formatDoctor(diagnosis: Diagnosis): string {
  const { addon, cpu, onednn, os, packages } = diagnosis;
  const subjects: readonly Subject[] = [
    ['deeplab', diagnosis.version],
    ['addon', addon.ok ? `${addon.version}: ${addon.path}` : 'cannot be used'],
    ['runtime', `${diagnosis.runtime}, ${diagnosis.platform}, Node-API ${packages.napi}`],
    ['sharp', packages.sharp === '' ? 'was not loaded' : `${packages.sharp}, libvips ${packages.libvips}`],
    ['system', [os.name, os.kernel, os.libc].filter((part) => part !== '').join(', ')],
    ['cpu', `${cpu.name}, ${cpu.cores} cores: ${cpu.features.join(' ')}`],
    ...(onednn.version === '' ? [] : [['oneDNN', `${onednn.version}, ${onednn.isa}`] as const]),
    ...(addon.ok
      ? [['precisions', `${diagnosis.precisions.join(' ')} (auto: ${diagnosis.autoPrecision})`] as const]
      : []),
    ['memory', formatMemory(diagnosis.memory)],
    ...diagnosis.libraries.map((library) => ['library', formatLibrary(library)] as const),
    ...formatCuda(diagnosis.cuda),
    ...diagnosis.selfTests.map((test) => ['self-test', formatSelfTest(test)] as const),
    ...diagnosis.problems.map((problem) => ['problem', problem] as const),
  ];
  return subjects
    .map(([subject, finding]) => `${subject.padEnd(margin)}${finding.replaceAll('\n', `\n${' '.repeat(margin)}`)}`)
    .join('\n');
}

function formatMemory({ availableBytes, totalBytes, limitBytes }: Diagnosis['memory']): string {
  const limited = limitBytes === null ? '' : `, the control group's limit is ${formatBytes(limitBytes)}`;
  return `${formatBytes(availableBytes)} available of ${formatBytes(totalBytes)}${limited}`;
}

function formatLibrary({ name, version, path }: Library): string {
  return `${[name, version].filter((part) => part !== '').join(' ')}: ${path}`;
}

function formatSelfTest({ device, precision, reason, loadMs, firstMs, inferenceMs }: SelfTest): string {
  const what = `${device} ${precision}`;
  if (reason !== '') return `${what}: failed`;
  const times: readonly (readonly [string, number | null])[] = [
    ['load', loadMs],
    ['first image', firstMs],
    ['second image', inferenceMs],
  ];
  return `${what}: passed, ${times.map(([name, ms]) => `${name} ${ms?.toFixed(1)} ms`).join(', ')}`;
}

/** Without a GPU that can be used, its line says why, and the others only what there is. */
function formatCuda({ reason, library, runtime, driver, cudnn, cudnnPath, gpus }: NativeCuda): Subject[] {
  const versions = [`built with ${runtime}`, driver === '' ? 'no driver' : `driver up to ${driver}`].join(', ');
  return [
    ...(library === '' ? [] : [['CUDA', `${versions}: ${library}`] as const]),
    ...(cudnn === '' ? [] : [['cuDNN', `${cudnn}: ${cudnnPath}`] as const]),
    ...gpus.map((gpu) => ['gpu', formatGpu(gpu)] as const),
    ...(reason === '' ? [] : [['gpu', `none: ${reason}`] as const]),
  ];
}

function formatGpu(gpu: NativeGpu): string {
  const memory = `${formatBytes(gpu.availableBytes)} available of ${formatBytes(gpu.totalBytes)}`;
  const use = gpu.reason === '' ? gpu.precisions.join(' ') : `cannot be used: ${gpu.reason}`;
  return `${gpu.device}: ${gpu.name}, compute capability ${gpu.computeCapability}, ${memory}, ${use}`;
}
