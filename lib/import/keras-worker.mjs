// @ts-check
// The thread in which libhdf5 (as WebAssembly, by h5wasm) reads one HDF5 file. It has a memory of its own of at most
// 2 GiB and can be stopped: on a damaged file libhdf5 may do anything but leave its sandbox. keras.ts asks, and judges
// what comes.

import fs from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
// Not later by import(): from Node.js 22 on, that reads modules by the openSync which is replaced below.
import * as h5wasm from 'h5wasm/node';

/**
 * A request: what the file has, or the bytes of one dataset.
 * @typedef {{ kind: 'list' } | { kind: 'read', name: string }} Request
 */

/**
 * A dataset of numbers: its class is that of `H5T_class_t` (0 integers, 1 floats), its size in bytes.
 * @typedef {{ name: string, shape: number[], class: number, size: number, signed: boolean }} Dataset
 */

/** @type {{ file: string, most: { datasets: number, bytes: number, text: number }, texts: string[] }} */
const { file, most, texts } = workerData;

// A file of HDF5 may name others to take numbers from (external links and storage, virtual datasets).
const { openSync } = fs;
/** @type {typeof fs.openSync} */
fs.openSync = (path, ...rest) => {
  if (path === file) return openSync(path, ...rest);
  throw Object.assign(new Error(`${String(path)} is not to be opened`), { code: 'ENOENT', errno: -2 });
};

// libhdf5 writes what it does not like to stderr: the first trace since a request came, from the call to the cause.
let trace = '';
fs.writeSync = (/** @type {number} */ _descriptor, /** @type {string | NodeJS.ArrayBufferView} */ data, ...rest) => {
  if (typeof data === 'string') return data.length;
  const [start, length] = rest.map((number) => (typeof number === 'number' ? number : undefined));
  const bytes = Buffer.from(data.buffer, data.byteOffset + (start ?? 0), length ?? data.byteLength);
  if (trace.length < 10_000) trace += bytes.toString('latin1');
  return bytes.length;
};

/** What the trace ends in. */
function cause() {
  const [first = ''] = trace.split('HDF5-DIAG').slice(1);
  return Array.from(first.matchAll(/^ *#\d+: .*\(\): (.*)$/gm), ([, what]) => what).at(-1);
}

/** @type {Awaited<typeof h5wasm.ready>} */
let library;
/** @type {InstanceType<typeof h5wasm.File> | undefined} */
let opened;

function list() {
  opened = new h5wasm.File(file, 'r');
  /** @type {Dataset[]} */
  const datasets = [];
  // Each object once, by the first of its names, so that links may go in circles.
  const names = library.get_names(opened.file_id, '/', true);
  if (names.length > most.datasets) throw new Error(`it has ${names.length} objects`);
  for (const name of names) {
    if (library.get_type(opened.file_id, `/${name}`) !== library.H5G_DATASET) continue;
    const { type, size, shape, signed, vlen, virtual_sources: sources } = metadataOf(opened, name);
    if (vlen || shape === null || sources !== undefined || (type !== 0 && type !== 1)) continue;
    datasets.push({ name, shape, class: type, size, signed });
  }
  return { datasets, metadata: metadata(opened) };
}

/** @param {InstanceType<typeof h5wasm.File>} from @param {string} name */
function metadataOf(from, name) {
  return library.get_dataset_metadata(from.file_id, `/${name}`);
}

/** @param {InstanceType<typeof h5wasm.File>} from */
function metadata(from) {
  /** @type {Record<string, string>} */
  const found = {};
  const names = library.get_attribute_names(from.file_id, '/');
  for (const name of texts.filter((text) => names.includes(text))) {
    const attribute = from.attrs[name];
    const text = attribute !== undefined && attribute.metadata.size <= most.text ? attribute.value : undefined;
    if (typeof text === 'string' && text.length <= most.text) found[name] = text;
  }
  return found;
}

/**
 * The numbers in this machine's order of bytes: libhdf5 converts them.
 * @param {string} name
 */
function read(name) {
  if (opened === undefined) throw new Error('it is not open');
  const { size, total_size: elements } = metadataOf(opened, name);
  const length = size * elements;
  if (length > most.bytes) throw new Error(`${name} has ${length} bytes`);
  if (length === 0) return new Uint8Array(0);
  const at = library._malloc(length);
  if (at === 0) throw new Error(`there is no memory for the ${length} bytes of ${name}`);
  try {
    if (library.get_dataset_data(opened.file_id, `/${name}`, null, null, null, BigInt(at)) < 0) {
      throw new Error(`${name} cannot be read`);
    }
    // Looked up after the call: the memory grows by being replaced.
    return library.HEAPU8.slice(at, at + length);
  } finally {
    library._free(at);
  }
}

// Before anything is awaited: in Deno, requests that come earlier are lost.
parentPort?.on('message', async (/** @type {Request} */ request) => {
  try {
    library = await h5wasm.ready;
    trace = '';
    const answer = request.kind === 'list' ? list() : read(request.name);
    parentPort?.postMessage(
      { answer },
      answer instanceof Uint8Array ? [/** @type {ArrayBuffer} */ (answer.buffer)] : [],
    );
  } catch (error) {
    parentPort?.postMessage({ error: cause() ?? (error instanceof Error ? error.message : 'it is no HDF5 file') });
  }
});
