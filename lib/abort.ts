// What ends a call before it is done: an AbortSignal, or a time limit. A call that takes `CallOptions` runs inside of
// `cancellable` or `stoppable`, and looks at the signal that it gets there.

import { DeepLabError } from './errors';
import { fromNative, type NativeMaking } from './native';
import type { OptionRule } from './options';

/** Options of every call that takes its time. */
export interface CallOptions {
  /** Cancels the call: it then rejects with ERR_ABORTED, at once, and what it has under way ends soon. */
  readonly signal?: AbortSignal | undefined;
  /** Most milliseconds that the call may take: it then rejects with ERR_TIMEOUT, as by `signal`. Default: no limit. */
  readonly timeoutMs?: number | undefined;
}

/** The longest delay of a timer. */
const mostMs = 2 ** 31 - 1;

/** The rules of {@link CallOptions}. */
export const callRules: Readonly<Record<keyof CallOptions, OptionRule>> = {
  signal: {
    expected: 'AbortSignal',
    // Not by instanceof: polyfills and other realms have classes of their own.
    accepts: (value) =>
      typeof (value as AbortSignal | null)?.addEventListener === 'function' && 'aborted' in Object(value),
  },
  timeoutMs: {
    expected: `number above 0, up to ${mostMs}`,
    accepts: (value) => typeof value === 'number' && value > 0 && value <= mostMs,
  },
};

/**
 * Runs `call` until it is done, the caller's signal is aborted or the time is up; then it rejects at once, and what
 * `call` comes to is ignored.
 *
 * @param work - What errors call it: `segmentation`.
 * @param call - Gets a signal of its own, which is aborted in both cases, with the error as its reason.
 * @throws ERR_ABORTED with the caller's signal's reason as its cause, ERR_TIMEOUT, and what `call` throws.
 */
export function cancellable<T>(
  options: CallOptions,
  work: string,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const untilAborted = (signal: AbortSignal) =>
    new Promise<T>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as DeepLabError), { once: true });
      call(signal).then(resolve, reject);
    });
  return stoppable(options, work, untilAborted);
}

/** As {@link cancellable}, but rejects only when `call` has stopped: for calls that must not leave files behind. */
export async function stoppable<T>(
  { signal, timeoutMs }: CallOptions,
  work: string,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  throwIfAborted(signal, work);
  const controller = new AbortController();
  const onAbort = () => controller.abort(aborted(signal, work));
  const onTimeout = () => {
    controller.abort(new DeepLabError('ERR_TIMEOUT', `The ${work} took longer than ${timeoutMs} ms`));
  };
  signal?.addEventListener('abort', onAbort, { once: true });
  const timer = timeoutMs === undefined ? undefined : setTimeout(onTimeout, timeoutMs);
  try {
    return await call(controller.signal);
  } catch (error) {
    throw controller.signal.aborted ? controller.signal.reason : error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

/**
 * @param work - As for {@link cancellable}.
 * @throws ERR_ABORTED with the signal's reason as its cause.
 */
export function throwIfAborted(signal: AbortSignal | undefined, work: string): void {
  if (signal?.aborted) throw aborted(signal, work);
}

function aborted(signal: AbortSignal | undefined, work: string): DeepLabError {
  return new DeepLabError('ERR_ABORTED', `The ${work} was aborted`, { cause: signal?.reason });
}

/** Lets a long computation of JavaScript be cancelled: timers and listeners have their turn, then the signal is looked at. */
export async function breathe(signal: AbortSignal): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  signal.throwIfAborted();
}

/** A native object that takes requests. */
interface Requestee<T> {
  readonly start: () => { readonly id: number; readonly result: Promise<T> };
  readonly cancel: (id: number) => void;
}

/**
 * Makes a request and waits for its result; `signal`, of {@link cancellable}, cancels it.
 *
 * @throws Whatever the request fails with, as a DeepLabError; ERR_CLOSED where its object was closed without waiting.
 */
export async function awaitRequest<T>({ start, cancel }: Requestee<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  try {
    const { id, result } = start();
    signal.addEventListener('abort', () => cancel(id), { once: true });
    return await result;
  } catch (cause) {
    throw orClosed(fromNative(cause), signal);
  }
}

/**
 * Waits for something native; `signal`, of {@link cancellable}, ends its making.
 *
 * @throws Whatever the making fails with, as a DeepLabError.
 */
export async function awaitNative<T>(make: () => NativeMaking<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  try {
    const { maker, made } = make();
    signal.addEventListener('abort', () => maker.abort(), { once: true });
    return await made;
  } catch (error) {
    throw fromNative(error);
  }
}

/** What was aborted, but not by the caller, was closed. */
function orClosed(error: DeepLabError, signal: AbortSignal): DeepLabError {
  const closed = error.code === 'ERR_ABORTED' && !signal.aborted;
  return closed ? new DeepLabError('ERR_CLOSED', 'It was closed in the middle of the call', { cause: error }) : error;
}
