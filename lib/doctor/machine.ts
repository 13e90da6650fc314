// What Node and the system say of a machine, without the native addon: a doctor has to speak where that cannot be loaded.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';

/** Features of x86-64 and arm64 that decide which code runs, and how fast, under the kernel's names. */
const cpuFeatures: readonly string[] = [
  ...['sse4_1', 'avx', 'avx2', 'fma', 'avx512f', 'avx512bw', 'avx512_vnni', 'avx512_bf16', 'avx512_fp16'],
  ...['amx_tile', 'amx_bf16', 'amx_int8', 'asimd', 'asimddp', 'sve', 'bf16', 'i8mm'],
];

/** The operating system. */
export interface OperatingSystem {
  /** Distribution and version, such as `Debian GNU/Linux 12 (bookworm)`; empty where /etc/os-release does not say. */
  readonly name: string;
  /** Kernel and version, such as `Linux 6.1.0`. */
  readonly kernel: string;
  /** C library and version, such as `glibc 2.36` or `musl 1.2.5`; empty if it is unknown. */
  readonly libc: string;
}

/** The CPU. */
export interface Cpu {
  /** Empty if it is unknown. */
  readonly name: string;
  /** Number of threads that the process may run in parallel. */
  readonly cores: number;
  /** Those of its instruction sets that decide which code runs, under the kernel's names, such as `avx2`. */
  readonly features: readonly string[];
}

/** Main memory. */
export interface Memory {
  /** Within the limit, if there is one. */
  readonly totalBytes: number;
  /** Without swapping, and within the limit. */
  readonly availableBytes: number;
  /** The limit of the control group (a container's); null if there is none. */
  readonly limitBytes: number | null;
}

/** The text of a file of the system; empty if it cannot be read. */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** As os-release(5) says it. */
function distribution(): string {
  const text = read('/etc/os-release') || read('/usr/lib/os-release');
  const value = /^PRETTY_NAME=(.*)$/m.exec(text)?.[1] ?? '';
  return value.replace(/^(["'])(.*)\1$/, '$2').replaceAll(/\\(.)/g, '$1');
}

/** Node knows glibc's version; musl's loader, which is in every process, prints its own. */
function cLibrary(): string {
  const report = process.report as { excludeNetwork?: boolean; getReport?: () => object } | undefined;
  // Else the names of the hosts of open sockets are looked up, which can take seconds (Node 22.0, 20.13).
  const { excludeNetwork } = report ?? {};
  if (report !== undefined) report.excludeNetwork = true;
  const { header } = (report?.getReport?.() ?? {}) as { header?: { glibcVersionRuntime?: string } };
  if (report !== undefined && excludeNetwork !== undefined) report.excludeNetwork = excludeNetwork;
  // Deno's report names the C library that Deno was built for.
  const honest = process.versions.deno === undefined;
  if (honest && header?.glibcVersionRuntime !== undefined) return `glibc ${header.glibcVersionRuntime}`;
  const { stdout } = spawnSync('getconf', ['GNU_LIBC_VERSION'], { encoding: 'utf8', timeout: 5000 });
  if (/^glibc \d/.test(stdout ?? '')) return stdout.trim();
  const loader = /\/\S*\/ld-musl-[^/\s]*\.so\.1$/m.exec(read('/proc/self/maps'))?.[0];
  if (loader === undefined) return '';
  const { stderr } = spawnSync(loader, [], { encoding: 'utf8', timeout: 5000 });
  return `musl ${/^Version (\S+)$/m.exec(stderr ?? '')?.[1] ?? ''}`.trim();
}

/** What runs JavaScript, and its version, such as `Node 20.20.2`, `Electron 40.0.0`, `Bun 1.2.0` or `Deno 2.5.0`. */
export function runtime(): string {
  const { bun, deno, electron, node } = process.versions;
  if (bun !== undefined) return `Bun ${bun}`;
  if (deno !== undefined) return `Deno ${deno}`;
  return electron === undefined ? `Node ${node}` : `Electron ${electron}`;
}

export function operatingSystem(): OperatingSystem {
  return { name: distribution(), kernel: `${os.type()} ${os.release()}`, libc: cLibrary() };
}

export function cpu(): Cpu {
  const [first = ''] = read('/proc/cpuinfo').split('\n\n');
  const flags = new Set(/^(?:flags|Features)\s*:(.*)$/m.exec(first)?.[1]?.trim().split(/\s+/));
  return {
    name: os.cpus()[0]?.model.trim() ?? '',
    cores: os.availableParallelism(),
    features: cpuFeatures.filter((feature) => flags.has(feature)),
  };
}

/** Without a limit Node says 0, or a number beyond all memory. */
export function memory(): Memory {
  const installed = os.totalmem();
  const constrained = process.constrainedMemory?.() ?? 0;
  const limitBytes = constrained > 0 && constrained < installed ? constrained : null;
  const totalBytes = limitBytes ?? installed;
  // Node 20.13; @types/node has it from 22.
  const { availableMemory } = process as { availableMemory?: () => number };
  return { totalBytes, availableBytes: Math.min(availableMemory?.() ?? os.freemem(), totalBytes), limitBytes };
}
