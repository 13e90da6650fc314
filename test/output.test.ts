import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
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
