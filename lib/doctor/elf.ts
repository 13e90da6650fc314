// What a binary is for, by its first bytes. The C library says of one for another processor that there is no such file,
// which is the last thing that somebody who copied node_modules between machines wants to read.

import { closeSync, openSync, readSync } from 'node:fs';

/** e_machine, of those that people have (System V ABI, object files; the values are the processors' supplements'). */
const machines: Readonly<Record<number, string>> = { 3: 'ia32', 40: 'arm', 62: 'x64', 183: 'arm64', 243: 'riscv64' };

/** The first bytes of a file; none if it cannot be read. */
function firstBytes(file: string): Buffer {
  const bytes = Buffer.alloc(20);
  let handle: number | undefined;
  try {
    handle = openSync(file, 'r');
    return bytes.subarray(0, readSync(handle, bytes));
  } catch {
    return bytes.subarray(0, 0);
  } finally {
    if (handle !== undefined) closeSync(handle);
  }
}

/**
 * A sentence on each `.node` file that a message names and that is for another processor or system than this; empty if
 * there is none.
 */
export function foreignBinaries(message: string): string {
  const files = new Set(message.match(/\/[^\n:]*\.node\b/g));
  return [...files].flatMap((file) => describe(file) ?? []).join('\n');
}

function describe(file: string): string | undefined {
  const bytes = firstBytes(file);
  if (bytes.length < 20) return undefined;
  if (bytes.toString('latin1', 0, 4) !== '\x7fELF') return `${file} is no binary of Linux`;
  const machine = bytes.readUInt16LE(18);
  const arch = machines[machine] ?? `the processor ${machine}`;
  return arch === process.arch ? undefined : `${file} is for ${arch}, and this is ${process.arch}`;
}
