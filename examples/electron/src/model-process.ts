// The main process's hold on the model's process: starts it, gives windows a port to it, and ends it.

import { MessageChannelMain, type UtilityProcess, utilityProcess, type WebContents } from 'electron';
import { type Command, portChannel, type Report } from './protocol';

/** How long `close` waits for the process to end by itself. An inference that was cancelled ends at its next layer. */
const patienceMs = 5000;

export class ModelProcess {
  readonly #child: UtilityProcess;
  readonly #exit: Promise<void>;
  /** Resolves once the model is loaded, and rejects if it cannot be, or the process dies. */
  readonly loaded: Promise<{ readonly device: string; readonly precision: string }>;

  /**
   * @param script - Path of utility.js.
   * @param model - Path of a weights file outside the asar archive: native code maps it.
   */
  constructor(script: string, model: string) {
    this.#child = utilityProcess.fork(script, [], { serviceName: 'deeplab' });
    this.#exit = new Promise((resolve) => this.#child.once('exit', () => resolve()));
    this.loaded = new Promise((resolve, reject) => {
      this.#child.on('message', (report: Report) => {
        if (report.kind === 'loaded') resolve(report);
        if (report.kind === 'failed') reject(new Error(`${report.code}: ${report.message}`));
      });
      this.#child.once('exit', (code) => reject(new Error(`The model's process ended with code ${code}`)));
    });
    this.loaded.catch(() => {});
    this.#send({ kind: 'load', model });
  }

  /** Resolves when the process has ended, in whatever way. */
  get ended(): Promise<void> {
    return this.#exit;
  }

  /** Gives a window a port of its own to the model. */
  connect(window: WebContents): void {
    const { port1, port2 } = new MessageChannelMain();
    const command: Command = { kind: 'connect' };
    this.#child.postMessage(command, [port1]);
    window.postMessage(portChannel, null, [port2]);
  }

  /** Cancels what is under way, and waits for the process to end. */
  async close(): Promise<void> {
    this.#send({ kind: 'close' });
    const timer = setTimeout(() => this.#child.kill(), patienceMs);
    await this.#exit;
    clearTimeout(timer);
  }

  #send(command: Command): void {
    this.#child.postMessage(command);
  }
}
