// Protobuf messages that lie in memory, decoded by protobufjs. Files too large for that are walked over (wire-format.ts).

import type { Type } from 'protobufjs/light';
import { damaged } from './weights-file';

/**
 * A message with every field, those that are not there as 0, empty or null; 64-bit integers are numbers, and `bytes` are
 * views.
 *
 * Fields of one or two bytes become objects of a hundred: `mostBytes` says how long such a message may sensibly be.
 *
 * @param what - What it is, for the message of the error.
 * @throws ERR_INVALID_WEIGHTS
 */
export function decodeMessage<T>(type: Type, bytes: Uint8Array, mostBytes: number, file: string, what: string): T {
  if (bytes.length > mostBytes) {
    throw damaged(file, `has ${bytes.length} bytes of ${what}: expected at most ${mostBytes}`);
  }
  try {
    return type.toObject(type.decode(bytes), { longs: Number, defaults: true }) as T;
  } catch (cause) {
    throw damaged(file, `is damaged in ${what}: ${(cause as Error).message}`, cause);
  }
}
