// What a TensorFlow Lite file says of its operators, as far as the networks of DeepLab have them. The numbers are those of
// https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs.

import type { FlatTable } from './flatbuffer';
import { damaged } from './weights-file';

/** Names of BuiltinOperator. Others are called by their number. */
const operatorNames: Readonly<Record<number, string>> = {
  0: 'ADD',
  1: 'AVERAGE_POOL_2D',
  2: 'CONCATENATION',
  3: 'CONV_2D',
  4: 'DEPTHWISE_CONV_2D',
  6: 'DEQUANTIZE',
  9: 'FULLY_CONNECTED',
  14: 'LOGISTIC',
  17: 'MAX_POOL_2D',
  18: 'MUL',
  19: 'RELU',
  21: 'RELU6',
  22: 'RESHAPE',
  23: 'RESIZE_BILINEAR',
  25: 'SOFTMAX',
  34: 'PAD',
  37: 'BATCH_TO_SPACE_ND',
  38: 'SPACE_TO_BATCH_ND',
  39: 'TRANSPOSE',
  40: 'MEAN',
  41: 'SUB',
  42: 'DIV',
  43: 'SQUEEZE',
  45: 'STRIDED_SLICE',
  53: 'CAST',
  56: 'ARG_MAX',
  60: 'PADV2',
  65: 'SLICE',
  67: 'TRANSPOSE_CONV',
  70: 'EXPAND_DIMS',
  77: 'SHAPE',
  83: 'PACK',
  97: 'RESIZE_NEAREST_NEIGHBOR',
  114: 'QUANTIZE',
  117: 'HARD_SWISH',
  130: 'BROADCAST_TO',
};
const customOperator = 32;

const paddings = ['same', 'valid'] as const;
const activations = ['none', 'relu', 'relu_n1_to_1', 'relu6', 'tanh', 'sign_bit'] as const;

/** What an operator's options say; those that its kind does not have are left out. */
export interface LiteOptions {
  readonly padding?: (typeof paddings)[number];
  /** [height, width], as the others. */
  readonly stride?: readonly [number, number];
  readonly dilation?: readonly [number, number];
  /** Of a pool. */
  readonly kernel?: readonly [number, number];
  /** Output channels of a depthwise convolution for each input channel. */
  readonly depthMultiplier?: number;
  /** Fused into the operator. */
  readonly activation?: (typeof activations)[number];
  readonly alignCorners?: boolean;
  readonly halfPixelCenters?: boolean;
  /** Of a concatenation. */
  readonly axis?: number;
  /** Of a mean. */
  readonly keepDims?: boolean;
}

/** Options by the number of their kind (BuiltinOptions). */
const optionReaders: Readonly<Record<number, (options: FlatTable) => LiteOptions>> = {
  1: (conv) => ({
    padding: padding(conv, 0),
    stride: [conv.int32(2), conv.int32(1)],
    dilation: [conv.int32(5, 1), conv.int32(4, 1)],
    activation: activation(conv, 3),
  }),
  2: (conv) => ({
    padding: padding(conv, 0),
    stride: [conv.int32(2), conv.int32(1)],
    dilation: [conv.int32(6, 1), conv.int32(5, 1)],
    depthMultiplier: conv.int32(3),
    activation: activation(conv, 4),
  }),
  5: (pool) => ({
    padding: padding(pool, 0),
    stride: [pool.int32(2), pool.int32(1)],
    kernel: [pool.int32(4), pool.int32(3)],
    activation: activation(pool, 5),
  }),
  8: (fullyConnected) => ({ activation: activation(fullyConnected, 0) }),
  10: (concatenation) => ({ axis: concatenation.int32(0), activation: activation(concatenation, 1) }),
  11: (add) => ({ activation: activation(add, 0) }),
  15: (resize) => ({ alignCorners: resize.uint8(2) !== 0, halfPixelCenters: resize.uint8(3) !== 0 }),
  21: (mul) => ({ activation: activation(mul, 0) }),
  27: (mean) => ({ keepDims: mean.uint8(0) !== 0 }),
  28: (sub) => ({ activation: activation(sub, 0) }),
  29: (div) => ({ activation: activation(div, 0) }),
};

function padding(options: FlatTable, slot: number) {
  return choice(paddings, options, slot, 'padding');
}

function activation(options: FlatTable, slot: number) {
  return choice(activations, options, slot, 'activation');
}

function choice<T>(choices: readonly T[], options: FlatTable, slot: number, what: string): T {
  const number = options.uint8(slot);
  const chosen = choices[number];
  if (chosen === undefined) throw damaged(options.file, `is damaged: an operator in it has the ${what} ${number}`);
  return chosen;
}

/** The name of an operator's code. */
export function operatorName(code: FlatTable): string {
  // The first was a byte until there were more than 127.
  const number = Math.max(code.int8(0), code.int32(3));
  if (number === customOperator) return code.text(1);
  return operatorNames[number] ?? `BUILTIN_${number}`;
}

/** The options of an operator. */
export function operatorOptions(operator: FlatTable): LiteOptions {
  const options = operator.table(4);
  return options === undefined ? {} : (optionReaders[operator.uint8(3)]?.(options) ?? {});
}
