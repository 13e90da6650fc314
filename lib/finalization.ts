// A net for models and CRFs that nobody closes: when one is collected, its native session is closed. The native object's
// own finalizer would do that as well, but it waits for the session's thread in the middle of a garbage collection.

interface Closable {
  close(): Promise<unknown>;
}

const forgotten = new FinalizationRegistry<Closable>((native) => {
  native.close().catch(() => undefined); // nobody is left to hear of it
});

/** Closes `native` some time after `owner` was collected, unless that was done. `native` must not refer to `owner`. */
export function closeWhenForgotten(owner: object, native: Closable): void {
  forgotten.register(owner, native);
}
