// What this machine offers, and what it lacks, for people who ask why something is slow or refused.

import { fromNative, type NativeSystem, native } from './native';
import { formatBytes } from './quantity';
import { version } from './version';

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
 * Examines the machine: CPU and its features, oneDNN, precisions, memory, and why there is no GPU.
 *
 * @throws ERR_NATIVE_ADDON if the native addon cannot be loaded: what was tried and how to build it.
 *
 * @example
 * ```ts
 * import { doctor } from 'deeplab';
 *
 * const { cpu, autoPrecision, cuda } = await doctor();
 * console.log(cpu.name, autoPrecision, cuda.gpus[0]?.name ?? cuda.reason);
 * ```
 */
export async function doctor(): Promise<Diagnosis> {
  const addon = native();
  try {
    return {
      version,
      node: process.version,
      platform: `${process.platform}-${process.arch}`,
      ...addon.system(''),
    };
  } catch (error) {
    throw fromNative(error);
  }
}

/** A diagnosis as text, one line per subject. */
export function formatDoctor(diagnosis: Diagnosis): string {
  const { cpu, onednn, memory, cuda } = diagnosis;
  const subjects: readonly (readonly [string, string])[] = [
    ['deeplab', diagnosis.version],
    ['node', `${diagnosis.node} ${diagnosis.platform}`],
    ['cpu', `${cpu.name}, ${cpu.cores} cores: ${cpu.features.join(' ')}`],
    ['oneDNN', `${onednn.version}, ${onednn.isa}`],
    ['precisions', `${diagnosis.precisions.join(' ')} (auto: ${diagnosis.autoPrecision})`],
    ['memory', `${formatBytes(memory.availableBytes)} available of ${formatBytes(memory.totalBytes)}`],
    ['gpu', cuda.reason === '' ? 'available' : `none: ${cuda.reason}`],
  ];
  return subjects.map(([subject, finding]) => `${subject.padEnd(12)}${finding}`).join('\n');
}
