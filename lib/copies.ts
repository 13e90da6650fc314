// Copies of callers' memory, made at once. Whoever calls may reuse its arrays, detach them, resize them, or share them
// with other threads that write: what a call works on, on threads of its own, must be none of that.

import { DeepLabError, invalidArgument } from './errors';

/**
 * @param name - What errors call the array.
 * @throws ERR_INVALID_ARGUMENT for an array whose memory was detached, or shrunk away under it; ERR_OUT_OF_MEMORY
 */
export function copyBytes(name: string, array: Uint8Array): Uint8Array {
  return copied(name, array, () => new Uint8Array(array));
}

/** As {@link copyBytes}. */
export function copyFloats(name: string, array: Float32Array): Float32Array {
  return copied(name, array, () => new Float32Array(array));
}

/** Not slice(): that asks the array's class what to make, and a Buffer's own one copies nothing. */
function copied<T extends Uint8Array | Float32Array>(name: string, array: T, copy: () => T): T {
  try {
    return copy();
  } catch (cause) {
    if ((cause as Error).name === 'RangeError') {
      throw new DeepLabError('ERR_OUT_OF_MEMORY', `There is no memory for a copy of ${name}`, { cause });
    }
    throw invalidArgument(name, 'memory that is not detached', array);
  }
}
