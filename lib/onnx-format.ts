// The bytes of an ONNX file (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), piece by piece, so that no more than
// one tensor is in memory. What the network is, is for onnx-network.ts.

import { messageTypes, protobuf } from './protobuf';

/** Of the format and of the operators: what onnxruntime reads since 1.14, and others since 2022. */
const irVersion = 8;
const opset = 17;

/** The messages, as far as they are written. */
export const onnxMessages = messageTypes({
  ModelProto: {
    irVersion: [1, 'int64'],
    producerName: [2, 'string'],
    producerVersion: [3, 'string'],
    docString: [6, 'string'],
    graph: [7, 'GraphProto'],
    opsetImport: [8, 'OperatorSetIdProto', 'repeated'],
    metadataProps: [14, 'StringStringEntryProto', 'repeated'],
  },
  OperatorSetIdProto: { domain: [1, 'string'], version: [2, 'int64'] },
  StringStringEntryProto: { key: [1, 'string'], value: [2, 'string'] },
  GraphProto: {
    node: [1, 'NodeProto', 'repeated'],
    name: [2, 'string'],
    initializer: [5, 'TensorProto', 'repeated'],
    input: [11, 'ValueInfoProto', 'repeated'],
    output: [12, 'ValueInfoProto', 'repeated'],
  },
  NodeProto: {
    input: [1, 'string', 'repeated'],
    output: [2, 'string', 'repeated'],
    name: [3, 'string'],
    opType: [4, 'string'],
    attribute: [5, 'AttributeProto', 'repeated'],
  },
  AttributeProto: {
    name: [1, 'string'],
    f: [2, 'float'],
    i: [3, 'int64'],
    s: [4, 'bytes'],
    ints: [8, 'int64', 'repeated'],
    type: [20, 'int32'],
  },
  TensorProto: { dims: [1, 'int64', 'repeated'], dataType: [2, 'int32'], name: [8, 'string'], rawData: [9, 'bytes'] },
  ValueInfoProto: { name: [1, 'string'], type: [2, 'TypeProto'] },
  TypeProto: { tensorType: [1, 'TensorTypeProto'] },
  TensorTypeProto: { elemType: [1, 'int32'], shape: [2, 'TensorShapeProto'] },
  TensorShapeProto: { dim: [1, 'DimensionProto', 'repeated'] },
  DimensionProto: { dimValue: [1, 'int64'], dimParam: [2, 'string'] },
});

/** Numbers of the fields that are written by hand, with the wire type of bytes. */
const graphTag = tag(7);
const initializerTag = tag(5);
const rawDataTag = tag(9);

function tag(field: number): number {
  return field * 8 + 2;
}

/** TensorProto.DataType, and how long an element is. */
const dataTypes = { float32: { number: 1, bytes: 4 }, int64: { number: 7, bytes: 8 } } as const;

/** AttributeProto.AttributeType. */
const attributeTypes = { float: 1, int: 2, string: 3, ints: 7 } as const;

/** An attribute's value: an integer unless it is marked as a float. */
export type OnnxAttribute = number | string | readonly number[] | { readonly float: number };

export interface OnnxNode {
  readonly op: string;
  readonly name: string;
  readonly inputs: readonly string[];
  readonly output: string;
  readonly attributes: Readonly<Record<string, OnnxAttribute>>;
}

/** A constant; its bytes, little-endian, are asked for when its turn to be written comes. */
export interface OnnxTensor {
  readonly name: string;
  readonly type: keyof typeof dataTypes;
  readonly shape: readonly number[];
  readonly bytes: () => Uint8Array;
}

/** An input or output of floats; a dimension that is not fixed has a name. */
export interface OnnxValue {
  readonly name: string;
  readonly shape: readonly (number | string)[];
}

export interface OnnxModel {
  /** What made it. */
  readonly producer: string;
  readonly producerVersion: string;
  /** For people. */
  readonly description: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly name: string;
  /** In the order of execution. */
  readonly nodes: readonly OnnxNode[];
  readonly tensors: readonly OnnxTensor[];
  readonly input: OnnxValue;
  readonly output: OnnxValue;
}

/** The pieces of a model's file, and their bytes altogether, which are known before the first tensor is read. */
export function onnxFile(model: OnnxModel): { readonly bytes: number; readonly pieces: () => Generator<Uint8Array> } {
  const { ModelProto, GraphProto } = onnxMessages();
  const outside = ModelProto.encode({
    irVersion,
    producerName: model.producer,
    producerVersion: model.producerVersion,
    docString: model.description,
    opsetImport: [{ domain: '', version: opset }],
    metadataProps: Object.entries(model.metadata).map(([key, value]) => ({ key, value })),
  }).finish();
  const inside = GraphProto.encode({
    name: model.name,
    node: model.nodes.map(encodableNode),
    input: [encodableValue(model.input)],
    output: [encodableValue(model.output)],
  }).finish();
  // The fields of a message may come in any order, and those of two pieces are those of the whole.
  const tensors = model.tensors.map((tensor) => ({ tensor, head: tensorHead(tensor), data: byteLength(tensor) }));
  const graphBytes = tensors.reduce((sum, { head, data }) => sum + head.length + data, inside.length);
  const graphHead = bytesHead(graphTag, graphBytes);
  return {
    bytes: outside.length + graphHead.length + graphBytes,
    *pieces() {
      yield outside;
      yield graphHead;
      yield inside;
      for (const { tensor, head, data } of tensors) {
        const bytes = tensor.bytes();
        if (bytes.length !== data) throw new Error(`${tensor.name} has ${bytes.length} bytes: expected ${data}`);
        yield head;
        yield bytes;
      }
    },
  };
}

/** What is before the bytes of a field. */
function bytesHead(fieldTag: number, length: number): Uint8Array {
  return protobuf().Writer.create().uint32(fieldTag).uint64(length).finish();
}

function byteLength({ type, shape }: OnnxTensor): number {
  return shape.reduce((product, size) => product * size, dataTypes[type].bytes);
}

/** Everything of an initializer but its numbers, which come last. */
function tensorHead(tensor: OnnxTensor): Uint8Array {
  const { name, type, shape } = tensor;
  const described = onnxMessages().TensorProto.encode({ name, dims: shape, dataType: dataTypes[type].number }).finish();
  const data = byteLength(tensor);
  const dataHead = bytesHead(rawDataTag, data);
  const length = described.length + dataHead.length + data;
  return Buffer.concat([bytesHead(initializerTag, length), described, dataHead]);
}

function encodableNode({ op, name, inputs, output, attributes }: OnnxNode) {
  const attribute = Object.entries(attributes).map(([key, value]) => ({ name: key, ...encodableAttribute(value) }));
  return { opType: op, name, input: inputs, output: [output], attribute };
}

function encodableAttribute(value: OnnxAttribute) {
  if (typeof value === 'number') return { type: attributeTypes.int, i: value };
  if (typeof value === 'string') return { type: attributeTypes.string, s: Buffer.from(value) };
  if ('float' in value) return { type: attributeTypes.float, f: value.float };
  return { type: attributeTypes.ints, ints: value };
}

function encodableValue({ name, shape }: OnnxValue) {
  const dim = shape.map((size) => (typeof size === 'string' ? { dimParam: size } : { dimValue: size }));
  return { name, type: { tensorType: { elemType: dataTypes.float32.number, shape: { dim } } } };
}
