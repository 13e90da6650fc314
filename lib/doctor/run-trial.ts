// Runs the doctor's child process (trial.ts) and collects what it says. A binary that crashes, or never returns, takes the
// child with it and nobody else: what is left is a sentence.

import { fork } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { NativeCuda, NativeSystem } from '../native';
import { writeSelfTest } from '../self-test';
import {
  type Library,
  messageMark,
  type SelfTest,
  type TrialInput,
  type TrialMessage,
  type TrialStep,
} from './messages';

/** What the child found; what it did not come to is undefined. */
export interface Trial {
  readonly addonPath?: string;
  readonly system?: NativeSystem;
  readonly cuda?: NativeCuda;
  readonly sharp?: { readonly version: string; readonly libvips: string };
  readonly selfTests: readonly SelfTest[];
  readonly libraries: readonly Library[];
  /** Steps that failed, the last of them perhaps by the death of the child. */
  readonly failures: readonly { readonly step: TrialStep; readonly reason: string }[];
}

/** How a child ended. */
interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly hung: boolean;
  /** The end of what it wrote to standard error. */
  readonly stderr: string;
}

const script = path.join(__dirname, '..', '..', 'dist', 'doctor', 'trial.js');

/** What usually is behind a signal. */
const signals: Readonly<Record<string, string>> = {
  SIGILL: 'an instruction that this CPU does not have: the binary was built for another',
  SIGSEGV: 'it used memory that it does not have: the binary, or a library that it uses, is broken',
  SIGBUS: 'a part of a file in memory is missing: the binary, or a library that it uses, is truncated',
  SIGFPE: 'a division that is not possible',
  SIGABRT: 'it gave up',
  SIGKILL: 'somebody ended it: the system does where memory runs out',
  SIGSYS: 'a system call that a sandbox forbids',
};

/** Each step as the beginning of a sentence. */
function describe(step: TrialStep): string {
  switch (step.name) {
    case 'load':
      return 'loading the native addon';
    case 'system':
      return 'asking the native addon about the CPU';
    case 'sharp':
      return 'loading sharp';
    case 'cuda':
      return 'looking for GPUs';
    case 'self-test':
      return `the self-test on ${step.device} in ${step.precision}`;
  }
}

/** Such as "loading the native addon killed the process by SIGABRT: it gave up. Its last words: ...". */
function obituary(step: TrialStep, { code, signal, hung, stderr }: Ending, limitMs: number): string {
  const words = stderr.trim() === '' ? '' : `. Its last words: ${stderr.trim()}`;
  if (hung) return `${describe(step)} hung: nothing came for ${limitMs / 1000} s${words}`;
  if (signal === null) return `${describe(step)} ended the process with exit code ${code}${words}`;
  return `${describe(step)} killed the process by ${signal}: ${signals[signal] ?? 'a signal'}${words}`;
}

/** The last lines of a text that grows, without holding the rest. */
function lastLines(text: string): string {
  return text.slice(-4096).split('\n').slice(-8).join('\n');
}

/** Starts the child and hands on its messages; each of them starts the time anew. */
function converse(
  input: TrialInput,
  limitMs: number,
  signal: AbortSignal,
  receive: (message: TrialMessage) => void,
): Promise<Ending> {
  // Electron's fork makes a Node of its binary, or throws where the app forbids that; its spawn would start the app anew.
  const child = fork(script, [JSON.stringify(input)], {
    env: process.env,
    execArgv: [],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  return new Promise((resolve, reject) => {
    let [rest, stderr, hung] = ['', '', false];
    const kill = () => {
      hung = true;
      child.kill('SIGKILL');
    };
    let timer = setTimeout(kill, limitMs);
    signal.addEventListener('abort', kill, { once: true });
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines.filter((each) => each.startsWith(messageMark))) {
        clearTimeout(timer);
        timer = setTimeout(kill, limitMs);
        receive(JSON.parse(line.slice(messageMark.length)) as TrialMessage);
      }
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr = lastLines(stderr + text);
    });
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.on('exit', () => {
      clearTimeout(timer);
      // A process that the child left behind could hold its pipes open for ever.
      timer = setTimeout(() => {
        child.stdout?.destroy();
        child.stderr?.destroy();
      }, 1000);
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, hung, stderr });
    });
  });
}

/**
 * Tries the native addon, sharp and each device in a process of its own.
 *
 * @param cudnn - As NativeLoadOptions has it.
 * @param limitMs - How long a step may take.
 * @param signal - Ends it: it then rejects.
 */
export async function runTrial(cudnn: string, limitMs: number, signal: AbortSignal): Promise<Trial> {
  let step: TrialStep = { name: 'load' };
  let ended = false;
  let trial: Trial = { selfTests: [], libraries: [], failures: [] };
  const fail = (reason: string) => {
    trial = { ...trial, failures: [...trial.failures, { step, reason }] };
  };
  const receive = (message: TrialMessage) => {
    switch (message.kind) {
      case 'step':
        step = message.step;
        break;
      case 'failed':
        fail(message.reason);
        break;
      case 'addon':
        trial = { ...trial, addonPath: message.path };
        break;
      case 'system':
        trial = { ...trial, system: message.system };
        break;
      case 'cuda':
        trial = { ...trial, cuda: message.cuda };
        break;
      case 'sharp':
        trial = { ...trial, sharp: message };
        break;
      case 'self-test':
        trial = { ...trial, selfTests: [...trial.selfTests, message.result] };
        break;
      case 'libraries':
        trial = { ...trial, libraries: message.libraries };
        break;
      case 'end':
        ended = true;
    }
  };
  if (!existsSync(script)) {
    fail(`${script}, which tries it, is missing: the package must not be bundled, nor packed without it`);
    return trial;
  }
  const test = prepareSelfTest();
  try {
    const ending = await converse({ cudnn, weights: test.weights }, limitMs, signal, receive);
    signal.throwIfAborted();
    if (!ended || ending.hung) fail(obituary(step, ending, limitMs));
    if (test.reason !== '') {
      step = { name: 'self-test', device: 'cpu', precision: 'f32' };
      fail(test.reason);
    }
  } catch (error) {
    signal.throwIfAborted();
    fail(`${process.execPath} could not be started to try it: ${messageOf(error)}`);
  } finally {
    if (test.folder !== '') rmSync(test.folder, { recursive: true, force: true });
  }
  return trial;
}

/** Writes the weights into a folder of their own; where that fails, weights are empty, and there is a reason. */
function prepareSelfTest(): { readonly folder: string; readonly weights: string; readonly reason: string } {
  let folder = '';
  try {
    folder = mkdtempSync(path.join(os.tmpdir(), 'deeplab-doctor-'));
    const weights = path.join(folder, 'self-test.safetensors');
    writeSelfTest(weights);
    return { folder, weights, reason: '' };
  } catch (error) {
    return { folder, weights: '', reason: `its weights could not be written to ${os.tmpdir()}: ${messageOf(error)}` };
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
