// The progress bar of `deeplab segment` and `deeplab eval`: on stderr, and only for people watching more than one image. It clears its
// line before anything else is printed, since stdout is usually the same terminal.

import { SingleBar } from 'cli-progress';

/** Counts finished images. Does nothing unless `shown`. */
export class Progress {
  readonly #bar: SingleBar | undefined;

  constructor(total: number, shown: boolean) {
    if (!shown) return;
    this.#bar = new SingleBar({
      format: '{bar} {value}/{total} images, {eta_formatted} left',
      stream: process.stderr,
      hideCursor: true,
      clearOnComplete: true,
    });
    this.#bar.start(total, 0);
  }

  /** Counts an image, with what there is to print about it. */
  advance(print: () => void): void {
    if (this.#bar !== undefined) process.stderr.write('\r\x1b[K');
    print();
    this.#bar?.increment();
  }

  stop(): void {
    this.#bar?.stop();
  }
}
