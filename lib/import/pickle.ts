// Reads pickles, and calls nothing: a pickle is a program for a stack machine that may name any function of Python and
// have it called, so a file of weights from a stranger could do anything. Here its names mean only what `PickleRules`
// give them, and the first other one refuses the file. The instructions: Python's Lib/pickletools.py, protocols 0 to 5.
// What PyTorch's names mean is for pytorch-objects.ts.

import { DeepLabError } from '../errors';
import { type ByteRange, damaged } from './weights-file';

/** Bounds of what a pickle may take. Pickles of networks have thousands of tensors of thirty instructions each. */
const mostBytes = 2 ** 26;
const mostInstructions = 2_000_000;
const mostContainers = 500_000;
const mostArguments = 5_000_000;
const mostIntegerBytes = 64;
const mostLineBytes = 4096;

/** A function or class of Python that a pickle may name, by what stands for it here. */
export class PickleGlobal {
  readonly name: string;
  /** What its call gives; without it, a call is refused. */
  readonly call: ((args: readonly unknown[]) => unknown) | undefined;

  constructor(name: string, call?: (args: readonly unknown[]) => unknown) {
    this.name = name;
    this.call = call;
  }
}

/** An object that is harmless and of no interest, such as a device. */
export class PickleOpaque {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

/** What the names in a pickle mean. */
export interface PickleRules {
  /** By `module.name`; undefined refuses the file. */
  readonly global: (name: string) => PickleGlobal | PickleOpaque | undefined;
  /** The object that is kept outside of the pickle. */
  readonly persistent: (id: unknown) => unknown;
}

/** What a pickle built, and the position behind it. */
export interface Unpickled {
  /**
   * None is null; dicts are Map; lists and tuples are arrays, which may contain themselves; sets are Set; bytes are
   * Uint8Array; integers beyond 2^53 are bigint.
   */
  readonly value: unknown;
  readonly end: number;
}

/** The bytes at hand end before the pickle does. */
class PickleEnds extends Error {}

/**
 * Reads the pickle at `position` of `source`.
 *
 * @param name - What errors call it: "<name> <what>".
 * @throws ERR_UNSAFE_WEIGHTS naming what it would call, ERR_INVALID_WEIGHTS if it is damaged or out of bounds.
 */
export async function readPickle(
  source: ByteRange,
  position: number,
  name: string,
  rules: PickleRules,
): Promise<Unpickled> {
  // Nothing says how long a pickle is, so it is tried with more and more of the file.
  const there = Math.max(0, source.size - position);
  for (let length = 4096; ; length *= 8) {
    const tried = Math.min(length, there, mostBytes);
    const bytes = await source.read(position, tried);
    try {
      const { value, end } = unpickle(bytes, name, rules);
      return { value, end: position + end };
    } catch (error) {
      if (!(error instanceof PickleEnds)) throw error;
      if (tried === there) throw damaged(name, 'ends in the middle of its pickle');
      if (tried === mostBytes) throw damaged(name, `has a pickle of more than ${mostBytes} bytes`);
    }
  }
}

/** Instructions by their byte. Those missing do not exist. */
type Instructions = Readonly<Record<string, (machine: PickleMachine) => void>>;

/** STOP, a full stop. */
const stop = 0x2e;

function unpickle(bytes: Buffer, name: string, rules: PickleRules): Unpickled {
  const machine = new PickleMachine(bytes, name, rules);
  for (let count = 0; count < mostInstructions; count++) {
    const code = machine.byte();
    if (code === stop) return { value: machine.pop(), end: machine.at };
    const instruction = instructionsByCode.get(code);
    if (instruction === undefined) {
      throw machine.invalid(`has an instruction that does not exist: 0x${code.toString(16)}`);
    }
    instruction(machine);
  }
  throw machine.invalid(`has a pickle of more than ${mostInstructions} instructions`);
}

class PickleMachine {
  at = 0;
  readonly memo = new Map<number, unknown>();
  readonly #bytes: Buffer;
  readonly #name: string;
  readonly #rules: PickleRules;
  readonly #stack: unknown[] = [];
  /** Heights of the stack where MARK was met. */
  readonly #marks: number[] = [];
  #containers = 0;
  #arguments = 0;

  constructor(bytes: Buffer, name: string, rules: PickleRules) {
    this.#bytes = bytes;
    this.#name = name;
    this.#rules = rules;
  }

  invalid(what: string): DeepLabError {
    return damaged(this.#name, what);
  }

  unsafe(what: string): DeepLabError {
    const advice = 'only tensors are read, as torch.save(model.state_dict(), file) writes them';
    return new DeepLabError('ERR_UNSAFE_WEIGHTS', `${this.#name} asks for ${what}, which is never called: ${advice}`);
  }

  byte(): number {
    const byte = this.#bytes[this.at];
    if (byte === undefined) throw new PickleEnds();
    this.at++;
    return byte;
  }

  take(length: number): Buffer {
    if (length > mostBytes) throw this.invalid(`has a string of ${length} bytes: expected at most ${mostBytes}`);
    if (this.at + length > this.#bytes.length) throw new PickleEnds();
    this.at += length;
    return this.#bytes.subarray(this.at - length, this.at);
  }

  /** As far as the newline, without it. */
  line(encoding: 'utf8' | 'latin1' = 'utf8'): string {
    const end = this.#bytes.subarray(this.at, this.at + mostLineBytes).indexOf(0x0a);
    if (end >= 0) return this.take(end + 1).toString(encoding, 0, end);
    if (this.at + mostLineBytes > this.#bytes.length) throw new PickleEnds();
    throw this.invalid(`has a line of more than ${mostLineBytes} bytes`);
  }

  /** An unsigned length of 8 bytes. */
  length8(): number {
    return Number(this.take(8).readBigUInt64LE());
  }

  push(value: unknown): void {
    this.#stack.push(value);
  }

  /** Pushes something that takes memory of its own. */
  pushContainer(value: unknown): void {
    this.#containers++;
    if (this.#containers > mostContainers) throw this.invalid(`builds more than ${mostContainers} objects`);
    this.#stack.push(value);
  }

  top(): unknown {
    if (this.#stack.length <= (this.#marks.at(-1) ?? 0)) throw this.invalid('takes more from its stack than is there');
    return this.#stack.at(-1);
  }

  pop(): unknown {
    const value = this.top();
    this.#stack.pop();
    return value;
  }

  mark(): void {
    this.#marks.push(this.#stack.length);
  }

  popToMark(): unknown[] {
    const mark = this.#marks.pop();
    if (mark === undefined) throw this.invalid('goes back to a mark that is not there');
    return this.#stack.splice(mark);
  }

  /** POP: the object on top, or else the mark. */
  drop(): void {
    if (this.#marks.at(-1) === this.#stack.length) this.#marks.pop();
    else this.pop();
  }

  recall(index: number): void {
    if (!this.memo.has(index)) throw this.invalid(`recalls the object ${index} before it is there`);
    this.#stack.push(this.memo.get(index));
  }

  global(module: unknown, name: unknown): void {
    if (typeof module !== 'string' || typeof name !== 'string') throw this.invalid('names a class by no string');
    const full = `${module}.${name}`;
    const meaning = this.#rules.global(full);
    if (meaning === undefined) throw this.unsafe(full);
    this.#stack.push(meaning);
  }

  persistent(id: unknown): void {
    this.pushContainer(this.#rules.persistent(id));
  }

  /** Calls `callee`, if it is one of those that the rules explain. */
  call(callee: unknown, args: unknown): void {
    if (!(callee instanceof PickleGlobal) || callee.call === undefined) throw this.unsafe(`a call of ${named(callee)}`);
    if (!Array.isArray(args)) throw this.invalid(`calls ${callee.name} with no tuple`);
    this.#give(args);
    for (const argument of args) this.#give(argument);
    this.pushContainer(callee.call(args));
  }

  /** Counts what a call may look at: a pickle may give it the same long list a million times. */
  #give(argument: unknown): void {
    if (Array.isArray(argument)) this.#arguments += argument.length;
    else if (argument instanceof Map || argument instanceof Set) this.#arguments += argument.size;
    if (this.#arguments > mostArguments) throw this.invalid(`gives its calls more than ${mostArguments} arguments`);
  }

  /** Attributes of an object: those of an OrderedDict or an opaque object are dropped, others do not come up. */
  build(): void {
    this.pop();
    const target = this.top();
    if (!(target instanceof Map || target instanceof PickleOpaque)) {
      throw this.unsafe(`the state of ${named(target)} to be set`);
    }
  }

  append(values: readonly unknown[]): void {
    const target = this.top();
    if (!Array.isArray(target)) throw this.invalid('appends to what is no list');
    for (const value of values) target.push(value);
  }

  add(values: readonly unknown[]): void {
    const target = this.top();
    if (!(target instanceof Set)) throw this.invalid('adds to what is no set');
    for (const value of values) target.add(value);
  }

  setItems(values: readonly unknown[]): void {
    const target = this.top();
    if (!(target instanceof Map)) throw this.invalid('sets items of what is no dict');
    if (values.length % 2 !== 0) throw this.invalid('has a key without a value');
    for (let i = 0; i < values.length; i += 2) target.set(values[i], values[i + 1]);
  }

  /** A signed integer of two's complement, least significant byte first. */
  long(length: number): bigint | number {
    if (length > mostIntegerBytes) throw this.invalid(`has an integer of ${length} bytes`);
    const digits = Buffer.from(this.take(length)).reverse().toString('hex');
    return small(BigInt.asIntN(length * 8, BigInt(`0x0${digits}`)));
  }

  /** An integer in decimal, which `L` may follow. */
  decimal(): bigint | number | boolean {
    const line = this.line();
    if (line === '00' || line === '01') return line === '01';
    if (!/^-?\d{1,150}L?$/.test(line)) throw this.invalid(`has an integer that is none: ${line.slice(0, 40)}`);
    return small(BigInt(line.replace('L', '')));
  }

  float(): number {
    const line = this.line().trim();
    const special = /^([+-]?)(inf|nan)$/i.exec(line);
    if (special === null) return Number(line);
    if (special[2]?.toLowerCase() === 'nan') return Number.NaN;
    return special[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }

  /** A string as Python 2 shows it, in quotes. */
  quoted(): string {
    const [, , inner] = /^(['"])(.*)\1$/s.exec(this.line()) ?? [];
    if (inner === undefined) throw this.invalid('has a string without quotes');
    return inner.replace(/\\x([0-9a-f]{2})|\\(.)/g, (_, hex?: string, plain?: string) =>
      hex === undefined ? ({ n: '\n', t: '\t', r: '\r' }[plain as string] ?? (plain as string)) : fromHex(hex),
    );
  }
}

function fromHex(hex: string): string {
  return String.fromCharCode(Number.parseInt(hex, 16));
}

function small(value: bigint): bigint | number {
  return BigInt(Number.MIN_SAFE_INTEGER) <= value && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
}

/** What an object is called in a message. */
function named(value: unknown): string {
  if (value instanceof PickleGlobal || value instanceof PickleOpaque) return value.name;
  return value === null ? 'None' : `a ${typeof value === 'object' ? value.constructor.name : typeof value}`;
}

const tuple = (length: number) => (machine: PickleMachine) => {
  const values = Array.from({ length }, () => machine.pop());
  machine.pushContainer(values.reverse());
};

const extension = (machine: PickleMachine) => {
  throw machine.unsafe('an object of the extension registry');
};

/** Protocols in which each came: pickletools.py. */
const instructions: Instructions = {
  // Protocol 0 and 1.
  '(': (m) => m.mark(),
  '0': (m) => m.drop(),
  '1': (m) => void m.popToMark(),
  '2': (m) => m.push(m.top()),
  F: (m) => m.push(m.float()),
  I: (m) => m.push(m.decimal()),
  J: (m) => m.push(m.take(4).readInt32LE()),
  K: (m) => m.push(m.byte()),
  L: (m) => m.push(m.decimal()),
  M: (m) => m.push(m.take(2).readUInt16LE()),
  N: (m) => m.push(null),
  P: (m) => m.persistent(m.line()),
  Q: (m) => m.persistent(m.pop()),
  R: (m) => {
    const args = m.pop();
    m.call(m.pop(), args);
  },
  S: (m) => m.push(m.quoted()),
  T: (m) => m.push(m.take(m.take(4).readUInt32LE()).toString()),
  U: (m) => m.push(m.take(m.byte()).toString()),
  V: (m) => m.push(m.line('latin1').replace(/\\u([0-9a-f]{4})/g, (_, hex: string) => fromHex(hex))),
  X: (m) => m.push(m.take(m.take(4).readUInt32LE()).toString()),
  a: (m) => m.append([m.pop()]),
  b: (m) => m.build(),
  c: (m) => m.global(m.line(), m.line()),
  d: (m) => {
    const items = m.popToMark();
    m.pushContainer(new Map());
    m.setItems(items);
  },
  '}': (m) => m.pushContainer(new Map()),
  e: (m) => m.append(m.popToMark()),
  g: (m) => m.recall(Number(m.decimal())),
  h: (m) => m.recall(m.byte()),
  i: (m) => {
    throw m.unsafe(`an object of ${m.line()}.${m.line()}`);
  },
  j: (m) => m.recall(m.take(4).readUInt32LE()),
  l: (m) => m.pushContainer(m.popToMark()),
  ']': (m) => m.pushContainer([]),
  o: (m) => {
    throw m.unsafe(`an object of ${named(m.popToMark()[0])}`);
  },
  p: (m) => void m.memo.set(Number(m.decimal()), m.top()),
  q: (m) => void m.memo.set(m.byte(), m.top()),
  r: (m) => void m.memo.set(m.take(4).readUInt32LE(), m.top()),
  s: (m) => {
    const value = m.pop();
    m.setItems([m.pop(), value]);
  },
  t: (m) => m.pushContainer(m.popToMark()),
  ')': (m) => m.pushContainer([]),
  u: (m) => m.setItems(m.popToMark()),
  G: (m) => m.push(m.take(8).readDoubleBE()),
  // Protocol 2.
  '\x80': (m) => {
    const protocol = m.byte();
    if (protocol > 5) throw m.invalid(`is pickled by protocol ${protocol}: expected 0 to 5`);
  },
  '\x81': (m) => {
    m.pop();
    throw m.unsafe(`an object of ${named(m.pop())}`);
  },
  '\x82': extension,
  '\x83': extension,
  '\x84': extension,
  '\x85': tuple(1),
  '\x86': tuple(2),
  '\x87': tuple(3),
  '\x88': (m) => m.push(true),
  '\x89': (m) => m.push(false),
  '\x8a': (m) => m.push(m.long(m.byte())),
  '\x8b': (m) => m.push(m.long(m.take(4).readUInt32LE())),
  // Protocol 3.
  B: (m) => m.pushContainer(Uint8Array.from(m.take(m.take(4).readUInt32LE()))),
  C: (m) => m.pushContainer(Uint8Array.from(m.take(m.byte()))),
  // Protocol 4.
  '\x8c': (m) => m.push(m.take(m.byte()).toString()),
  '\x8d': (m) => m.push(m.take(m.length8()).toString()),
  '\x8e': (m) => m.pushContainer(Uint8Array.from(m.take(m.length8()))),
  '\x8f': (m) => m.pushContainer(new Set()),
  '\x90': (m) => m.add(m.popToMark()),
  '\x91': (m) => m.pushContainer(new Set(m.popToMark())),
  '\x92': (m) => {
    m.pop();
    m.pop();
    throw m.unsafe(`an object of ${named(m.pop())}`);
  },
  '\x93': (m) => {
    const name = m.pop();
    m.global(m.pop(), name);
  },
  '\x94': (m) => void m.memo.set(m.memo.size, m.top()),
  '\x95': (m) => void m.take(8), // a frame's length: of interest only for reading ahead
  // Protocol 5; its buffers outside of the pickle have none to be in.
  '\x96': (m) => m.pushContainer(Uint8Array.from(m.take(m.length8()))),
};

const instructionsByCode = new Map(Object.entries(instructions).map(([code, run]) => [code.charCodeAt(0), run]));
