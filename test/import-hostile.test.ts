// Files that ask for more than they are worth are refused with a sentence, in a process whose memory stays small.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expectBuilt } from './command';
import { temporaryFolder } from './folder';
import { type Hostile, hostileFiles } from './import/hostile';

/** Bytes: Node.js with all readers takes 115 MB of them; a bomb that went off would take 256 MB. */
const mostMemory = 250e6;

/** What the child prints: code and message by file, and its largest memory in bytes. */
interface Answers {
  readonly errors: Readonly<Record<string, { readonly code: string; readonly message: string } | null>>;
  readonly memory: number;
}

// Opens each file that it is given, and reads every tensor.
const script = `
const { openArchive } = require(process.argv[1]);
async function errorOf(file) {
  try {
    const archive = await openArchive(file);
    try {
      for (const tensor of archive.tensors.values()) await tensor.read();
      return null;
    } finally {
      await archive.close();
    }
  } catch ({ code, message }) {
    return { code, message };
  }
}
(async () => {
  const errors = {};
  for (const file of process.argv.slice(2)) errors[file] = await errorOf(file);
  // Not maxRSS of resourceUsage(), which begins with that of the process that started this one.
  const status = require('node:fs').readFileSync('/proc/self/status', 'utf8');
  const [, kilobytes] = /^VmHWM:\\s*(\\d+) kB$/m.exec(status);
  console.log(JSON.stringify({ errors, memory: kilobytes * 1024 }));
})();
`;

const folder = path.join(temporaryFolder(), 'files');
let files: readonly Hostile[];
let answers: Answers;

beforeAll(() => {
  expectBuilt();
  mkdirSync(folder);
  files = hostileFiles();
  for (const { name, bytes } of files) writeFileSync(path.join(folder, name), bytes);
  const opener = path.join(__dirname, '../dist/import/open.js');
  const names = files.map(({ name }) => name);
  answers = JSON.parse(
    execFileSync(process.execPath, ['-e', script, opener, ...names], { cwd: folder, encoding: 'utf8' }),
  );
});

test('every one of them is refused, with what is wrong', () => {
  const told = Object.entries(answers.errors).map(([name, error]) => [name, error?.code, error?.message]);
  const expected = files.map(({ name, message }) => [
    name,
    expect.stringMatching(/^ERR_(INVALID_WEIGHTS|UNSUPPORTED_MODEL)$/),
    expect.stringMatching(message),
  ]);
  expect(told).toEqual(expected);
});

test('opening them all takes little memory', () => {
  process.stdout.write(`hostile files: ${Math.round(answers.memory / 1e6)} MB\n`);
  expect(answers.memory).toBeLessThan(mostMemory);
});

test('they are small themselves, and left nothing beside them', () => {
  expect(Math.max(...files.map(({ bytes }) => bytes.length))).toBeLessThan(2 ** 21 + 100);
  expect(readdirSync(folder).sort()).toEqual(files.map(({ name }) => name).sort());
});
