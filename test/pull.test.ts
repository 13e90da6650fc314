// Published models come from a server on this machine, whole and in pieces; DeepLab finds them by their names.

import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import zlib from 'node:zlib';
import * as tar from 'tar';
import { DeepLab, pullWeights } from '../lib';
import { type Download, withDownload } from '../lib/download';
import { readManifest } from '../lib/manifest';
import { defaultModel, defaultWeights } from '../lib/weights';
import * as command from './command';
import { temporaryFolder } from './folder';
import { tarHeader } from './import/hostile';
import { breakOff, first, serveFile, startProxy, startServer, startTunnel, type TestServer } from './model-server';
import { randomImage } from './models';
import { writeSmallModel } from './small-model';

const root = temporaryFolder();
const original = path.join(root, 'original.safetensors');
const before = { ...process.env };
let model: Buffer;
let server: TestServer;
let files = 0;
let cache: string;

beforeAll(() => {
  writeSmallModel(original);
  model = readFileSync(original);
});
beforeEach(() => {
  cache = path.join(root, `cache-${files++}`);
  process.env.DEEPLAB_CACHE = cache;
  for (const name of ['http_proxy', 'https_proxy', 'all_proxy', 'no_proxy']) {
    delete process.env[name];
    delete process.env[name.toUpperCase()];
  }
});
afterEach(async () => {
  await server?.close();
  process.env = { ...before };
});

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
const downloads = () => (existsSync(path.join(cache, 'downloads')) ? readdirSync(path.join(cache, 'downloads')) : []);
const half = () => `bytes=${model.length >> 1}-`;

/** Makes `small` a published model at the address. */
function publish(url: string, facts: Readonly<Record<string, unknown>> = {}): void {
  const small = {
    title: 'small',
    network: null,
    url,
    size: model.length,
    sha256: sha256(model),
    sha256Prefix: null,
    unpack: null,
    layout: 'deeplab',
    classes: 3,
    dataset: 'none',
    accuracy: null,
    licence: null,
    source: 'here',
    tried: true,
    ...facts,
  };
  process.env.DEEPLAB_MANIFEST = path.join(root, `manifest-${files++}.json`);
  writeFileSync(process.env.DEEPLAB_MANIFEST, JSON.stringify({ models: { small } }));
}

/** Downloads the model from a path of the server without waiting between attempts. */
function download(url: string, facts: Partial<Download> = {}): Promise<Buffer> {
  const address = `http://127.0.0.1:${server.port}${url}`;
  const folder = path.join(cache, 'downloads');
  const rule = { url: address, folder, name: 'small', size: model.length, sha256: sha256(model), patience: 0 };
  return withDownload({ ...rule, ...facts }, async (file) => readFileSync(file));
}

test('a pulled model is loaded by its name, and nothing else is left', async () => {
  server = await startServer({ '/m.safetensors': serveFile(model) });
  publish(`http://127.0.0.1:${server.port}/m.safetensors`);
  const progress: number[] = [];
  const { file, imported } = await pullWeights('small', { onProgress: ({ received }) => progress.push(received) });
  expect(file).toBe(path.join(cache, 'models', 'small.safetensors'));
  expect(imported).toMatchObject({ layout: 'deeplab', classes: ['sky', 'road', 'tree'] });
  expect(progress.at(-1)).toBe(model.length);
  expect(downloads()).toEqual([]);

  await using loaded = await DeepLab.load('small', { device: 'cpu', precision: 'f32' });
  expect(loaded.metadata.imported_from).toBe('m.safetensors (safetensors, deeplab)');
  await using same = await DeepLab.load(original, { device: 'cpu', precision: 'f32' });
  const image = randomImage(33, 33, 1);
  expect((await loaded.segment(image)).labels).toEqual((await same.segment(image)).labels);
});

test('a model that is there already is not asked for again', async () => {
  server = await startServer({ '/m': serveFile(model) });
  publish(`http://127.0.0.1:${server.port}/m`);
  await pullWeights('small');
  const again = await pullWeights('small');
  expect(again.imported).toBeUndefined();
  expect(server.seen).toHaveLength(1);
});

test('loading a published model that is not there says how to get it', async () => {
  publish('http://127.0.0.1:1/m');
  await expect(DeepLab.load('small')).rejects.toMatchObject({
    code: 'ERR_NOT_FOUND',
    message: expect.stringContaining('deeplab weights pull small'),
  });
});

describe('a connection that breaks in the middle', () => {
  test('is made anew for the rest', async () => {
    server = await startServer({ '/m': first(breakOff(model), serveFile(model)) });
    expect((await download('/m')).equals(model)).toBe(true);
    expect(server.seen.map(({ range }) => range)).toEqual([undefined, half()]);
    expect(server.seen[1]?.ifRange).toBe('"1"');
  });

  test('starts again with a server that knows no ranges', async () => {
    const whole: typeof breakOff = (bytes) => (_, response) => response.writeHead(200).end(bytes);
    server = await startServer({ '/m': first(breakOff(model), whole(model)) });
    expect((await download('/m')).equals(model)).toBe(true);
  });

  test('starts again if the file is another one by now', async () => {
    const older = Buffer.alloc(model.length, 7);
    server = await startServer({ '/m': first(breakOff(older, { etag: '"0"' }), serveFile(model)) });
    expect((await download('/m')).equals(model)).toBe(true);
  });

  test('starts again if what was there turns out to be wrong, where the server names no versions', async () => {
    const older = Buffer.alloc(model.length, 7);
    server = await startServer({ '/m': first(breakOff(older, {}), serveFile(model)) });
    expect((await download('/m')).equals(model)).toBe(true);
    expect(server.seen.map(({ range }) => range)).toEqual([undefined, half(), undefined]);
  });

  test('of which neither version nor checksum is known starts again', async () => {
    server = await startServer({ '/m': first(breakOff(model, {}), serveFile(model)) });
    expect((await download('/m', { sha256: undefined })).equals(model)).toBe(true);
    expect(server.seen.map(({ range }) => range)).toEqual([undefined, undefined]);
  });

  test('again and again without a byte is given up, and what came before is kept', async () => {
    server = await startServer({ '/m': first(breakOff(model), (_, response) => response.destroy()) });
    await expect(download('/m')).rejects.toMatchObject({ code: 'ERR_DOWNLOAD' });
    expect(server.seen).toHaveLength(5);
    expect(downloads()).toEqual(['small.part']);
    await server.close();
    server = await startServer({ '/m': serveFile(model) });
    // The port is another one, and with it the address.
    expect((await download('/m')).equals(model)).toBe(true);
  });
});

test('a server in trouble is asked again', async () => {
  const busy = (count: number) => count < 2;
  server = await startServer({
    '/m': (request, response, count) =>
      busy(count) ? response.writeHead(503).end() : serveFile(model)(request, response, count),
  });
  expect((await download('/m')).equals(model)).toBe(true);
  expect(server.seen).toHaveLength(3);
});

test.each([
  [
    'another file of the same size',
    () => Buffer.alloc(model.length, 1),
    /SHA-256 [0-9a-f]{64}: [0-9a-f]{64} was published/,
  ],
  ['a smaller file', () => model.subarray(0, 1000), /has 1000 bytes: \d+ were published/],
  ['a larger file', () => Buffer.concat([model, model]), /larger than \d+ bytes/],
])('%s is refused and not kept', async (_, bytes, message) => {
  server = await startServer({ '/m': serveFile(bytes()) });
  publish(`http://127.0.0.1:${server.port}/m`);
  await expect(pullWeights('small')).rejects.toMatchObject({
    code: 'ERR_CHECKSUM',
    message: expect.stringMatching(message),
  });
  expect(downloads()).toEqual([]);
  expect(existsSync(path.join(cache, 'models', 'small.safetensors'))).toBe(false);
});

test('the beginning of a checksum is a checksum', async () => {
  server = await startServer({ '/m': serveFile(model) });
  const url = `http://127.0.0.1:${server.port}/m`;
  publish(url, { sha256: null, sha256Prefix: '00000000' });
  await expect(pullWeights('small')).rejects.toMatchObject({ code: 'ERR_CHECKSUM' });
  publish(url, { sha256: null, sha256Prefix: sha256(model).slice(0, 8) });
  expect((await pullWeights('small')).imported).toBeDefined();
});

test('without any checksum a model is taken only if that is asked for', async () => {
  server = await startServer({ '/m': serveFile(model) });
  publish(`http://127.0.0.1:${server.port}/m`, { size: null, sha256: null });
  await expect(pullWeights('small')).rejects.toMatchObject({
    code: 'ERR_INVALID_ARGUMENT',
    message: expect.stringContaining('--unverified'),
  });
  expect(server.seen).toEqual([]);
  expect((await pullWeights('small', { unverified: true })).imported).toBeDefined();
});

test('a file that is missing is not asked for twice', async () => {
  server = await startServer({});
  await expect(download('/m')).rejects.toMatchObject({
    code: 'ERR_DOWNLOAD',
    message: expect.stringMatching(/it answers 404 Not Found/),
  });
  expect(server.seen).toHaveLength(1);
});

test('redirects are followed, but not for ever', async () => {
  server = await startServer({
    '/m': (_, response) => response.writeHead(302, { location: '/there' }).end(),
    '/there': serveFile(model),
    '/loop': (_, response) => response.writeHead(302, { location: '/loop' }).end(),
    '/file': (_, response) => response.writeHead(302, { location: 'file:///etc/passwd' }).end(),
  });
  expect((await download('/m')).equals(model)).toBe(true);
  await expect(download('/loop')).rejects.toMatchObject({ message: expect.stringMatching(/more than 10 times/) });
  await expect(download('/file')).rejects.toMatchObject({ message: expect.stringMatching(/redirects to file:/) });
});

describe('a proxy of the environment', () => {
  let proxy: TestServer;
  afterEach(() => proxy.close());

  test('is asked, for hosts that only it knows', async () => {
    server = await startServer({ '/m': serveFile(model) });
    proxy = await startProxy(server.port);
    process.env.HTTP_PROXY = `http://127.0.0.1:${proxy.port}`;
    publish('http://models.invalid/m');
    expect((await pullWeights('small')).imported).toBeDefined();
    expect(proxy.seen.map(({ url }) => url)).toEqual(['http://models.invalid/m']);
  });

  test('is left out for the hosts of NO_PROXY', async () => {
    server = await startServer({ '/m': serveFile(model) });
    proxy = await startProxy(server.port);
    process.env.HTTP_PROXY = `http://127.0.0.1:${proxy.port}`;
    process.env.NO_PROXY = '127.0.0.1';
    expect((await download('/m')).equals(model)).toBe(true);
    expect(proxy.seen).toEqual([]);
  });
});

const openssl = spawnSync('openssl', ['version']).status === 0;
if (!openssl) process.stderr.write('Skipped: tests of https, for which openssl would make a certificate\n');

(openssl ? describe : describe.skip)('a tunnel of a proxy to a server of https', () => {
  const [keyFile, certFile] = [path.join(root, 'key.pem'), path.join(root, 'cert.pem')];
  let tunnel: TestServer;

  beforeAll(() => {
    const made = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
    const named = ['-subj', '/CN=models.invalid', '-addext', 'subjectAltName=DNS:models.invalid'];
    execFileSync('openssl', ['req', ...made, ...named, '-keyout', keyFile, '-out', certFile], { stdio: 'ignore' });
  });
  beforeEach(async () => {
    const tls = { key: readFileSync(keyFile, 'utf8'), cert: readFileSync(certFile, 'utf8') };
    server = await startServer({ '/m': first(breakOff(model), serveFile(model)) }, tls);
    tunnel = await startTunnel(server.port, 'user:word');
    process.env.HTTPS_PROXY = `http://user:word@127.0.0.1:${tunnel.port}`;
  });
  afterEach(() => tunnel.close());

  test('is used, with the name and the password of the address, again after it broke', async () => {
    publish('https://models.invalid/m');
    // Node.js reads the certificates that it trusts when it starts.
    const pulled = await command.run(root, ['weights', 'pull', 'small'], { NODE_EXTRA_CA_CERTS: certFile });
    expect(pulled).toMatchObject({ code: 0, stderr: '' });
    expect(existsSync(path.join(cache, 'models', 'small.safetensors'))).toBe(true);
    expect(tunnel.seen.map(({ url }) => url)).toEqual(Array(2).fill('CONNECT models.invalid:443'));
    expect(server.seen.map(({ range }) => range)).toEqual([undefined, half()]);
  });

  test('does not make a certificate trusted', async () => {
    await expect(download('', { url: 'https://models.invalid/m' })).rejects.toMatchObject({
      code: 'ERR_DOWNLOAD',
      message: expect.stringMatching(/self-signed certificate/),
    });
    expect(server.seen).toEqual([]);
  });

  test('that is refused is told', async () => {
    process.env.HTTPS_PROXY = `http://127.0.0.1:${tunnel.port}`;
    await expect(download('', { url: 'https://models.invalid/m' })).rejects.toMatchObject({
      code: 'ERR_DOWNLOAD',
      message: expect.stringMatching(/407 Proxy Authentication Required/),
    });
    expect(tunnel.seen).toHaveLength(1);
  });
});

describe('several at once', () => {
  test('do not disturb each other', async () => {
    server = await startServer({ '/m': serveFile(model) });
    publish(`http://127.0.0.1:${server.port}/m`);
    const pulled = await Promise.all([pullWeights('small'), pullWeights('small'), pullWeights('small')]);
    expect(new Set(pulled.map(({ file }) => file)).size).toBe(1);
    expect(downloads()).toEqual([]);
    await using loaded = await DeepLab.load('small', { device: 'cpu' });
    expect(loaded.classes).toHaveLength(3);
  });

  test('do not share what came of an earlier attempt', async () => {
    server = await startServer({ '/m': first(breakOff(model), (_, response) => response.destroy()) });
    await expect(download('/m')).rejects.toMatchObject({ code: 'ERR_DOWNLOAD' });
    const { port } = server;
    expect(downloads()).toEqual(['small.part']);
    await server.close();
    server = await startServer({ '/m': serveFile(model) });
    const origin = path.join(cache, 'downloads', 'small.part', 'origin.json');
    writeFileSync(origin, readFileSync(origin, 'utf8').replace(String(port), String(server.port)));
    const both = await Promise.all([download('/m'), download('/m')]);
    expect(both.every((bytes) => bytes.equals(model))).toBe(true);
    expect(server.seen.map(({ range }) => range).sort()).toEqual([half(), undefined]);
    expect(downloads()).toEqual([]);
  });
});

test('what a process that was killed has left is gone on with', async () => {
  server = await startServer({ '/m': serveFile(model) });
  const { pid } = spawnSync('true');
  const left = path.join(cache, 'downloads', `small.${os.hostname()}.${pid}.left`);
  mkdirSync(left, { recursive: true });
  writeFileSync(path.join(left, 'm'), model.subarray(0, model.length >> 1));
  const origin = { url: `http://127.0.0.1:${server.port}/m`, validator: '"1"' };
  writeFileSync(path.join(left, 'origin.json'), JSON.stringify(origin));
  expect((await download('/m')).equals(model)).toBe(true);
  expect(server.seen.map(({ range }) => range)).toEqual([half()]);
});

test('an aborted download is gone on with the next time', async () => {
  server = await startServer({
    '/m': first((_, response) => {
      response.writeHead(200, { 'content-length': model.length, etag: '"1"' });
      response.write(model.subarray(0, model.length >> 1)); // and no more
    }, serveFile(model)),
  });
  publish(`http://127.0.0.1:${server.port}/m`);
  const controller = new AbortController();
  const { signal } = controller;
  const onProgress = ({ received }: { received: number }) => {
    if (received === model.length >> 1) controller.abort('enough');
  };
  await expect(pullWeights('small', { signal, onProgress })).rejects.toMatchObject({
    code: 'ERR_ABORTED',
    cause: 'enough',
  });
  expect((await pullWeights('small')).imported).toBeDefined();
  expect(server.seen[1]?.range).toMatch(/^bytes=\d+-$/);
});

test.each([
  ['without a checkpoint', ['readme.txt']],
  ['with two checkpoints', ['a.index', 'b.index']],
])('a .tar.gz %s is refused', async (_, names) => {
  const folder = path.join(root, `tar-${files++}`);
  mkdirSync(folder);
  for (const name of names) writeFileSync(path.join(folder, name), 'x');
  const archive = path.join(root, `archive-${files++}.tar.gz`);
  await tar.create({ gzip: true, file: archive, cwd: folder }, names);
  const bytes = readFileSync(archive);
  server = await startServer({ '/m.tar.gz': serveFile(bytes) });
  const facts = { unpack: 'tar.gz', size: bytes.length, sha256: sha256(bytes) };
  publish(`http://127.0.0.1:${server.port}/m.tar.gz`, facts);
  await expect(pullWeights('small')).rejects.toMatchObject({
    code: 'ERR_INVALID_WEIGHTS',
    message: expect.stringMatching(/has [02] checkpoints \(\.index\): expected one/),
  });
  expect(downloads()).toEqual([]);
});

test.each<[string, () => Buffer, RegExp]>([
  [
    'with a name that leads elsewhere',
    () => tarHeader('../escaped.index', '0'),
    /path contains '\.\.'|has 0 checkpoints/,
  ],
  ['with a name that begins at the root', () => tarHeader(path.join(root, 'escaped.index'), '0'), /absolute path/],
  [
    'with a link to elsewhere',
    () => tarHeader('m.index', '0', '2', path.join(root, 'escaped.index')),
    /has 0 checkpoints/,
  ],
  ['that would unpack to 8 GB', () => tarHeader('m.data-00000-of-00001', '77777777777'), /unpack/],
  ['that is cut', () => Buffer.concat([tarHeader('m.index', '10000'), Buffer.alloc(512)]), /cannot be unpacked/],
  ['that is none', () => Buffer.from('no archive'), /cannot be unpacked|has 0 checkpoints/],
])('a .tar.gz %s is refused, and leaves nothing', async (_, make, message) => {
  const bytes = zlib.gzipSync(Buffer.concat([make(), Buffer.alloc(1024)]));
  server = await startServer({ '/m.tar.gz': serveFile(bytes) });
  const facts = { unpack: 'tar.gz', size: bytes.length, sha256: sha256(bytes) };
  publish(`http://127.0.0.1:${server.port}/m.tar.gz`, facts);
  const before = readdirSync(root);
  await expect(pullWeights('small')).rejects.toMatchObject({
    code: 'ERR_INVALID_WEIGHTS',
    message: expect.stringMatching(message),
  });
  expect(downloads()).toEqual([]);
  expect(readdirSync(root)).toEqual([...before, path.basename(cache)].sort());
  expect(readdirSync(cache)).toEqual(['downloads']);
});

describe('the command line', () => {
  beforeAll(() => command.expectBuilt());

  test('pulls, and lists what was pulled', async () => {
    server = await startServer({ '/m.safetensors': serveFile(model) });
    publish(`http://127.0.0.1:${server.port}/m.safetensors`);
    const pulled = await command.run(root, ['weights', 'pull', 'small']);
    expect(pulled).toMatchObject({ code: 0, stderr: '' });
    expect(pulled.stdout).toMatch(/small\.safetensors: deeplab_v3 mobilenet_v2, 3 classes/);
    const listed = await command.run(root, ['weights', 'list', '--json']);
    const models = JSON.parse(listed.stdout) as { name: string; file: string | null }[];
    const shipped = existsSync(defaultWeights) ? [[defaultModel.name, defaultWeights]] : [];
    expect(models.map(({ name, file }) => [name, file])).toEqual([
      ...shipped,
      ['small', path.join(cache, 'models/small.safetensors')],
    ]);
    expect((await command.run(root, ['weights', 'list'])).stdout).toMatch(/^small .* yes$/m);
  });

  test('processes at once do not disturb each other', async () => {
    server = await startServer({ '/m': serveFile(model) });
    publish(`http://127.0.0.1:${server.port}/m`);
    const runs = await Promise.all([1, 2, 3].map(() => command.run(root, ['weights', 'pull', 'small'])));
    expect(runs.map(({ code, stderr }) => [code, stderr])).toEqual([1, 2, 3].map(() => [0, '']));
    expect(downloads()).toEqual([]);
  });
});

describe('the manifest', () => {
  test('that is packaged is sound, and claims nothing that was not tried', () => {
    delete process.env.DEEPLAB_MANIFEST;
    const models = Object.entries(readManifest());
    expect(models.length).toBeGreaterThan(10);
    expect(models.filter(([, { tried }]) => tried)).toEqual([]);
    expect(new Set(models.map(([, { url }]) => url)).size).toBe(models.length);
  });

  test.each([
    [{ url: 'ftp://host/file' }, /small\.url but received "ftp/],
    [{ sha256: 'ABC' }, /64 lower-case hexadecimal digits or null for .*small\.sha256/],
    [{ layout: 'other' }, /small\.layout/],
    [{ network: 'v3-resnet18' }, /one of v1-vgg16-7x7, .* or null for .*small\.network/],
    [{ classes: undefined }, /small\.classes/],
    [{ more: 1 }, /option name in .*small/],
  ])('with %j is refused', async (facts, message) => {
    publish('http://127.0.0.1:1/m', facts);
    await expect(pullWeights('small')).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringMatching(message),
    });
  });

  test('without the model names those that there are', async () => {
    publish('http://127.0.0.1:1/m');
    await expect(pullWeights('large')).rejects.toMatchObject({
      code: 'ERR_NOT_FOUND',
      message: expect.stringMatching(/"large": there are small$/),
    });
  });
});
