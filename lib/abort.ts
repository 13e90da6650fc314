// What an AbortSignal does to a call: before native code has been asked, and while it works.

import { DeepLabError } from './errors';
import { fromNative } from './native';
import type { OptionRule } from './options';

/** The rule of every `signal` option. */
export const signalRule: OptionRule = {
  expected: 'AbortSignal',
  // Not by instanceof: polyfills and other realms have classes of their own.
  accepts: (value) =>
    typeof (value as AbortSignal | null)?.addEventListener === 'function' && 'aborted' in Object(value),
};

/**
 * @param work - What errors call the call: `segmentation`.
 * @throws ERR_ABORTED with the signal's reason as its cause.
 */
export function throwIfAborted(signal: AbortSignal | undefined, work: string): void {
  if (signal?.aborted) throw aborted(signal, work);
}

/** A native object that takes requests. */
interface Requestee<T> {
  readonly start: () => { readonly id: number; readonly result: Promise<T> };
  readonly cancel: (id: number) => void;
}

/**
 * Makes a request and waits for its result; `signal` cancels it.
 *
 * @throws Whatever the request fails with, as a DeepLabError; ERR_ABORTED has the signal's reason as its cause.
 */
export async function awaitRequest<T>(
  { start, cancel }: Requestee<T>,
  signal: AbortSignal | undefined,
  work: string,
): Promise<T> {
  throwIfAborted(signal, work);
  let onAbort: (() => void) | undefined;
  try {
    const { id, result } = start();
    onAbort = () => cancel(id);
    signal?.addEventListener('abort', onAbort, { once: true });
    return await result;
  } catch (cause) {
    const error = fromNative(cause);
    throw error.code === 'ERR_ABORTED' ? aborted(signal, work) : error;
  } finally {
    if (onAbort !== undefined) signal?.removeEventListener('abort', onAbort);
  }
}

function aborted(signal: AbortSignal | undefined, work: string): DeepLabError {
  return new DeepLabError('ERR_ABORTED', `The ${work} was aborted`, { cause: signal?.reason });
}
