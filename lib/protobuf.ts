// Schemas of protobuf messages as objects, for protobufjs. Each belongs to the reader or writer of its format.

import type { IType, Type } from 'protobufjs/light';

/** The library, loaded when it is first used: that takes as long as loading all the rest. */
export function protobuf(): typeof import('protobufjs/light') {
  return require('protobufjs/light') as typeof import('protobufjs/light');
}

/** The fields of a message: name, number and type, `repeated` where there may be several. */
export type Fields = Readonly<Record<string, readonly [number: number, type: string, rule?: 'repeated']>>;

/** A function that gives the message types of a schema, by name. */
export function messageTypes<Name extends string>(
  messages: Readonly<Record<Name, Fields>>,
): () => Readonly<Record<Name, Type>> {
  let types: Readonly<Record<Name, Type>> | undefined;
  return () => {
    types ??= resolved(messages);
    return types;
  };
}

function resolved<Name extends string>(messages: Readonly<Record<Name, Fields>>): Readonly<Record<Name, Type>> {
  const nested: Record<string, IType> = {};
  for (const [name, fields] of Object.entries<Fields>(messages)) {
    const entries = Object.entries(fields).map(([field, [id, type, rule]]) => [
      field,
      rule === undefined ? { id, type } : { id, type, rule },
    ]);
    // proto2: a field that is given is written, if it is zero as well.
    nested[name] = { edition: 'proto2', fields: Object.fromEntries(entries) };
  }
  const root = protobuf().Root.fromJSON({ nested });
  const found = Object.keys(messages).map((name) => [name, root.lookupType(name)]);
  return Object.fromEntries(found) as Record<Name, Type>;
}
