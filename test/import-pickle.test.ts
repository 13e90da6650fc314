// Pickles are programs: those that only build data are read, and nothing is ever called. Python's own pickles are made
// by test/import/generate_pickles.py; the others are written here, instruction by instruction (pickletools.py).

import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { DeepLabError } from '../lib';
import { PickleGlobal, PickleOpaque, type PickleRules, readPickle } from '../lib/import/pickle';
import type { ByteRange } from '../lib/import/weights-file';
import { fixture } from './import/archives';

const pickles: Readonly<Record<string, string>> = JSON.parse(readFileSync(fixture('pickles.json'), 'utf8'));

/** What PyTorch's rules are like: one function, one class, and storages by their number. */
const rules: PickleRules = {
  global: (name) => {
    if (name === 'collections.OrderedDict') return new PickleGlobal(name, ([items]) => new Map(items as []));
    return name === 'torch.device' ? new PickleOpaque(name) : undefined;
  },
  persistent: (id) => ({ id }),
};

function range(bytes: Buffer): ByteRange {
  return {
    size: bytes.length,
    read: async (position, length) => {
      if (position + length > bytes.length) throw new Error('read beyond the end');
      return Buffer.from(bytes.subarray(position, position + length));
    },
  };
}

/** A pickle of instructions as they stand, in which \n ends lines. */
function program(...parts: readonly (string | Buffer | number)[]): Buffer {
  return Buffer.concat(
    parts.map((part) => {
      if (typeof part === 'number') return Buffer.from([part]);
      return typeof part === 'string' ? Buffer.from(part, 'latin1') : part;
    }),
  );
}

async function load(bytes: Buffer): Promise<unknown> {
  return (await readPickle(range(bytes), 0, 'file', rules)).value;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function uint64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}

test.each(Object.keys(pickles))('what Python pickles by protocol %s is what was pickled', async (protocol) => {
  const value = (await load(Buffer.from(pickles[protocol] as string, 'base64'))) as Map<string, unknown>;
  expect(value.get('itself')).toBe(value);
  value.delete('itself');
  const integers = [0, 1, -1, 255, 256, 65535, 65536, -(2 ** 31), 2 ** 31];
  const shared = value.get('shared') as unknown[];
  expect(shared[0]).toBe(shared[1]);
  expect(value).toEqual(
    new Map<string, unknown>([
      ['integers', [...integers, 2n ** 53n, 2 ** 53 - 1, -(2n ** 63n), 2n ** 64n, 10n ** 30n]],
      ['floats', [0, 1.5, -1e300]],
      ['others', [null, true, false]],
      ['strings', ['', 'a', 'naïve €', 'line\nbreak', 'x'.repeat(300)]],
      ['tuples', [[], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4]]],
      [
        'dicts',
        new Map<unknown, unknown>([
          ['empty', new Map()],
          [1, 'one'],
        ]),
      ],
      [
        'ordered',
        new Map([
          ['b', 1],
          ['a', 2],
        ]),
      ],
      [
        'shared',
        [
          [1, 2],
          [1, 2],
        ],
      ],
    ]),
  );
});

test.each<[string, Buffer, unknown]>([
  [
    'integers in decimal',
    program('(I-7\nL12345678901234567890L\nI01\nI00\nl.'),
    [-7, 12345678901234567890n, true, false],
  ],
  [
    'strings of Python 2',
    program("(S'it\\'s \\x41'\nS\"q\"\nU", 2, 'abT', uint32(1), 'cl.'),
    ["it's A", 'q', 'ab', 'c'],
  ],
  ['dicts and lists of protocol 0', program("(dp0\nS'a'\n(lp1\nI1\nasg0\n0."), new Map([['a', [1]]])],
  ['what is copied and dropped', program('K', 1, '2(K', 2, 'K', 3, '1\x86.'), [1, 1]],
  ['a mark that is dropped', program('K', 1, '(0.'), 1],
  ['objects outside of the pickle', program('Pname\nK', 5, 'Q\x86.'), [{ id: 'name' }, { id: 5 }]],
  ['an integer without bytes', program('\x8a', 0, '.'), 0],
  ['integers of many bytes', program('\x8a', 2, 0, 0x80, '\x8b', uint32(2), 255, 0x7f, '\x86.'), [-32768, 32767]],
  [
    'bytes',
    program('C', 1, 7, 'B', uint32(1), 8, '\x96', uint64(1n), 9, '\x87.'),
    [[7], [8], [9]].map((one) => Uint8Array.from(one)),
  ],
  ['sets', program('\x8f(K', 1, 'K', 2, '\x90(K', 3, '\x91\x86.'), [new Set([1, 2]), new Set([3])]],
  ['what the memo has', program(']\x940h', 0, '.'), []],
  ['attributes of an OrderedDict, dropped', program('ccollections\nOrderedDict\n)R}K', 1, 'K', 2, 'sb.'), new Map()],
])('%s', async (_, bytes, value) => {
  expect(await load(bytes)).toEqual(value);
});

test('pickles may follow each other', async () => {
  const two = range(program('K', 1, '.K', 2, '.'));
  const first = await readPickle(two, 0, 'file', rules);
  expect(first).toEqual({ value: 1, end: 3 });
  expect(await readPickle(two, first.end, 'file', rules)).toEqual({ value: 2, end: 6 });
});

test('a pickle may be longer than what is read of a file at first', async () => {
  const text = 'x'.repeat(100_000);
  expect(await load(program('X', uint32(text.length), text, '.'))).toBe(text);
});

const systemCall = "cposix\nsystem\n(S'touch deeplab-was-here'\ntR.";

describe('a pickle that asks for more than data is refused with the name of what it asks for', () => {
  test.each<[string, Buffer, RegExp]>([
    ['os.system', program(systemCall), /^file asks for posix\.system, which is never called/],
    ['os.system under a harmless object', program('(lp0\n', systemCall), /posix\.system/],
    ['a name that is not called', program('cos\nsystem\n0K', 1, '.'), /os\.system/],
    ['builtins.eval', program('\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x031+1\x85R.'), /builtins\.eval/],
    ['__builtin__.eval', program("c__builtin__\neval\n(S'1+1'\ntR."), /__builtin__\.eval/],
    [
      'a name of a name',
      program('\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93.'),
      /OrderedDict\.__init_/,
    ],
    ['torch.load', program("ctorch\nload\n(S'other.pth'\ntR."), /torch\.load/],
    ['torch.hub.load', program('ctorch.hub\nload\n.'), /torch\.hub\.load/],
    ['a function of nothing but a module', program('c\nsystem\n.'), /asks for \.system/],
    ['a name with a colon', program('ctorch:storage\nFloatStorage\n.'), /torch:storage\.FloatStorage/],
    ['an instance by INST', program('(S"x"\nisubprocess\nPopen\n.'), /an object of subprocess\.Popen/],
    ['an instance by INST of what is known', program('(icollections\nOrderedDict\n.'), /an object of collections\.Ord/],
    ['an instance by OBJ', program('(ccollections\nOrderedDict\no.'), /an object of collections\.OrderedDict/],
    ['an instance by NEWOBJ', program('ccollections\nOrderedDict\n)\x81.'), /an object of collections\.OrderedDict/],
    [
      'an instance by NEWOBJ_EX',
      program('ccollections\nOrderedDict\n)}\x92.'),
      /an object of collections\.OrderedDict/,
    ],
    ['a call of a class that is only a type', program('ctorch\ndevice\n)R.'), /a call of torch\.device/],
    ['a call of a string', program("S'system'\n)R."), /a call of a string/],
    ['a call of nothing', program('N)R.'), /a call of None/],
    ['a call of what came out of a call', program('ccollections\nOrderedDict\n)R)R.'), /a call of a Map/],
    ['the state of a list', program(']}b.'), /the state of a Array to be set/],
    ['the state of a function', program('ccollections\nOrderedDict\n}b.'), /the state of collections\.OrderedDict/],
    ['the extension registry', program('\x82', 1, '.'), /the extension registry/],
  ])('%s', async (_, bytes, message) => {
    await expect(load(bytes)).rejects.toMatchObject({
      name: 'DeepLabError',
      code: 'ERR_UNSAFE_WEIGHTS',
      message: expect.stringMatching(message),
    });
  });
});

/** A tuple of two of the tuple before, thirty times over: 2^30 objects for who walks through them. */
const laughs = program('K', 1, ...Array.from({ length: 30 }, (_, i) => program('p', `${i}\n0g${i}\ng${i}\n\x86`)), '.');

/** A list of 100,000 pairs, of which an OrderedDict is made 100,000 times. */
function manyCalls(): Buffer {
  const list = program(']p0\n(', 'K\x01K\x01\x86'.repeat(100_000), 'e0');
  return program(list, 'ccollections\nOrderedDict\np1\n0', 'g1\ng0\n\x85R0'.repeat(100_000), '.');
}

describe('a pickle that is damaged, or takes too much, is refused', () => {
  test.each<[string, Buffer, RegExp]>([
    ['nothing', program(), /ends in the middle of its pickle/],
    ['no end', program('K', 1), /ends in the middle/],
    ['an end without a value', program('.'), /takes more from its stack than is there/],
    ['an instruction that does not exist', program('\xff.'), /instruction that does not exist: 0xff/],
    ['instructions called as methods are', program('\x00.'), /does not exist: 0x0/],
    ['protocol 6', program('\x80\x06N.'), /protocol 6: expected 0 to 5/],
    ['a value below the mark', program('K', 1, '(0(a.'), /takes more from its stack/],
    ['a mark that is missing', program('K', 1, 't.'), /a mark that is not there/],
    ['an unknown memo', program('h', 9, '.'), /recalls the object 9 before it is there/],
    ['a dict with a key too many', program('(K', 1, 'd.'), /a key without a value/],
    ['items of a list', program(']K', 1, 'K', 2, 's.'), /sets items of what is no dict/],
    ['an element of a dict', program('}K', 1, 'a.'), /appends to what is no list/],
    ['an element of a list, as of a set', program('](K', 1, '\x90.'), /adds to what is no set/],
    ['a class named by numbers', program('K', 1, 'K', 2, '\x93.'), /names a class by no string/],
    ['arguments that are no tuple', program('ccollections\nOrderedDict\nNR.'), /with no tuple/],
    ['an integer that is none', program('Iseven\n.'), /an integer that is none: seven/],
    ['an integer of a thousand digits', program(`L${'9'.repeat(1000)}L\n.`), /an integer that is none/],
    ['an integer of 2 GB', program('\x8b', uint32(2 ** 31), '.'), /an integer of 2147483648 bytes/],
    ['an integer of 255 bytes', program('\x8a', 255, '.'), /an integer of 255 bytes/],
    ['a string of 4 GB', program('X', uint32(2 ** 32 - 1), '.'), /a string of 4294967295 bytes/],
    ['a string of 2^64 bytes', program('\x8d', uint64(2n ** 64n - 1n), '.'), /a string of 18446744073709552000 bytes/],
    ['bytes of 2^63', program('\x8e', uint64(2n ** 63n), '.'), /a string of 9223372036854776000 bytes/],
    ['a string that goes beyond the end', program('X', uint32(1000), 'abc.'), /ends in the middle/],
    ['a line without an end', program('c', 'x'.repeat(10_000)), /a line of more than 4096 bytes/],
    ['a string without quotes', program('Sabc\n.'), /a string without quotes/],
    ['a buffer outside of the pickle', program('\x97.'), /does not exist: 0x97/],
    ['a million dicts', program('}'.repeat(1_000_000), '.'), /builds more than 500000 objects/],
    ['a million tuples', program(')'.repeat(1_000_000), '.'), /builds more than 500000 objects/],
    ['a million calls', program('ccollections\nOrderedDict\np0\n0', 'g0\n)R0'.repeat(500_000), '.'), /500000 objects/],
    ['a long list given to many calls', manyCalls(), /gives its calls more than 5000000 arguments/],
    ['three million numbers', program('K\x01'.repeat(3_000_000), '.'), /more than 2000000 instructions/],
    ['three million marks', program('('.repeat(3_000_000), '.'), /more than 2000000 instructions/],
    [
      'a hundred megabytes',
      program('X', uint32(2 ** 26 - 100), Buffer.alloc(2 ** 26 + 100, 'N')),
      /of more than 67108864 bytes/,
    ],
  ])('%s', async (_, bytes, message) => {
    await expect(load(bytes)).rejects.toMatchObject({
      name: 'DeepLabError',
      code: 'ERR_INVALID_WEIGHTS',
      message: expect.stringMatching(message),
    });
  });
});

test('objects inside each other, however deep, are built without recursion', async () => {
  let value = await load(program(']', '\x85'.repeat(400_000), '.'));
  let depth = 0;
  for (; Array.isArray(value) && value.length > 0; depth++) value = value[0];
  expect(depth).toBe(400_000);
});

test('a small pickle of many references stays small', async () => {
  const before = process.memoryUsage().heapUsed;
  const value = await load(laughs);
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(50e6);
  expect(value).toHaveLength(2);
});

describe('whatever the bytes are, a pickle is read or refused, and nothing else', () => {
  const settles = async (bytes: Buffer) => {
    const error = await load(bytes).catch((reason: unknown) => reason);
    if (error instanceof Error) {
      expect(error).toBeInstanceOf(DeepLabError);
      expect((error as DeepLabError).code).toMatch(/^ERR_(INVALID|UNSAFE)_WEIGHTS$/);
    }
  };

  test('at random', () =>
    fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), (bytes) => settles(Buffer.from(bytes))),
      { numRuns: 3000 },
    ));

  test('of instructions in any order', () => {
    const instructions =
      '(012FIJKLMNPQRSTUVXabcd}eghijlopqrstu)G\x80\x81\x85\x86\x87\x88\x89\x8a\x8c\x8f\x90\x91\x93\x94]';
    const code = fc.constantFrom(...instructions).map((one) => one.charCodeAt(0));
    const byte = fc.oneof(code, code, code, fc.nat(3), fc.constantFrom(10, 255));
    return fc.assert(
      fc.asyncProperty(fc.array(byte, { maxLength: 60 }), (bytes) => settles(Buffer.from([...bytes, 46]))),
      { numRuns: 5000 },
    );
  });

  test.each(Object.keys(pickles))('of protocol %s, cut or changed', async (protocol) => {
    const original = Buffer.from(pickles[protocol] as string, 'base64');
    for (let length = 0; length < original.length; length++) {
      await expect(load(original.subarray(0, length))).rejects.toMatchObject({ code: 'ERR_INVALID_WEIGHTS' });
    }
    const change = fc.tuple(fc.nat(original.length - 1), fc.nat(255));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const changed = Buffer.from(original);
        for (const [at, value] of changes) changed[at] = value;
        return settles(changed);
      }),
      { numRuns: 1000 },
    );
  });
});
