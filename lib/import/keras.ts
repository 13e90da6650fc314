// Weights that Keras writes as HDF5: those of Keras 1 and 2 (`model.save_weights('a.h5')`, groups by layer), whole
// models, and the `.weights.h5` of Keras 3. Tensors have the names of their datasets. What is inside of the file is
// libhdf5's to know, in a thread of its own (keras-worker.mjs) that is stopped if it does not answer: h5wasm rather than
// jsfive, which reads less of the format, takes the whole file into memory and inflates without a bound.

import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { DeepLabError } from '../errors';
import { type Archive, type ArchiveTensor, mostDimensions, mostTensors } from './archive';
import { decodeElements, type ElementType, elementBytes, elementsOf, isElementType } from './elements';
import { damaged, WeightsFile } from './weights-file';

/** "Format Signature" in HDF5's File Format Specification, II.A. */
const signature = Buffer.from('\x89HDF\r\n\x1a\n', 'latin1');

/** What the thread is given to answer: longer than any sound file takes, at 10 MB/s. */
const patience = 10_000;
const bytesPerMillisecond = 10_000;

/** What a dataset may have: 16 MiB, and 100 times the size of the file beyond; it may be deflated. */
const bytesFreely = 2 ** 24;
const mostInflation = 100;

/** Attributes of the file that say what its network is. */
const texts = ['keras_version', 'backend', 'model_config'];
const longestText = 10_000_000;

/** What keras-worker.mjs says of a dataset of numbers. */
interface Dataset {
  readonly name: string;
  readonly shape: readonly number[];
  readonly class: number;
  readonly size: number;
  readonly signed: boolean;
}

interface Contents {
  readonly datasets: readonly Dataset[];
  readonly metadata: Readonly<Record<string, string>>;
}

/** Whether a file that begins with `head` (512 bytes) is HDF5, as Keras's files of weights are. */
export function looksLikeKeras(head: Uint8Array): boolean {
  return Buffer.from(head.subarray(0, signature.length)).equals(signature);
}

/**
 * Opens weights of Keras in HDF5. Tensors are called as their datasets, without the slash in front:
 * `conv1/conv1/kernel:0`, `layers/conv2d/vars/0`.
 *
 * @throws ERR_INVALID_WEIGHTS if it is damaged or none, ERR_NOT_FOUND.
 */
export async function openKeras(file: string): Promise<Archive> {
  const size = await sizeOf(file);
  const most = { datasets: mostTensors, bytes: bytesFreely + mostInflation * size, text: longestText };
  const thread = new HdfThread(file, { file: path.resolve(file), most, texts });
  try {
    const { datasets, metadata } = (await thread.ask({ kind: 'list' }, size)) as Contents;
    const tensors = new Map<string, ArchiveTensor>();
    for (const dataset of datasets) {
      const type = typeOf(dataset);
      if (type === undefined) continue;
      const { name, shape } = dataset;
      const bytes = elementsOf(shape) * elementBytes[type];
      if (shape.length > mostDimensions || !(bytes <= most.bytes)) {
        throw damaged(file, `has ${name} of [${shape.join(',')}]: expected at most ${most.bytes} bytes`);
      }
      const read = async () => {
        const answer = (await thread.ask({ kind: 'read', name }, bytes)) as Uint8Array;
        if (answer.length !== bytes) throw damaged(file, `has ${answer.length} bytes of ${name}: expected ${bytes}`);
        return decodeElements(answer, type);
      };
      tensors.set(name, { shape, read });
    }
    return { format: 'keras', file, tensors, metadata, close: () => thread.close() };
  } catch (error) {
    await thread.close();
    throw error;
  }
}

async function sizeOf(file: string): Promise<number> {
  const opened = await WeightsFile.open(file);
  try {
    const head = await opened.read(0, Math.min(signature.length, opened.size));
    if (!looksLikeKeras(head)) throw opened.invalid('is no HDF5 file, as Keras writes weights');
    return opened.size;
  } finally {
    await opened.close();
  }
}

/** Undefined for numbers that no network has. */
function typeOf({ class: kind, size, signed }: Dataset): ElementType | undefined {
  const type = `${kind === 1 ? 'f' : signed ? 'i' : 'u'}${size * 8}`;
  return isElementType(type) ? type : undefined;
}

/** The thread that has the file open. It answers one request at a time. */
class HdfThread {
  readonly #file: string;
  readonly #worker: Worker;
  /** Why it does not answer any more. */
  #gone: DeepLabError | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #settle: ((answer: { answer: unknown } | { error: DeepLabError }) => void) | undefined;

  constructor(file: string, workerData: object) {
    this.#file = file;
    // libhdf5 says on stderr what it does not like; the error says it here.
    this.#worker = new Worker(path.join(__dirname, 'keras-worker.mjs'), {
      workerData,
      stdout: true,
      stderr: true,
      resourceLimits: { maxOldGenerationSizeMb: 512 },
    });
    this.#worker.unref();
    this.#worker.on('message', (message: { answer: unknown } | { error: string }) => {
      this.#settle?.('error' in message ? { error: damaged(file, `is damaged: ${message.error}`) } : message);
    });
    this.#worker.on('error', (cause) => this.#end(damaged(file, `cannot be read as HDF5: ${cause.message}`, cause)));
    this.#worker.on('exit', () => this.#end(damaged(file, 'cannot be read as HDF5')));
  }

  /** The answer to a request that handles so many bytes. */
  ask(request: object, bytes: number): Promise<unknown> {
    const answer = this.#last.then(() => this.#askNow(request, patience + bytes / bytesPerMillisecond));
    this.#last = answer.catch(() => {});
    return answer;
  }

  #askNow(request: object, milliseconds: number): Promise<unknown> {
    if (this.#gone !== undefined) return Promise.reject(this.#gone);
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        this.#end(damaged(this.#file, `takes more than ${Math.round(milliseconds)} ms to read: it is damaged`));
        void this.#worker.terminate();
      }, milliseconds);
      this.#settle = (result) => {
        clearTimeout(late);
        this.#settle = undefined;
        if (this.#gone === undefined) this.#worker.unref();
        if ('error' in result) reject(result.error);
        else resolve(result.answer);
      };
      this.#worker.ref();
      this.#worker.postMessage(request);
    });
  }

  #end(reason: DeepLabError): void {
    this.#gone ??= reason;
    this.#settle?.({ error: this.#gone });
  }

  async close(): Promise<void> {
    this.#end(new DeepLabError('ERR_CLOSED', `${this.#file} was closed before its tensors were read`));
    await this.#worker.terminate();
  }
}
