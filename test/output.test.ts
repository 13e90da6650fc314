import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DeepLabError } from '../lib';
import { writeFileAtomically } from '../lib/output';
import { temporaryFolder } from './folder';

const folder = temporaryFolder();

test('a file is written, and the folders on the way to it', async () => {
  const file = path.join(folder, 'new/deeper/a.bin');
  await writeFileAtomically(file, Buffer.from('content'));
  expect(await readFile(file, 'utf8')).toBe('content');
  expect(await readdir(path.dirname(file))).toEqual(['a.bin']);
});

test('a file that exists is replaced', async () => {
  const file = path.join(folder, 'replaced.bin');
  await writeFile(file, 'a longer old content');
  await writeFileAtomically(file, Buffer.from('new'));
  expect(await readFile(file, 'utf8')).toBe('new');
});

test('pieces are written one after the other', async () => {
  const file = path.join(folder, 'pieces.bin');
  await writeFileAtomically(
    file,
    ['one, ', 'two, ', 'three'].map((piece) => Buffer.from(piece)),
  );
  expect(await readFile(file, 'utf8')).toBe('one, two, three');
});

test('where a piece cannot be made, the file stays what it was, and the error is that of the piece', async () => {
  const file = path.join(folder, 'half', 'a.bin');
  await writeFileAtomically(file, Buffer.from('old'));
  const error = new DeepLabError('ERR_INVALID_WEIGHTS', 'no second piece');
  function* pieces() {
    yield Buffer.from('new');
    throw error;
  }
  await expect(writeFileAtomically(file, pieces())).rejects.toBe(error);
  expect(await readdir(path.dirname(file))).toEqual(['a.bin']);
  expect(await readFile(file, 'utf8')).toBe('old');
});

test('where the rename fails, nothing is left behind', async () => {
  const place = path.join(folder, 'occupied');
  await mkdir(path.join(place, 'target/inside'), { recursive: true });
  await expect(writeFileAtomically(path.join(place, 'target'), Buffer.from('x'))).rejects.toMatchObject({
    code: 'ERR_WRITE',
    message: expect.stringContaining('target cannot be written'),
  });
  expect(await readdir(place)).toEqual(['target']);
});

test('where the folder cannot be made, ERR_WRITE has the reason as its cause', async () => {
  await writeFile(path.join(folder, 'file'), '');
  await expect(writeFileAtomically(path.join(folder, 'file/below'), Buffer.from('x'))).rejects.toMatchObject({
    code: 'ERR_WRITE',
    cause: expect.objectContaining({ code: 'EEXIST' }),
  });
});

test('two writers of one file leave the whole of one of them', async () => {
  const file = path.join(folder, 'contested.bin');
  const contents = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(1_000_000));
  await Promise.all(contents.map((content) => writeFileAtomically(file, Buffer.from(content))));
  expect(contents).toContain(await readFile(file, 'utf8'));
});
