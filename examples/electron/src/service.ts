// A model that answers requests from any number of ports. It knows nothing of processes: utility.ts runs it in one.

import { type DeepLab, DeepLabError, type Segmentation } from 'deeplab';
import type { Port } from './port';
import type { Reply, Request } from './protocol';

export class Service {
  readonly #model: Promise<DeepLab>;
  /** Of all ports. */
  readonly #running = new Set<AbortController>();

  /** Requests may come before the model is loaded: they wait. */
  constructor(model: Promise<DeepLab>) {
    this.#model = model;
    model.catch(() => {}); // whoever asks is told
  }

  /** Answers what comes over `port`, until it is closed: then nobody waits for what is under way. */
  serve(port: Port): void {
    const own = new Map<number, AbortController>();
    port.on('message', ({ data }) => {
      const answer = (reply: Reply) => port.postMessage(reply);
      if (isRequest(data)) void this.#take(data, own, answer);
      else if (isNumbered(data)) answer(refusal(data.id, 'A request is a segment with an image, or a cancel'));
    });
    port.on('close', () => {
      for (const controller of own.values()) controller.abort();
    });
    port.start?.();
  }

  /** Cancels what is under way, and frees the model. */
  async close(): Promise<void> {
    for (const controller of this.#running) controller.abort();
    const model = await this.#model.catch(() => undefined);
    await model?.close();
  }

  async #take(request: Request, own: Map<number, AbortController>, answer: (reply: Reply) => void): Promise<void> {
    const { id } = request;
    if (request.kind === 'cancel') {
      own.get(id)?.abort();
      return;
    }
    if (own.has(id)) {
      answer(refusal(id, `The request ${id} is under way`));
      return;
    }
    const controller = new AbortController();
    own.set(id, controller);
    this.#running.add(controller);
    const { signal } = controller;
    try {
      const model = await this.#model;
      answer(labelsOf(id, await model.segment(request.image, { crf: request.crf, signal })));
    } catch (error) {
      answer({ kind: 'error', id, ...describeError(error) });
    } finally {
      own.delete(id);
      this.#running.delete(controller);
    }
  }
}

function labelsOf(id: number, { width, height, labels, classes }: Segmentation): Reply {
  const present = classes.filter(({ pixels }) => pixels > 0).sort((a, b) => b.pixels - a.pixels);
  const legend = present.map(({ id, name, color, share }) => ({ id, name, color, share }));
  return { kind: 'labels', id, width, height, labels, classes: legend };
}

/** Code and message: an Error's own properties do not survive the structured clone. */
export function describeError(error: unknown): Pick<Reply & { kind: 'error' }, 'code' | 'message'> {
  if (error instanceof DeepLabError) return { code: error.code, message: error.message };
  return { code: 'ERR_INTERNAL', message: String(error) };
}

function refusal(id: number, message: string): Reply {
  return { kind: 'error', id, code: 'ERR_INVALID_ARGUMENT', message };
}

/** A window shows what comes from outside: what it sends is looked at. Commands to the process have no number. */
function isNumbered(data: unknown): data is { readonly id: number } {
  return typeof data === 'object' && data !== null && 'id' in data && Number.isSafeInteger(data.id);
}

function isRequest(data: unknown): data is Request {
  if (!isNumbered(data)) return false;
  const { kind, image, crf } = data as Record<string, unknown>;
  return kind === 'cancel' || (kind === 'segment' && image instanceof Uint8Array && typeof crf === 'boolean');
}
