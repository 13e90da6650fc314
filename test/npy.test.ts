import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { Tensor } from '../lib';
import { decodeNpy, encodeNpy } from '../lib/npy';

const invalid = (message: RegExp) =>
  expect.objectContaining({
    name: 'DeepLabError',
    code: 'ERR_INVALID_ARRAY',
    message: expect.stringMatching(message),
  });

/** A file of these header and data bytes, with the header as it stands. */
function npy(header: string, data: NodeJS.ArrayBufferView, version = 1): Buffer {
  const length = Buffer.alloc(version === 1 ? 2 : 4);
  if (version === 1) length.writeUInt16LE(Buffer.byteLength(header));
  else length.writeUInt32LE(Buffer.byteLength(header));
  const start = Buffer.concat([Buffer.from('\x93NUMPY', 'latin1'), Buffer.from([version, 0]), length]);
  return Buffer.concat([start, Buffer.from(header), Buffer.from(data.buffer, data.byteOffset, data.byteLength)]);
}

const dictionary = (descr: string, shape: string, order = 'False') =>
  `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': (${shape}), }\n`;
const six = new Float32Array([1, -2, 3.5, 0, 1e-30, 6]);

test.each([1, 2, 3])('version %i of the format is read', (version) => {
  const array = decodeNpy(npy(dictionary('<f4', '1, 2, 3'), six, version), 'a.npy');
  expect(array.shape).toEqual([1, 2, 3]);
  expect([...array.data]).toEqual([...six]);
});

test('doubles are rounded to 32 bits', () => {
  const { data } = decodeNpy(npy(dictionary('<f8', '3,'), new Float64Array([0.1, -1e-3, 2 ** 40])), 'a.npy');
  expect([...data]).toEqual([Math.fround(0.1), Math.fround(-1e-3), 2 ** 40]);
});

test('halves are read: zeros, subnormals, normals, the largest, infinities and NaN', () => {
  const halves = [0x0000, 0x8000, 0x0001, 0x03ff, 0x0400, 0x3c00, 0xc000, 0x3555, 0x7bff, 0x7c00, 0xfc00, 0x7e00];
  const { data } = decodeNpy(npy(dictionary('<f2', '12,'), new Uint16Array(halves)), 'a.npy');
  const tiny = 2 ** -24;
  const numbers = [0, -0, tiny, 1023 * tiny, 2 ** -14, 1, -2, 0.333251953125, 65504];
  expect([...data]).toEqual([...numbers, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN]);
});

test('the halves in order of their bits are in order of their values', () => {
  const positive = Uint16Array.from({ length: 0x7c01 }, (_, bits) => bits);
  const { data } = decodeNpy(npy(dictionary('<f2', '31745,'), positive), 'a.npy');
  expect(data.every((value, i) => i === 0 || value > (data[i - 1] as number))).toBe(true);
});

test.each([
  ['', [], 1],
  ['2,', [2], 2],
  ['2, 3', [2, 3], 6],
  ['0, 3', [0, 3], 0],
  [' 2 , 3 ,', [2, 3], 6],
])('the shape (%s) is %j', (text, shape, length) => {
  expect(decodeNpy(npy(dictionary('<f4', text), new Float32Array(length)), 'a.npy').shape).toEqual(shape);
});

test('the order of the header does not matter, nor where the bytes lie', () => {
  const file = npy("{'shape': (6,),'fortran_order' : False , 'descr':'<f4'}", six);
  const shifted = Buffer.concat([Buffer.alloc(3), file]).subarray(3);
  expect([...decodeNpy(shifted, 'a.npy').data]).toEqual([...six]);
});

test.each<[string, Buffer, RegExp]>([
  ['nothing', Buffer.alloc(0), /^a\.npy is no \.npy file$/],
  ['text', Buffer.from('1.0 2.0 3.0\n'), /is no \.npy file/],
  ['a file cut in its magic', npy('', six).subarray(0, 4), /is no \.npy file/],
  ['a file cut in its version', npy('', six).subarray(0, 6), /truncated in its header/],
  ['a file cut in its header', npy(dictionary('<f4', '6,'), six).subarray(0, 30), /truncated in its header/],
  ['a file cut in its numbers', npy(dictionary('<f4', '6,'), six).subarray(0, -1), /23 bytes .* expected 24 .*\[6\]/],
  ['bytes after the numbers', npy(dictionary('<f4', '5,'), six), /24 bytes of numbers: expected 20/],
  ['a version that does not exist', npy(dictionary('<f4', '6,'), six, 4), /version 4 .*: expected 1, 2 or 3/],
  ['Fortran order', npy(dictionary('<f4', '2, 3', 'True'), six), /Fortran order: save numpy\.ascontiguousarray/],
  ['big-endian numbers', npy(dictionary('>f4', '6,'), six), /holds >f4: expected little-endian floats, <f2, <f4, <f8/],
  ['integers', npy(dictionary('<i8', '3,'), six), /holds <i8/],
  ['objects', npy(dictionary('|O', '3,'), six), /holds \|O/],
  ['a structure', npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,)}", six), /holds a structure/],
  ['no shape', npy("{'descr': '<f4', 'fortran_order': False}", six), /header that is not one: \{'descr'/],
  ['a shape of words', npy(dictionary('<f4', 'six,'), six), /header that is not one/],
  ['a negative size', npy(dictionary('<f4', '-6,'), six), /header that is not one/],
  ['a size beyond counting', npy(dictionary('<f4', `0, ${'9'.repeat(30)}`), six), /header that is not one/],
])('%s: refused', (_, bytes, message) => {
  expect(() => decodeNpy(bytes, 'a.npy')).toThrow(invalid(message));
});

test('a file with some byte changed is read or refused, and nothing else', () => {
  const file = npy(dictionary('<f4', '2, 3'), six);
  fc.assert(
    fc.property(fc.nat(file.length - 1), fc.nat(255), (at, value) => {
      const changed = Buffer.from(file);
      changed[at] = value;
      try {
        expect(decodeNpy(changed, 'a.npy').data.length).toBeLessThanOrEqual(12);
      } catch (error) {
        expect(error).toMatchObject({ code: 'ERR_INVALID_ARRAY' });
      }
    }),
    { numRuns: 2000 },
  );
});

test('whatever is written is read back', () => {
  const shapes = fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 5 });
  const tensors = shapes.chain((shape) => {
    const length = shape.reduce((product, size) => product * size, 1);
    return fc
      .float32Array({ minLength: length, maxLength: length })
      .map((data) => new Tensor(Float32Array.from(data), shape));
  });
  fc.assert(
    fc.property(tensors, (tensor) => {
      const read = decodeNpy(encodeNpy(tensor), 'a.npy');
      expect(read.shape).toEqual(tensor.shape);
      expect(read.data).toEqual(tensor.data);
    }),
  );
});

test('what is written is a part of a larger array, if the tensor is', () => {
  const tensor = new Tensor(six.subarray(2, 5), [3]);
  expect([...decodeNpy(encodeNpy(tensor), 'a.npy').data]).toEqual([...six.subarray(2, 5)]);
});

test('the numbers start at a multiple of 64, after a newline', () => {
  for (const shape of [[], [6], [1, 2, 3], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 6]]) {
    const file = encodeNpy(new Tensor(new Float32Array(shape.length === 0 ? 1 : 6), shape));
    const start = 10 + file.readUInt16LE(8);
    expect(start % 64).toBe(0);
    expect(file[start - 1]).toBe(0x0a);
  }
});

/** Whether NumPy is there to ask. */
function hasNumpy(): boolean {
  try {
    execFileSync('python3', ['-c', 'import numpy'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const withNumpy = hasNumpy() ? test : test.skip;

withNumpy('NumPy reads what is written, and what it writes is read (skipped without NumPy)', () => {
  const script = [
    'import io, sys, numpy',
    'a = numpy.load(io.BytesIO(sys.stdin.buffer.read()))',
    'assert a.dtype == numpy.float32 and a.shape == (1, 2, 3), (a.dtype, a.shape)',
    'numpy.save(sys.stdout.buffer, (a * 2).astype(numpy.float64))',
  ].join('\n');
  const doubled = execFileSync('python3', ['-c', script], { input: encodeNpy(new Tensor(six, [1, 2, 3])) });
  const { data, shape } = decodeNpy(doubled, 'a.npy');
  expect(shape).toEqual([1, 2, 3]);
  expect([...data]).toEqual([...six].map((value) => value * 2));
});
