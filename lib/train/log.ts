// The log of a training: a line of JSON per record in log.jsonl, and a row of it in log.csv. A training that goes on removes
// the records of what it does anew.

import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { DeepLabError } from '../errors';

/** One update of the network. */
export interface StepRecord {
  readonly kind: 'step';
  /** Updates that were made, this one included. */
  readonly iteration: number;
  /** Mean over the crops; before the update. */
  readonly loss: number;
  /** The base rate, which the multipliers multiply. */
  readonly learningRate: number;
  readonly imagesPerSecond: number;
  /** Milliseconds for which nothing was computed because no batch was ready. */
  readonly waitedMs: number;
}

/** An evaluation of the network. */
export interface EvaluationRecord {
  readonly kind: 'evaluation';
  readonly iteration: number;
  /** From 0 to 1. */
  readonly miou: number;
  readonly pixelAccuracy: number;
  /** Per class, null where neither the labels nor the network have it. */
  readonly iou: readonly (number | null)[];
  readonly images: number;
  readonly seconds: number;
  /** Whether it is the best so far. */
  readonly best: boolean;
}

export type LogRecord = StepRecord | EvaluationRecord;

const columns = ['iteration', 'loss', 'learning_rate', 'images_per_second', 'waited_ms', 'miou'] as const;

/** The log in a folder. */
export class TrainingLog {
  readonly #lines: number;
  readonly #rows: number;
  readonly #records: LogRecord[];

  /**
   * @param done - Iterations that are not done anew: the records of these are kept.
   * @throws ERR_WRITE
   */
  constructor(folder: string, done: number) {
    const file = path.join(folder, 'log.jsonl');
    this.#records = done === 0 ? [] : readLog(file).filter(({ iteration }) => iteration <= done);
    try {
      this.#lines = openSync(file, 'w');
      this.#rows = openSync(path.join(folder, 'log.csv'), 'w');
    } catch (cause) {
      throw new DeepLabError('ERR_WRITE', `The log cannot be written: ${(cause as Error).message}`, { cause });
    }
    writeSync(this.#rows, `${columns.join(',')}\n`);
    for (const record of this.#records) this.#append(record);
  }

  /** What is in the log, in its order. */
  get records(): readonly LogRecord[] {
    return this.#records;
  }

  /** @throws ERR_WRITE */
  write(record: LogRecord): void {
    this.#records.push(record);
    try {
      this.#append(record);
    } catch (cause) {
      throw new DeepLabError('ERR_WRITE', `The log cannot be written: ${(cause as Error).message}`, { cause });
    }
  }

  /** At once, so that it is there when the process is killed. */
  #append(record: LogRecord): void {
    writeSync(this.#lines, `${JSON.stringify(record)}\n`);
    const row =
      record.kind === 'step'
        ? [record.iteration, record.loss, record.learningRate, record.imagesPerSecond, record.waitedMs, '']
        : [record.iteration, '', '', '', '', record.miou];
    writeSync(this.#rows, `${row.join(',')}\n`);
  }

  close(): void {
    closeSync(this.#lines);
    closeSync(this.#rows);
  }
}

/** The records of a log, without a last line that was not written to its end; none where there is no file. */
export function readLog(file: string): LogRecord[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return [];
  }
  const records: LogRecord[] = [];
  for (const line of text.split('\n')) {
    try {
      records.push(JSON.parse(line) as LogRecord);
    } catch {
      break;
    }
  }
  return records;
}
