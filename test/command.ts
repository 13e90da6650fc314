// The built command line, dist/cli.js, as a user runs it.

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';

const cli = path.join(__dirname, '../dist/cli.js');

export interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** For beforeAll: tests of an old build, or of none, would tell nothing. */
export function expectBuilt(): void {
  if (!existsSync(cli)) throw new Error('dist/cli.js is missing: npm run build:lib');
}

/** Starts the command in the folder `cwd`, without the model that the environment may name. */
export function start(cwd: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  const { DEEPLAB_MODEL: _, ...inherited } = process.env;
  return spawn(process.execPath, [cli, ...args], { cwd, env: { ...inherited, ...env } });
}

/** Runs the command to its end. */
export async function run(cwd: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Run> {
  const child = start(cwd, args, env);
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, stdout, stderr };
}
