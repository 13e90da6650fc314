// NumPy's files of one array. The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. Read
// are floats in C order, little-endian, in versions 1 to 3 of the format; written are 32-bit floats in version 1. Other
// numbers and orders are read from archives of arrays alone: import/npz.ts.

import { DeepLabError } from './errors';
import { decodeFloats, encodeFloats, type FloatType, floatBytes } from './floats';
import { Tensor } from './tensor';

const magic = Buffer.from('\x93NUMPY', 'latin1');

const types: Readonly<Record<string, FloatType>> = { '<f2': 'f16', '<f4': 'f32', '<f8': 'f64' };

/**
 * The array in the bytes of a .npy file, its numbers rounded to 32 bits.
 *
 * @param name - What errors call the file.
 * @throws ERR_INVALID_ARRAY if the file is damaged or holds something else.
 */
export function decodeNpy(bytes: Uint8Array, name: string): Tensor<Float32Array> {
  const { descr, fortranOrder, shape, start } = decodeNpyHeader(bytes, name);
  const type = types[descr ?? ''];
  if (type === undefined) {
    const given = descr ?? 'a structure';
    throw invalid(name, `holds ${given}: expected little-endian floats, ${Object.keys(types).join(', ')}`);
  }
  if (fortranOrder) throw invalid(name, 'is in Fortran order: save numpy.ascontiguousarray(array)');
  const length = shape.reduce((product, size) => product * size, floatBytes[type]);
  if (bytes.length - start !== length) {
    throw invalid(
      name,
      `has ${bytes.length - start} bytes of numbers: expected ${length} for shape [${shape.join(',')}]`,
    );
  }
  return new Tensor(decodeFloats(bytes.subarray(start), type), shape);
}

/** What a .npy file says before its numbers. */
export interface NpyHeader {
  /** Type of the elements, such as `<f4`; undefined for structures. */
  readonly descr: string | undefined;
  /** Whether the first index varies fastest. */
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
  /** The position of the first number. */
  readonly start: number;
}

/**
 * The header of a .npy file, of which `bytes` may be the beginning alone.
 *
 * @param name - What errors call the file.
 * @throws ERR_INVALID_ARRAY if it is none, or goes beyond `bytes`.
 */
export function decodeNpyHeader(bytes: Uint8Array, name: string): NpyHeader {
  const { header, start } = splitHeader(bytes, name);
  const descr = /'descr' *: *'([^']*)'/.exec(header)?.[1];
  const order = /'fortran_order' *: *(True|False)\b/.exec(header)?.[1];
  const sizes = /'shape' *: *\(((?: *\d+ *,)* *(?:\d+)? *)\)/.exec(header)?.[1];
  const shape = sizes?.split(',').flatMap((size) => (size.trim() === '' ? [] : [Number(size)]));
  if (order === undefined || !shape?.every(Number.isSafeInteger)) {
    throw invalid(name, `has a header that is not one: ${header.trim()}`);
  }
  return { descr, fortranOrder: order === 'True', shape, start };
}

/** Magic, version, length of the header and header; the array's bytes follow. */
function splitHeader(bytes: Uint8Array, name: string): { readonly header: string; readonly start: number } {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!view.subarray(0, magic.length).equals(magic)) throw invalid(name, 'is no .npy file');
  const version = view[magic.length] ?? 0;
  if (view.length > magic.length && (version < 1 || version > 3)) {
    throw invalid(name, `has version ${version} of the format: expected 1, 2 or 3`);
  }
  const lengthAt = magic.length + 2;
  const headerAt = lengthAt + (version === 1 ? 2 : 4);
  if (view.length < headerAt) throw invalid(name, 'is truncated in its header');
  const start = headerAt + (version === 1 ? view.readUInt16LE(lengthAt) : view.readUInt32LE(lengthAt));
  if (view.length < start) throw invalid(name, 'is truncated in its header');
  return { header: view.toString('utf8', headerAt, start), start };
}

/** A .npy file of 32-bit floats. */
export function encodeNpy({ data, shape }: Tensor<Float32Array>): Buffer {
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${sizes}), }`;
  // Padded so that the numbers start at a multiple of 64.
  const prefix = magic.length + 4;
  const start = Math.ceil((prefix + header.length + 1) / 64) * 64;
  const length = Buffer.alloc(4);
  length[0] = 1; // version 1.0
  length.writeUInt16LE(start - prefix, 2);
  const padded = `${header.padEnd(start - prefix - 1)}\n`;
  return Buffer.concat([magic, length, Buffer.from(padded, 'latin1'), encodeFloats(data)]);
}

function invalid(name: string, what: string): DeepLabError {
  return new DeepLabError('ERR_INVALID_ARRAY', `${name} ${what}`);
}
