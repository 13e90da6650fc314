// What this machine offers, and what it lacks, for people who ask why something is slow, refused or gone. What crashes on
// this machine crashes in a child process (doctor/run-trial.ts); how it is told to people is doctor/text.ts's.

import { type CallOptions, callRules, stoppable } from './abort';
import { cudnnFolder, cudnnRule } from './device';
import { foreignBinaries } from './doctor/elf';
import { type Cpu, cpu, type Memory, memory, type OperatingSystem, operatingSystem, runtime } from './doctor/machine';
import type { Library, SelfTest } from './doctor/messages';
import { runTrial, type Trial } from './doctor/run-trial';
import type { NativeCuda, NativeSystem, Precision } from './native';
import { checkOptions, integerRule } from './options';
import { version } from './version';

/** Options of {@link doctor}. */
export interface DoctorOptions extends CallOptions {
  /** Folder to look for cuDNN in first, as for `DeepLab.load`. Default: the environment variable DEEPLAB_CUDNN. */
  readonly cudnn?: string | undefined;
  /**
   * How long a step may take, in milliseconds, 1..3600000: loading the native addon, looking for GPUs, a self-test. One
   * that takes longer has hung. Default 30000.
   */
  readonly stepTimeoutMs?: number | undefined;
}

/** The native addon: its file, or why it cannot be used. */
export type AddonFinding =
  | { readonly ok: true; readonly path: string; readonly version: string }
  | { readonly ok: false; readonly reason: string };

/** What computes: all CPUs, or all GPUs of NVIDIA. */
export interface Backend {
  readonly name: 'cpu' | 'cuda';
  readonly available: boolean;
  /** Why it is not available, and what to do about it; empty if it is. */
  readonly reason: string;
  /** In which it computes; of several GPUs, those of the first that can be used. */
  readonly precisions: readonly Precision[];
}

/** What {@link doctor} finds. What is not known, because what would tell does not work, is empty. */
export interface Diagnosis {
  /** What is wrong, a sentence each; empty if images can be segmented. That there is no GPU is nothing wrong. */
  readonly problems: readonly string[];
  /** Version of this package. */
  readonly version: string;
  /** What runs this, such as `Node 20.20.2`, `Bun 1.2.0`, `Deno 2.5.0` or `Electron 40.0.0`. */
  readonly runtime: string;
  /** Version of Node, such as `v20.20.2`, or the one that the runtime is compatible with. */
  readonly node: string;
  /** Operating system and architecture, such as `linux-x64`. */
  readonly platform: string;
  readonly os: OperatingSystem;
  /** Versions of this package, of its native addon, and of what they stand on. */
  readonly packages: Readonly<Record<'deeplab' | 'addon' | 'sharp' | 'libvips' | 'node' | 'napi', string>>;
  readonly addon: AddonFinding;
  readonly backends: readonly Backend[];
  readonly cpu: Cpu;
  readonly onednn: NativeSystem['onednn'];
  /** Of the CPU, and which of them `auto` is there. */
  readonly precisions: readonly Precision[];
  readonly autoPrecision?: Precision | undefined;
  readonly memory: Memory;
  readonly cuda: NativeCuda;
  /** Libraries that were loaded into the process that tried all this, after the addon itself. */
  readonly libraries: readonly Library[];
  /** Images whose right labels are known, segmented on each device that there is, in f32 and in the precision `auto`. */
  readonly selfTests: readonly SelfTest[];
}

/**
 * Examines the machine: system, CPU and its features, memory; the native addon and the libraries it uses; CUDA, cuDNN and
 * the GPUs, or why none can be used and what to do about it. A child process tries it all, with a small network on each
 * device, so that what crashes or hangs is told as well. Takes about a second, and a few where there is a GPU.
 *
 * @throws ERR_INVALID_ARGUMENT for an unknown or wrong option, ERR_ABORTED, ERR_TIMEOUT. What it finds is no error, however bad it is.
 *
 * @example
 * ```ts
 * import { doctor } from 'deeplab';
 *
 * const { problems, cpu, cuda } = await doctor();
 * for (const problem of problems) console.error(problem);
 * console.log(cpu.name, cuda.gpus[0]?.name ?? cuda.reason);
 * ```
 */
export async function doctor(options: DoctorOptions = {}): Promise<Diagnosis> {
  checkOptions(options, { cudnn: cudnnRule, stepTimeoutMs: integerRule(1, 3_600_000), ...callRules });
  const { stepTimeoutMs = 30_000 } = options;
  const cudnn = cudnnFolder(options.cudnn);
  const trial = await stoppable(options, 'diagnosis', (signal) => runTrial(cudnn, stepTimeoutMs, signal));
  const { system } = trial;
  const addon = addonOf(trial);
  const sharpReason = reasonOf(trial, 'sharp');
  const cuda = cudaOf(trial);
  const selfTests = [...trial.selfTests, ...failedTests(trial)];
  const problems = [
    ...(addon.ok ? [] : [addon.reason]),
    ...(sharpReason === '' ? [] : [`sharp, which decodes images, cannot be used: ${sharpReason}`]),
    ...(reasonOf(trial, 'cuda') === '' ? [] : [cuda.reason]),
    ...selfTests
      .filter(({ reason }) => reason !== '')
      .map(({ device, precision, reason }) => `The self-test on ${device} in ${precision} failed: ${reason}`),
  ];
  if (addon.ok && addon.version !== version) {
    problems.push(
      `The native addon ${addon.path} is of version ${addon.version}, the package of ${version}: reinstall it`,
    );
  }
  return {
    problems,
    version,
    runtime: runtime(),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    os: operatingSystem(),
    packages: {
      deeplab: version,
      addon: system?.version ?? '',
      sharp: trial.sharp?.version ?? '',
      libvips: trial.sharp?.libvips ?? '',
      node: process.versions.node,
      napi: process.versions.napi ?? '',
    },
    addon,
    backends: [
      {
        name: 'cpu',
        available: addon.ok,
        reason: addon.ok ? '' : addon.reason,
        precisions: system?.precisions ?? [],
      },
      {
        name: 'cuda',
        available: cuda.reason === '',
        reason: cuda.reason,
        precisions: cuda.gpus.find(({ reason }) => reason === '')?.precisions ?? [],
      },
    ],
    cpu: cpu(),
    onednn: system?.onednn ?? { version: '', isa: '' },
    precisions: system?.precisions ?? [],
    autoPrecision: system?.autoPrecision,
    memory: { ...memory(), ...system?.memory },
    cuda,
    libraries: trial.libraries,
    selfTests,
  };
}

/** Why a step failed; empty if it did not, or was not reached. */
function reasonOf({ failures }: Trial, name: 'load' | 'system' | 'sharp' | 'cuda'): string {
  return failures.find(({ step }) => step.name === name)?.reason ?? '';
}

function addonOf(trial: Trial): AddonFinding {
  const { addonPath = '', system } = trial;
  if (system !== undefined) return { ok: true, path: addonPath, version: system.version };
  const reason = reasonOf(trial, 'load') || reasonOf(trial, 'system');
  return { ok: false, reason: [foreignBinaries(reason), reason].filter((part) => part !== '').join('\n') };
}

/** What the addon says of CUDA, or why it does not. */
function cudaOf(trial: Trial): NativeCuda {
  const nothing = { library: '', driver: '', runtime: '', cudnn: '', cudnnPath: '', gpus: [] };
  const { cuda, system, failures } = trial;
  if (cuda !== undefined) return cuda;
  const reason = system === undefined ? 'the native addon cannot be used' : reasonOf(trial, 'cuda');
  return { ...nothing, reason: reason || `GPUs were not looked for: ${failures.at(-1)?.reason}` };
}

function failedTests({ failures }: Trial): readonly SelfTest[] {
  return failures.flatMap(({ step, reason }) => {
    if (step.name !== 'self-test') return [];
    const { device, precision } = step;
    return [{ device, precision, reason, error: null, loadMs: null, firstMs: null, inferenceMs: null }];
  });
}
