// The progress bar of `deeplab weights pull`: on stderr, and only for people watching.

import { SingleBar } from 'cli-progress';
import type { DownloadProgress } from '../download';
import { formatBytes } from '../quantity';

/** Shows how much has come. Does nothing unless `shown`. */
export class DownloadBar {
  readonly #shown: boolean;
  #bar: SingleBar | undefined;

  constructor(shown: boolean) {
    this.#shown = shown;
  }

  /** The bar appears with the first call, and has no end if the server does not say how much there is. */
  show({ received, total }: DownloadProgress): void {
    if (!this.#shown) return;
    if (this.#bar === undefined) {
      this.#bar = new SingleBar({
        format: '{bar} {percentage}% of {size}, {eta_formatted} left',
        stream: process.stderr,
        hideCursor: true,
        clearOnComplete: true,
      });
      this.#bar.start(total ?? received, received, { size: formatBytes(total ?? received) });
    }
    this.#bar.setTotal(total ?? received);
    this.#bar.update(received, { size: formatBytes(total ?? received) });
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}
