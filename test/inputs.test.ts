import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { findInputs } from '../lib/cli/inputs';
import { temporaryFolder } from './folder';

/** A new folder with these files, all empty. */
function folderOf(...files: readonly string[]): string {
  const folder = path.join(root, String(made++));
  for (const file of files) {
    mkdirSync(path.join(folder, path.dirname(file)), { recursive: true });
    writeFileSync(path.join(folder, file), '');
  }
  return folder;
}
const root = temporaryFolder();
let made = 0;

const namesOf = async (...args: readonly string[]) =>
  (await findInputs(args)).map((input) => (input.kind === 'image' ? input.name : input.error.code));

test('a file is called what it is called, whatever its folder and extension', async () => {
  const folder = folderOf('a/photo.jpg', 'a/photograph');
  expect(await findInputs([path.join(folder, 'a/photo.jpg')])).toEqual([
    { kind: 'image', path: path.join(folder, 'a/photo.jpg'), name: 'photo' },
  ]);
  expect(await namesOf(path.join(folder, 'a/photograph'))).toEqual(['photograph']);
});

test('a folder means the images inside, recursively, with their paths below it', async () => {
  const folder = folderOf('b.png', 'a.JPG', 'deep/er/c.webp', 'notes.txt', '.hidden.png', 'd.gif.txt');
  expect(await findInputs([folder])).toEqual([
    { kind: 'image', path: path.join(folder, 'a.JPG'), name: 'a' },
    { kind: 'image', path: path.join(folder, 'b.png'), name: 'b' },
    { kind: 'image', path: path.join(folder, 'deep/er/c.webp'), name: 'deep/er/c' },
  ]);
});

test('a folder whose name looks like a glob is a folder', async () => {
  const folder = folderOf('photos [2024]/a.jpg', 'photos 2/b.jpg');
  expect(await namesOf(path.join(folder, 'photos [2024]'))).toEqual(['a']);
});

test('a glob means what it matches, with the paths below its fixed part', async () => {
  const folder = folderOf('x/one/a.jpg', 'x/two/a.jpg', 'x/two/b.png', 'x/c.jpg');
  expect(await namesOf(path.join(folder, 'x/*/*.jpg'))).toEqual(['one/a', 'two/a']);
  expect(await namesOf(path.join(folder, 'x/**/*.{jpg,png}'))).toEqual(['c', 'one/a', 'two/a', 'two/b']);
  expect(await namesOf(path.join(folder, '{x/one,x/two}/a.jpg'))).toEqual(['x/one/a', 'x/two/a']);
});

test('a relative path and a relative glob count from the working folder', async () => {
  const before = process.cwd();
  process.chdir(folderOf('x/a.jpg', 'y/b.jpg'));
  try {
    expect(await findInputs(['x', '*/b.jpg'])).toEqual([
      { kind: 'image', path: 'x/a.jpg', name: 'a' },
      { kind: 'image', path: 'y/b.jpg', name: 'y/b' },
    ]);
    process.chdir('x');
    expect(await findInputs(['../y/*.jpg'])).toEqual([{ kind: 'image', path: '../y/b.jpg', name: 'b' }]);
  } finally {
    process.chdir(before);
  }
});

test('an image that is meant twice comes once', async () => {
  const folder = folderOf('a.jpg');
  expect(await namesOf(path.join(folder, 'a.jpg'), folder, `${folder}/../${path.basename(folder)}/*.jpg`)).toEqual([
    'a',
  ]);
});

test('results of earlier runs are not photos', async () => {
  const folder = folderOf('a.jpg', 'a.labels.png', 'out/a.overlay.png', 'labels.png');
  expect(await namesOf(folder)).toEqual(['a', 'labels']);
  expect(await namesOf(path.join(folder, '**/*'))).toEqual(['a', 'labels']);
  expect(await namesOf(path.join(folder, 'a.labels.png'))).toEqual(['a.labels']);
});

test('images that differ only in the extension keep it', async () => {
  expect(await namesOf(folderOf('a.jpg', 'a.png', 'b.jpg'))).toEqual(['a.jpg', 'a.png', 'b']);
});

test('images that would overwrite each other are refused, both named', async () => {
  const folder = folderOf('x/a.jpg', 'y/a.jpg');
  const files = [path.join(folder, 'x/a.jpg'), path.join(folder, 'y/a.jpg')];
  await expect(findInputs(files)).rejects.toMatchObject({
    code: 'ERR_INVALID_ARGUMENT',
    message: expect.stringContaining(`The results of ${files[0]} and ${files[1]} would both be called a.jpg`),
  });
  expect(await namesOf(folder)).toEqual(['x/a', 'y/a']);
});

test('an image whose kept extension makes it the name of another is refused too', async () => {
  await expect(findInputs([folderOf('a.jpg', 'a.png', 'a.jpg.gif')])).rejects.toMatchObject({
    code: 'ERR_INVALID_ARGUMENT',
  });
});

test('arguments that mean nothing are reported beside the others', async () => {
  const folder = folderOf('a.jpg', 'empty/notes.txt');
  const inputs = await findInputs([`${folder}/none.jpg`, folder, `${folder}/empty`, `${folder}/*.gif`]);
  expect(inputs).toEqual([
    { kind: 'image', path: `${folder}/a.jpg`, name: 'a' },
    ...[
      [`${folder}/none.jpg`, /no file or folder/],
      [`${folder}/empty`, /no image in the folder/],
      [`${folder}/*.gif`, /No file matches/],
    ].map(([path, message]) => ({
      kind: 'missing',
      path,
      error: expect.objectContaining({ code: 'ERR_NOT_FOUND', message: expect.stringMatching(message as RegExp) }),
    })),
  ]);
});

test('a folder that contains itself ends', async () => {
  const folder = folderOf('a.jpg');
  symlinkSync(folder, path.join(folder, 'loop'));
  expect(await namesOf(folder)).toContain('a');
});
