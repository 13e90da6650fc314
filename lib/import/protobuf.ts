// Protobuf messages that lie in memory, decoded by protobufjs. Schemas belong to the readers of the formats; large files
// are not decoded as a whole (caffe.ts says why).

import { type IType, Root, type Type } from 'protobufjs/light';
import { damaged } from './random-access-file';

/** The fields of a message: name, number and type, `repeated` where there may be several. */
export type Fields = Readonly<Record<string, readonly [number: number, type: string, rule?: 'repeated']>>;

/** The message types of a schema, by name. */
export function messageTypes<Name extends string>(messages: Readonly<Record<Name, Fields>>): Record<Name, Type> {
  const nested: Record<string, IType> = {};
  for (const [name, fields] of Object.entries<Fields>(messages)) {
    const entries = Object.entries(fields).map(([field, [id, type, rule]]) => [
      field,
      rule === undefined ? { id, type } : { id, type, rule },
    ]);
    nested[name] = { fields: Object.fromEntries(entries) };
  }
  const root = Root.fromJSON({ nested });
  const found = Object.keys(messages).map((name) => [name, root.lookupType(name)]);
  return Object.fromEntries(found) as Record<Name, Type>;
}

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
