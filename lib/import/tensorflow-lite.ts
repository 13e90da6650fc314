// TensorFlow Lite's .tflite: a FlatBuffers file (flatbuffer.ts) of the schema
// https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs. Its constant
// tensors are the weights; convolutions are [out,height,width,in], depthwise ones [1,height,width,channels]. Batch norms
// are mostly folded away and names made up by the converter, so the operators are given as well: in which network they
// belong is found out from these.

import { DeepLabError } from '../errors';
import { type Archive, type ArchiveTensor, mostDimensions, mostTensors } from './archive';
import { decodeElements, type ElementType, elementBytes, elementsIn } from './elements';
import { type FlatTable, rootTable } from './flatbuffer';
import { type LiteOptions, operatorName, operatorOptions } from './tensorflow-lite-operators';
import { damaged, WeightsFile } from './weights-file';

const identifier = 'TFL3';
/** Where the identifier is: behind the place of the root table. */
const identifierAt = 4;

/** Numbers of TensorType. */
const float32 = 0;
const typeNames = [
  'float32',
  'float16',
  'int32',
  'uint8',
  'int64',
  'string',
  'bool',
  'int16',
  'complex64',
  'int8',
  'float64',
  'complex128',
  'uint64',
  'resource',
  'variant',
  'uint32',
  'uint16',
  'int4',
  'bfloat16',
  'int2',
  'uint4',
] as const;

/** Those that are read. */
const elementTypes: Readonly<Record<string, ElementType>> = {
  float32: 'f32',
  float16: 'f16',
  bfloat16: 'bf16',
  float64: 'f64',
  int8: 'i8',
  uint8: 'u8',
  int16: 'i16',
  uint16: 'u16',
  int32: 'i32',
  uint32: 'u32',
  int64: 'i64',
  uint64: 'u64',
};

/** Operators of a network, and inputs of one: tables may be shared, so that a small file could have very many. */
const mostOperators = 10_000;
const mostOperands = 1024;

/** A tensor that the network computes. */
export interface LiteValue {
  readonly name: string;
  readonly shape: readonly number[];
  /** As numpy calls it. */
  readonly dtype: string;
}

/** One step of the network; `metadata.operators` is a JSON array of these, in the order of execution. */
export interface LiteOperator {
  /** As TensorFlow Lite calls it, such as `CONV_2D`; custom ones by the name that the file gives. */
  readonly op: string;
  /** Names of tensors, constant ones among them; null where an optional one is left out. */
  readonly inputs: readonly (string | null)[];
  readonly outputs: readonly LiteValue[];
  readonly options: LiteOptions;
}

/** Whether a file is of TensorFlow Lite, by its first bytes. */
export function looksLikeTensorflowLite(head: Uint8Array, _file: string): boolean {
  const end = identifierAt + identifier.length;
  return head.length >= end && Buffer.from(head.subarray(identifierAt, end)).toString('latin1') === identifier;
}

/**
 * Opens a .tflite of floats. `metadata` has `operators`, a JSON array of {@link LiteOperator}, and `inputs` and `outputs`,
 * JSON arrays of {@link LiteValue}.
 *
 * Tensors are named as in the file; one whose name stands there before has `#` and its index behind it.
 *
 * @throws ERR_INVALID_WEIGHTS, ERR_NOT_FOUND, and ERR_UNSUPPORTED_MODEL for quantised or sparse models.
 */
export async function openTensorflowLite(file: string): Promise<Archive> {
  const source = await WeightsFile.open(file);
  try {
    const { constants, metadata } = readModel(await source.read(0, source.size, 'the model'), file);
    const tensors = new Map<string, ArchiveTensor>();
    for (const { name, shape, type, start, length } of constants) {
      const read = async () => decodeElements(await source.read(start, length, `tensor '${name}'`), type);
      tensors.set(name, { shape, read });
    }
    return { format: 'tensorflow-lite', file, tensors, metadata, close: () => source.close() };
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** A tensor whose numbers are in the file, and where. */
interface Constant {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: ElementType;
  readonly start: number;
  readonly length: number;
}

/** Everything but the constants' numbers. Offsets may point anywhere, so the whole file is in `bytes`. */
function readModel(bytes: Buffer, file: string) {
  if (!looksLikeTensorflowLite(bytes, file)) throw damaged(file, 'is no .tflite file, or is truncated');
  const model = rootTable(bytes, file);
  const [graph] = model.tables(2, mostTensors);
  if (graph === undefined) throw damaged(file, 'has no network');
  const stored = graph.tables(0, mostTensors);
  const values = valuesOf(stored, file);
  const buffers = model.tables(4, mostTensors);
  const constants: Constant[] = [];
  for (const [index, tensor] of stored.entries()) {
    const value = values[index] as LiteValue;
    const buffer = buffers[tensor.uint32(2)];
    if (buffer === undefined) throw damaged(file, `has no buffer ${tensor.uint32(2)}, of tensor '${value.name}'`);
    const constant = constantOf(value, tensor, buffer, bytes.length);
    if (constant !== undefined) constants.push(constant);
  }
  const valueAt = (index: number) => {
    const value = values[index];
    if (value === undefined) throw damaged(file, `names tensor ${index} of ${values.length}`);
    return value;
  };
  const metadata = {
    inputs: JSON.stringify(graph.int32s(1, mostOperands).map(valueAt)),
    outputs: JSON.stringify(graph.int32s(2, mostOperands).map(valueAt)),
    operators: JSON.stringify(operatorsOf(model, graph, valueAt)),
  };
  return { constants, metadata };
}

/** Names, shapes and types of the tensors. */
function valuesOf(stored: readonly FlatTable[], file: string): readonly LiteValue[] {
  const names = new Set<string>();
  return stored.map((tensor, index) => {
    const given = tensor.text(3);
    const name = names.has(given) ? `${given}#${index}` : given;
    if (names.has(name)) throw damaged(file, `has two tensors '${name}'`);
    names.add(name);
    const dtype = typeNames[tensor.uint8(1)];
    if (dtype === undefined) throw damaged(file, `has tensor '${name}' of the unknown type ${tensor.uint8(1)}`);
    // A quantised tensor is one of integers that stand for floats by a scale.
    const scales = tensor.table(4)?.count(2) ?? 0;
    if (scales > 0 && tensor.uint8(1) !== float32) {
      throw unsupported(file, `is quantised: tensor '${name}' is ${dtype} with a scale; float models are read`);
    }
    if (tensor.table(6) !== undefined) {
      throw unsupported(file, `is sparse: tensor '${name}' leaves its zeros out; dense models are read`);
    }
    return { name, shape: tensor.int32s(0, mostDimensions), dtype };
  });
}

/** Where a tensor's numbers are; undefined if it is computed or is of no numbers. */
function constantOf({ name, shape, dtype }: LiteValue, tensor: FlatTable, buffer: FlatTable, fileBytes: number) {
  const inside = buffer.bytes(0);
  // Files above 2 GB have the numbers behind the tables, at a place that is told from 0 and 1.
  const outside = buffer.uint64(1) > 1;
  const { start, length } = outside ? { start: buffer.uint64(1), length: buffer.uint64(2) } : inside;
  const type = elementTypes[dtype];
  if (length === 0 || type === undefined) return undefined;
  const expected = (elementsIn(shape) ?? Number.NaN) * elementBytes[type];
  if (length !== expected || start + length > fileBytes) {
    throw damaged(
      tensor.file,
      `has ${length} bytes of tensor '${name}' at ${start} of ${fileBytes}: expected ${expected} for shape [${shape}]`,
    );
  }
  return { name, shape, type, start, length };
}

function operatorsOf(
  model: FlatTable,
  graph: FlatTable,
  valueAt: (index: number) => LiteValue,
): readonly LiteOperator[] {
  const { file } = model;
  const codes = model.tables(1, mostOperators).map(operatorName);
  let operands = 0;
  return graph.tables(3, mostOperators).map((operator) => {
    const op = codes[operator.uint32(0)];
    if (op === undefined) throw damaged(file, `names operator ${operator.uint32(0)} of ${codes.length}`);
    const [inputs, outputs] = [operator.int32s(1, mostOperands), operator.int32s(2, mostOperands)];
    operands += inputs.length + outputs.length;
    if (operands > mostTensors) throw damaged(file, `has more than ${mostTensors} inputs and outputs of operators`);
    return {
      op,
      inputs: inputs.map((index) => (index === -1 ? null : valueAt(index).name)),
      outputs: outputs.map(valueAt),
      options: operatorOptions(operator),
    };
  });
}

function unsupported(file: string, what: string): DeepLabError {
  return new DeepLabError('ERR_UNSUPPORTED_MODEL', `${file} ${what}`);
}
