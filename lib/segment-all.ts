// Many images through one function, some at once: takes the next input only when there is room, and yields what each
// comes to. What is done with an image is its caller's.

import { type CallOptions, cancellable, throwIfAborted } from './abort';
import { type DeepLabError, invalidArgument } from './errors';
import type { ImageInput } from './image';
import { fromNative } from './native';
import { checkOptions, integerRule, type OptionRule, oneOfRule } from './options';
import { type SegmentOptions, segmentRules } from './segment-options';
import type { Segmentation } from './segmentation';

/** Images one after the other: an array, an iterable, an async iterable or a stream of objects, Node's or the web's. */
export type ImageSource<T extends ImageInput = ImageInput> = Iterable<T> | AsyncIterable<T> | WebStream<T>;

/** What is used of a ReadableStream of the web. */
interface WebStream<T> {
  getReader(): { read(): Promise<{ done: boolean; value?: T | undefined }>; cancel(): Promise<void> };
}

/** Options of {@link DeepLab.segmentAll}. `timeoutMs` is for each image, `signal` for all of them. */
export interface SegmentAllOptions extends SegmentOptions {
  /** Most images at once that were taken from the inputs and not yet yielded, 1..1024. Default: 2 for each of a batch, and 2. */
  readonly concurrency?: number | undefined;
  /** Results in the order of the `inputs`, or each as soon as it is `ready`. Default `inputs`. */
  readonly order?: 'inputs' | 'ready' | undefined;
}

/** What an image came to: a result, or an error. */
export type SegmentedImage<T extends ImageInput = ImageInput> = {
  /** The image's place among the inputs, from 0. */
  readonly index: number;
  readonly input: T;
} & (
  | { readonly result: Segmentation; readonly error?: undefined }
  | { readonly result?: undefined; readonly error: DeepLabError }
);

const rules: Readonly<Record<keyof SegmentAllOptions, OptionRule>> = {
  ...segmentRules,
  concurrency: integerRule(1, 1024),
  order: oneOfRule(['inputs', 'ready']),
};

const work = 'segmentation';

/** An image that was taken and not yet yielded. */
interface Held<T extends ImageInput> {
  outcome?: SegmentedImage<T>;
  /** Resolves when there is an outcome. */
  readonly settled: Promise<void>;
}

/**
 * @param concurrency - The default.
 * @param segment - Segments an image.
 * @throws What the docstring of `DeepLab.segmentAll` says; wrong options at once, not when the first result is asked for.
 */
export function segmentAll<T extends ImageInput>(
  inputs: ImageSource<T>,
  options: SegmentAllOptions,
  concurrency: number,
  segment: (input: T, options: SegmentOptions) => Promise<Segmentation>,
): AsyncGenerator<SegmentedImage<T>, void, undefined> {
  checkOptions(options, rules);
  const source = iteratorOf(inputs);
  const { concurrency: window = concurrency, order = 'inputs', signal, ...each } = options;
  return generate(source, window, order, signal, (input, stop) =>
    segment(input, { priority: 'bulk', ...each, signal: stop }),
  );
}

async function* generate<T extends ImageInput>(
  source: AsyncIterator<T> | Iterator<T>,
  window: number,
  order: 'inputs' | 'ready',
  signal: CallOptions['signal'],
  segment: (input: T, stop: AbortSignal) => Promise<Segmentation>,
): AsyncGenerator<SegmentedImage<T>, void, undefined> {
  const stop = new AbortController();
  const held: Held<T>[] = [];
  let index = 0;
  let exhausted = false;
  let pulling: Promise<void> | undefined;

  const start = (input: T) => {
    const place = { index: index++, input };
    const one: Held<T> = {
      settled: segment(input, stop.signal).then(
        (result) => {
          one.outcome = { ...place, result };
        },
        (error: unknown) => {
          one.outcome = { ...place, error: fromNative(error) };
        },
      ),
    };
    held.push(one);
  };
  const pull = async () => {
    const { done, value } = await source.next();
    if (done) exhausted = true;
    else start(value);
    pulling = undefined;
  };
  const takeReady = () => {
    const at = order === 'inputs' ? 0 : held.findIndex(({ outcome }) => outcome !== undefined);
    const outcome = held[at]?.outcome;
    if (outcome !== undefined) held.splice(at, 1);
    return outcome;
  };

  try {
    while (true) {
      throwIfAborted(signal, work);
      if (!exhausted && pulling === undefined && held.length < window) {
        pulling = pull();
        pulling.catch(() => {}); // of which the wait below hears
      }
      const outcome = takeReady();
      if (outcome?.error?.code === 'ERR_CLOSED') throw outcome.error;
      if (outcome !== undefined) {
        yield outcome;
      } else if (exhausted && held.length === 0) {
        return;
      } else {
        const next = order === 'inputs' ? held.slice(0, 1) : held;
        const soonest = [...(pulling === undefined ? [] : [pulling]), ...next.map(({ settled }) => settled)];
        await cancellable({ signal }, work, () => Promise.race(soonest));
      }
    }
  } finally {
    stop.abort();
    // An iterator that is asked for its next cannot be told to return: it would answer only after that.
    if (pulling === undefined && !exhausted) await source.return?.();
    else pulling?.then(() => source.return?.()).catch(() => {});
  }
}

function iteratorOf<T extends ImageInput>(inputs: ImageSource<T>): AsyncIterator<T> | Iterator<T> {
  // A string and bytes are iterable as well: one picture, not many.
  if (typeof inputs === 'object' && inputs !== null && !ArrayBuffer.isView(inputs)) {
    if (Symbol.asyncIterator in inputs) return inputs[Symbol.asyncIterator]();
    if (Symbol.iterator in inputs) return inputs[Symbol.iterator]();
    if ('getReader' in inputs) return readerOf(inputs.getReader());
  }
  throw invalidArgument('inputs', 'iterable, async iterable or stream of images', inputs);
}

/** For streams of the web that are not iterable. */
function readerOf<T>(reader: ReturnType<WebStream<T>['getReader']>): AsyncIterator<T> {
  return {
    async next() {
      const { done, value } = await reader.read();
      return done ? { done, value: undefined } : { done, value: value as T };
    },
    async return() {
      await reader.cancel();
      return { done: true, value: undefined };
    },
  };
}
