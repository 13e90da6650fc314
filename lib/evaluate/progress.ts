// What an evaluation has counted so far, in a file: a line of JSON that says what is evaluated, and one per image. A process
// that is killed loses no more than the image that it was at.

import { appendFileSync, readFileSync } from 'node:fs';
import { DeepLabError } from '../errors';
import { writeFileAtomically } from '../output';
import { Trimap, type TrimapRecord } from './trimap';

/** What one way of labelling (with or without the CRF) makes of an image. */
export interface Counted {
  /** [truth, prediction], row by row. */
  readonly confusion: readonly number[];
  readonly trimap?: TrimapRecord | undefined;
}

/** An image that is done. */
export interface ImageCounts extends Counted {
  readonly id: string;
  readonly withCrf?: Counted | undefined;
}

/** The file. */
export class ProgressFile {
  /** The images that were done before, by id. */
  readonly done: ReadonlyMap<string, ImageCounts>;
  readonly #file: string;

  private constructor(file: string, done: ReadonlyMap<string, ImageCounts>) {
    this.#file = file;
    this.done = done;
  }

  /**
   * Opens the file, or begins it where there is none. A last line that was not written to its end goes.
   *
   * @param key - Says what is evaluated, and how.
   * @param cells - Numbers in a confusion matrix.
   * @throws ERR_INVALID_ARGUMENT for the file of another evaluation, ERR_WRITE
   */
  static async open(file: string, key: string, cells: number): Promise<ProgressFile> {
    const [first, ...lines] = linesOf(file);
    if (first !== undefined && (first as { key?: unknown } | null)?.key !== key) {
      const message = `${file} is of another evaluation: expected one of the same weights, images and options, or a new file`;
      throw new DeepLabError('ERR_INVALID_ARGUMENT', message);
    }
    const done = new Map<string, ImageCounts>();
    for (const line of lines) {
      if (!isImage(line, cells)) throw new DeepLabError('ERR_INVALID_ARGUMENT', `${file} is damaged: remove it`);
      done.set(line.id, line);
    }
    const text = [{ key }, ...done.values()].map((line) => `${JSON.stringify(line)}\n`).join('');
    await writeFileAtomically(file, Buffer.from(text));
    return new ProgressFile(file, done);
  }

  /** @throws ERR_WRITE */
  add(image: ImageCounts): void {
    try {
      appendFileSync(this.#file, `${JSON.stringify(image)}\n`);
    } catch (cause) {
      const message = `${this.#file} cannot be written: ${(cause as Error).message}`;
      throw new DeepLabError('ERR_WRITE', message, { cause });
    }
  }
}

/** The values of the lines up to the first one that is no JSON; none where there is no file. */
function linesOf(file: string): unknown[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return [];
    throw new DeepLabError('ERR_NOT_FOUND', `The progress cannot be read: ${message}`, { cause });
  }
  const values: unknown[] = [];
  for (const line of text.split('\n').filter(Boolean)) {
    try {
      values.push(JSON.parse(line));
    } catch {
      // A first line that is no JSON is of a file that is something else.
      return values.length === 0 ? [null] : values;
    }
  }
  return values;
}

function isImage(value: unknown, cells: number): value is ImageCounts {
  const { id, withCrf } = (value ?? {}) as Partial<ImageCounts>;
  return typeof id === 'string' && isCounted(value, cells) && (withCrf === undefined || isCounted(withCrf, cells));
}

function isCounted(value: unknown, cells: number): value is Counted {
  const { confusion, trimap } = (value ?? {}) as Partial<Counted>;
  return Array.isArray(confusion) && confusion.length === cells && confusion.every(isCount) && isTrimap(trimap);
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isTrimap(value: TrimapRecord | undefined): boolean {
  try {
    return value === undefined || Trimap.fromJSON(value) instanceof Trimap;
  } catch {
    return false;
  }
}
