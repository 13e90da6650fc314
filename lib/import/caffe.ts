// Caffe's .caffemodel: a NetParameter of protobuf (https://github.com/BVLC/caffe/blob/master/src/caffe/proto/caffe.proto)
// with the layers and their blobs, of which tensors `<layer>/<number of the blob>` are made. What the layers compute is
// not read; it is in the .prototxt for the most part.
//
// A model has up to half a gigabyte, which protobufjs would want in memory as a whole, so the file is walked over
// (wire-format.ts), and a tensor's numbers are read when they are asked for.

import { messageTypes } from '../protobuf';
import type { Archive, ArchiveTensor } from './archive';
import { mostDimensions, mostTensors } from './archive';
import { decodeElements, type ElementType, elementBytes, elementsIn } from './elements';
import { decodeMessage } from './message';
import { WeightsFile } from './weights-file';
import { type WireField, WireFormat } from './wire-format';

/** NetParameter: `layer`, and `layers` of the models before Caffe 1.0. */
const netName = 1;
const layerFields: ReadonlyMap<number, LayerFields> = new Map([
  [100, { name: 1, type: 2, blobs: 7 }], // LayerParameter
  [2, { name: 4, type: 5, blobs: 6 }], // V1LayerParameter, whose type is a number
]);

interface LayerFields {
  readonly name: number;
  readonly type: number;
  readonly blobs: number;
}

/** BlobProto: sizes (the first four before Caffe 1.0) and numbers; `diff` and `double_diff` (6, 9) are left. */
const blob = { num: 1, channels: 2, height: 3, width: 4, data: 5, shape: 7, doubleData: 8 } as const;
const messages = messageTypes({ BlobShape: { dim: [1, 'int64', 'repeated'] } });

const mostNameBytes = 1024;
/** Of a shape: ten for each dimension. */
const mostShapeBytes = 256;

interface Range {
  readonly start: number;
  readonly end: number;
}

/**
 * Whether a file is a .caffemodel.
 *
 * @param head - The first 512 bytes of the file, or all it has.
 */
export function looksLikeCaffe(head: Uint8Array, file: string): boolean {
  if (file.endsWith('.caffemodel')) return true;
  // The name of the net, which may be missing, then layers, inputs (3) or their sizes (4, 8).
  let at = 0;
  if (head[0] === 0x0a) {
    const length = head[1] ?? 128;
    at = 2 + length;
    if (length >= 128 || !head.subarray(2, at).every((byte) => byte >= 0x20 && byte < 0x7f)) return false;
  }
  if (head[at] === 0xa2 && head[at + 1] === 0x06) return true;
  return at > 0 && [0x12, 0x1a, 0x20, 0x22, 0x42].includes(head[at] ?? 0);
}

/**
 * Opens a .caffemodel. `metadata` has the net's `name`, and `layers`: a JSON array of the names and types of the layers
 * that have tensors, in the order of the file.
 *
 * @throws ERR_INVALID_WEIGHTS, ERR_NOT_FOUND.
 */
export async function openCaffe(file: string): Promise<Archive> {
  const source = await WeightsFile.open(file);
  try {
    const { tensors, metadata } = await readNet(source);
    return { format: 'caffe', file, tensors, metadata, close: () => source.close() };
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function readNet(source: WeightsFile) {
  const wire = new WireFormat(source);
  const tensors = new Map<string, ArchiveTensor>();
  const layers: { name: string; type: string }[] = [];
  let name = '';
  let layerCount = 0;
  for await (const field of wire.fields(0, source.size)) {
    if (field.number === netName) name = await textOf(source, field, 'the name of the net');
    const fields = layerFields.get(field.number);
    if (fields === undefined) continue;
    layerCount++;
    const layer = await readLayer(wire, fields, rangeOf(source, field, 'a layer'));
    for (const [index, range] of layer.blobs.entries()) {
      const tensorName = `${layer.name}/${index}`;
      if (tensors.has(tensorName)) throw source.invalid(`has two tensors '${tensorName}'`);
      tensors.set(tensorName, await readBlob(wire, range, tensorName));
      if (tensors.size > mostTensors) throw source.invalid(`has more than ${mostTensors} tensors`);
    }
    if (layer.blobs.length > 0) layers.push({ name: layer.name, type: layer.type });
  }
  if (layerCount === 0) throw source.invalid('is no .caffemodel: it has no layers');
  const metadata = { ...(name === '' ? {} : { name }), layers: JSON.stringify(layers) };
  return { tensors, metadata };
}

async function readLayer(wire: WireFormat, fields: LayerFields, { start, end }: Range) {
  const { file } = wire;
  let name = '';
  let type = '';
  const blobs: Range[] = [];
  for await (const field of wire.fields(start, end)) {
    if (field.number === fields.name) name = await textOf(file, field, 'the name of a layer');
    if (field.number === fields.type) {
      type = field.kind === 'varint' ? String(field.value) : await textOf(file, field, 'the type of a layer');
    }
    if (field.number === fields.blobs) blobs.push(rangeOf(file, field, 'a blob'));
  }
  return { name, type, blobs };
}

async function readBlob(wire: WireFormat, { start, end }: Range, name: string): Promise<ArchiveTensor> {
  const { file } = wire;
  const sizes = new Map<number, number>();
  let shape: readonly number[] | undefined;
  let stored: { readonly type: ElementType; readonly range: Range } | undefined;
  for await (const field of wire.fields(start, end)) {
    if (field.kind === 'varint') sizes.set(field.number, field.value);
    if (field.number === blob.shape) shape = await readShape(file, field, name);
    if (field.number !== blob.data && field.number !== blob.doubleData) continue;
    // Caffe packs them. Numbers one by one, or in several pieces, would be sound protobuf too, but nobody writes them.
    if (stored !== undefined) throw file.invalid(`has the numbers of tensor '${name}' in pieces`);
    const type = field.number === blob.data ? 'f32' : 'f64';
    stored = { type, range: rangeOf(file, field, `tensor '${name}'`) };
  }
  if (shape === undefined && sizes.has(blob.num)) {
    shape = [blob.num, blob.channels, blob.height, blob.width].map((number) => sizes.get(number) ?? 0);
  }
  if (shape === undefined || stored === undefined) {
    throw file.invalid(`has no ${stored === undefined ? 'numbers' : 'shape'} of tensor '${name}'`);
  }
  const { type, range } = stored;
  const length = range.end - range.start;
  const expected = (elementsIn(shape) ?? Number.NaN) * elementBytes[type];
  if (length !== expected) {
    throw file.invalid(`has ${length} bytes of tensor '${name}': expected ${expected} for shape [${shape}]`);
  }
  return {
    shape,
    read: async () => decodeElements(await file.read(range.start, length, `tensor '${name}'`), type),
  };
}

async function readShape(file: WeightsFile, field: WireField, name: string): Promise<readonly number[]> {
  const what = `the shape of tensor '${name}'`;
  const { start, end } = rangeOf(file, field, what);
  if (end - start > mostShapeBytes) throw file.invalid(`has ${end - start} bytes of ${what}`);
  const bytes = await file.read(start, end - start, what);
  const { dim } = decodeMessage<{ readonly dim: readonly number[] }>(
    messages().BlobShape,
    bytes,
    mostShapeBytes,
    file.path,
    what,
  );
  if (dim.length > mostDimensions || elementsIn(dim) === undefined) {
    throw file.invalid(`is damaged: ${what} is [${dim}]`);
  }
  return dim;
}

async function textOf(file: WeightsFile, field: WireField, what: string): Promise<string> {
  const { start, end } = rangeOf(file, field, what);
  if (end - start > mostNameBytes) throw file.invalid(`has ${end - start} bytes of ${what}`);
  return (await file.read(start, end - start, what)).toString();
}

/** The bytes of a field that must have some. */
function rangeOf(file: WeightsFile, field: WireField, what: string): Range {
  if (field.kind !== 'bytes') throw file.invalid(`is damaged: ${what} is a number`);
  return field;
}
