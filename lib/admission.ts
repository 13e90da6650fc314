// How much a model may have to do at once: counts the calls that it has taken and the memory that they hold, and refuses
// what is too much, or has it wait.

import { DeepLabError } from './errors';
import { checkOptions, type OptionRule } from './options';

/** The most that a model takes on at once. */
export interface QueueLimit {
  /** Calls that are not done yet: those decoding, waiting and computed. 1 or more. Default: no limit. */
  readonly count?: number | undefined;
  /**
   * Bytes of the images and results of these calls: for each pixel its channels, 1 for its label, and 4 for each class if
   * scores are asked for. Default: no limit.
   */
  readonly bytes?: number | undefined;
}

const positiveInteger: OptionRule = {
  expected: 'positive integer',
  accepts: (value) => Number.isSafeInteger(value) && (value as number) > 0,
};

/** The rule of the option `queueLimit`. {@link readQueueLimit} checks what is in it. */
export const queueLimitRule: OptionRule = {
  expected: '{ count, bytes }',
  accepts: (value) => typeof value === 'object' && value !== null,
};

/** @throws ERR_INVALID_ARGUMENT for limits that are not positive integers. */
export function readQueueLimit(limit: QueueLimit): Required<{ [K in keyof QueueLimit]: number }> {
  checkOptions(limit, { count: positiveInteger, bytes: positiveInteger }, 'queueLimit');
  return { count: limit.count ?? Number.POSITIVE_INFINITY, bytes: limit.bytes ?? Number.POSITIVE_INFINITY };
}

/** What a call holds of its model. */
export class Ticket {
  readonly #admission: Admission;
  #bytes = 0;

  /** @internal */
  constructor(admission: Admission) {
    this.#admission = admission;
  }

  /**
   * Takes memory as well.
   *
   * @param patience - Given, it waits for the memory, until the signal is aborted.
   * @throws ERR_QUEUE_FULL if there is not that much, and without patience; with it, if there never can be.
   */
  async hold(bytes: number, patience?: AbortSignal): Promise<void> {
    await this.#admission.takeWhenFree({ count: 0, bytes }, patience);
    this.#bytes += bytes;
  }

  /** Gives everything back, once. */
  leave(): void {
    this.#admission.release({ count: 1, bytes: this.#bytes });
  }
}

interface Amount {
  readonly count: number;
  readonly bytes: number;
}

export class Admission {
  readonly #limit: Amount;
  #count = 0;
  #bytes = 0;
  #refused = 0;
  /** Those who wait, the longest first. */
  readonly #waiting: (() => void)[] = [];

  constructor(limit: Amount) {
    this.#limit = limit;
  }

  /** Bytes that calls hold. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Calls that were turned away so far. */
  get refused(): number {
    return this.#refused;
  }

  /**
   * Lets a call in: at once where there is room, so that it can copy its image before its caller goes on.
   *
   * @param patience - Given, the call waits until there is room, or the signal is aborted.
   * @throws ERR_QUEUE_FULL if there is no room, and without patience.
   */
  enter(patience?: AbortSignal): Ticket | Promise<Ticket> {
    const one = { count: 1, bytes: 0 };
    if (patience === undefined || this.#fits(one)) {
      this.#take(one);
      return new Ticket(this);
    }
    return this.takeWhenFree(one, patience).then(() => new Ticket(this));
  }

  /** @internal */
  async takeWhenFree(amount: Amount, patience: AbortSignal | undefined): Promise<void> {
    while (patience !== undefined && amount.bytes <= this.#limit.bytes && !this.#fits(amount))
      await this.#room(patience);
    this.#take(amount);
  }

  #take(amount: Amount): void {
    if (!this.#fits(amount)) throw this.#refuse(amount);
    this.#count += amount.count;
    this.#bytes += amount.bytes;
  }

  /** @internal */
  release({ count, bytes }: Amount): void {
    this.#count -= count;
    this.#bytes -= bytes;
    // All of them look again: one that needs little may fit where one that needs much does not.
    for (const wake of this.#waiting.splice(0)) wake();
  }

  #fits({ count, bytes }: Amount): boolean {
    return this.#count + count <= this.#limit.count && this.#bytes + bytes <= this.#limit.bytes;
  }

  #room(patience: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => reject(patience.reason);
      patience.throwIfAborted();
      patience.addEventListener('abort', leave, { once: true });
      this.#waiting.push(() => {
        patience.removeEventListener('abort', leave);
        resolve();
      });
    });
  }

  #refuse({ bytes }: Amount): DeepLabError {
    this.#refused++;
    const { count: most, bytes: mostBytes } = this.#limit;
    const message =
      bytes === 0
        ? `The model has ${this.#count} calls to do: queueLimit.count is ${most}`
        : `The call needs ${bytes} bytes, others hold ${this.#bytes}: queueLimit.bytes is ${mostBytes}`;
    return new DeepLabError('ERR_QUEUE_FULL', message);
  }
}
