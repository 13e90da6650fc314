import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DeepLabError, errorCatalogue } from '../lib';
import { invalidArgument } from '../lib/errors';
import { fromNative } from '../lib/native';

const page = path.join(__dirname, '../docs/errors.md');

/** The page of docs/ that shows the catalogue. */
function errorsPage(): string {
  const sections = Object.entries(errorCatalogue).map(([code, meaning]) => `## ${code}\n\n${meaning}\n`);
  return [
    '# Errors\n',
    'Everything that this library throws or rejects with is a `DeepLabError`: its `code` is one of these and stays the',
    'same across versions, its `message` is for people and may change. The command line prints both.\n',
    'This page is generated from `lib/errors.ts`: `UPDATE_DOCS=1 npx jest errors`.\n',
    sections.join('\n'),
  ].join('\n');
}

test('docs/errors.md shows the catalogue', () => {
  if (process.env.UPDATE_DOCS) writeFileSync(page, errorsPage());
  expect(readFileSync(page, 'utf8')).toBe(errorsPage());
});

test('an error has a code, a message, a cause and a stack that starts where it was made', () => {
  const cause = new Error('why');
  const error = new DeepLabError('ERR_CLOSED', 'closed', { cause });
  expect(error).toBeInstanceOf(Error);
  expect(error).toMatchObject({ name: 'DeepLabError', code: 'ERR_CLOSED', message: 'closed', cause });
  expect(error.stack).toMatch(/^DeepLabError: closed\n\s+at .*errors\.test\.ts/);
});

test.each([
  ['fail', '"fail" of type string'],
  [-1, '-1 of type number'],
  [Number.NaN, 'NaN of type number'],
  [null, 'null of type object'],
  [undefined, 'undefined of type undefined'],
  [10n, '10 of type bigint'],
  [new Date(0), 'Date of type object'],
  [[1, 2], 'Array of type object'],
  [Object.create(null), 'object of type object'],
  [() => {}, 'Function of type function'],
])('an invalid argument says what was expected and what came: %p', (received, shown) => {
  expect(invalidArgument('width', 'positive integer', received)).toMatchObject({
    code: 'ERR_INVALID_ARGUMENT',
    message: `Expected positive integer for width but received ${shown}`,
  });
});

test('a native failure keeps its code and message', () => {
  const native = Object.assign(new Error('the file is cut off'), { code: 'ERR_INVALID_WEIGHTS' });
  expect(fromNative(native)).toMatchObject({
    name: 'DeepLabError',
    code: 'ERR_INVALID_WEIGHTS',
    message: native.message,
  });
});

test('a failure with a code that is not in the catalogue is a fault of this library', () => {
  const foreign = Object.assign(new Error('no'), { code: 'toString' });
  expect(fromNative(foreign)).toMatchObject({ code: 'ERR_INTERNAL', message: 'no' });
  expect(fromNative('text')).toMatchObject({ code: 'ERR_INTERNAL', message: 'text' });
  expect(fromNative(undefined)).toMatchObject({ code: 'ERR_INTERNAL', message: 'undefined' });
});

test('a DeepLabError passes as it is', () => {
  const error = new DeepLabError('ERR_ABORTED', 'aborted');
  expect(fromNative(error)).toBe(error);
});
