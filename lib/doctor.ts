// What this machine offers, and what it lacks, for people who ask why something is slow or refused.

import { cudnnFolder, cudnnRule } from './device';
import { fromNative, type NativeCuda, type NativeGpu, type NativeSystem, native } from './native';
import { checkOptions } from './options';
import { formatBytes } from './quantity';
import { version } from './version';

/** Options of {@link doctor}. */
export interface DoctorOptions {
  /** Folder to look for cuDNN in first, as for `DeepLab.load`. Default: the environment variable DEEPLAB_CUDNN. */
  readonly cudnn?: string | undefined;
}

/** What {@link doctor} finds. */
export interface Diagnosis extends NativeSystem {
  /** Version of this package. */
  readonly version: string;
  /** Version of Node, such as `v20.20.2`. */
  readonly node: string;
  /** Operating system and architecture, such as `linux-x64`. */
  readonly platform: string;
}

/**
 * Examines the machine: CPU and its features, oneDNN, precisions, memory; CUDA, cuDNN and the GPUs, or why none can be
 * used and what to do about it.
 *
 * @throws ERR_NATIVE_ADDON if the native addon cannot be loaded: what was tried and how to build it;
 * ERR_INVALID_ARGUMENT for an unknown or wrong option.
 *
 * @example
 * ```ts
 * import { doctor } from 'deeplab';
 *
 * const { cpu, autoPrecision, cuda } = await doctor();
 * console.log(cpu.name, autoPrecision, cuda.gpus[0]?.name ?? cuda.reason);
 * ```
 */
export async function doctor(options: DoctorOptions = {}): Promise<Diagnosis> {
  checkOptions(options, { cudnn: cudnnRule });
  const addon = native();
  try {
    return {
      version,
      node: process.version,
      platform: `${process.platform}-${process.arch}`,
      ...addon.system(cudnnFolder(options.cudnn)),
    };
  } catch (error) {
    throw fromNative(error);
  }
}

/** What a line is about, and what it says. */
type Subject = readonly [string, string];

/** A diagnosis as text, one line per subject, and per GPU. */
export function formatDoctor(diagnosis: Diagnosis): string {
  const { cpu, onednn, memory, cuda } = diagnosis;
  const subjects: readonly Subject[] = [
    ['deeplab', diagnosis.version],
    ['node', `${diagnosis.node} ${diagnosis.platform}`],
    ['cpu', `${cpu.name}, ${cpu.cores} cores: ${cpu.features.join(' ')}`],
    ['oneDNN', `${onednn.version}, ${onednn.isa}`],
    ['precisions', `${diagnosis.precisions.join(' ')} (auto: ${diagnosis.autoPrecision})`],
    ['memory', `${formatBytes(memory.availableBytes)} available of ${formatBytes(memory.totalBytes)}`],
    ...formatCuda(cuda),
  ];
  return subjects.map(([subject, finding]) => `${subject.padEnd(12)}${finding}`).join('\n');
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
