// What the names in PyTorch's pickles mean: storages, tensors as views of them, and the few harmless objects that lie
// beside tensors in checkpoints. A name that is not here refuses the file. The functions are those of torch/_utils.py.

import { mostDimensions } from './archive';
import { type ElementType, elementsOf } from './elements';
import { PickleGlobal, PickleOpaque, type PickleRules } from './pickle';
import { damaged } from './weights-file';

/** A type of storages, of tensors or of numbers: `torch.FloatStorage`, `torch.FloatTensor` and `torch.float32`. */
export class TorchType extends PickleOpaque {
  readonly bytes: number;
  /** Undefined for numbers that no network here has: complex and quantized ones. */
  readonly element: ElementType | undefined;

  constructor(name: string, bytes: number, element: ElementType | undefined) {
    super(name);
    this.bytes = bytes;
    this.element = element;
  }
}

/** Numbers in a row, which lie outside of the pickle. */
export class TorchStorage {
  readonly type: TorchType;
  /** What the file calls the bytes that it is a part of. */
  readonly key: string;
  /** How many elements of this type those bytes are. */
  readonly rootElements: number;
  /** Which of them are its own. */
  readonly start: number;
  readonly elements: number;

  constructor(type: TorchType, key: string, rootElements: number, start = 0, elements = rootElements) {
    this.type = type;
    this.key = key;
    this.rootElements = rootElements;
    this.start = start;
    this.elements = elements;
  }
}

/** A view of a storage. All of it lies inside of the storage. */
export class TorchTensor {
  readonly storage: TorchStorage;
  readonly type: TorchType;
  /** Elements of the storage before the first one of the tensor. */
  readonly offset: number;
  readonly shape: readonly number[];
  /** In elements; 0 where a dimension was expanded. */
  readonly strides: readonly number[];
  /** Elements of the storage from the first one to the last one of the tensor. */
  readonly span: number;

  /** @throws ERR_INVALID_WEIGHTS if it leaves the storage, or its sizes are none. `name` is what errors call the file. */
  constructor(name: string, storage: unknown, offset: unknown, shape: unknown, strides: unknown, type?: unknown) {
    if (!(storage instanceof TorchStorage)) throw damaged(name, 'has a tensor without a storage');
    this.storage = storage;
    this.type = type instanceof TorchType ? type : storage.type;
    if (Array.isArray(shape) && shape.length > mostDimensions) {
      throw damaged(name, `has a tensor of ${shape.length} dimensions: expected at most ${mostDimensions}`);
    }
    if (!isSize(offset) || !isSizes(shape) || !isSizes(strides) || shape.length !== strides.length) {
      throw damaged(name, 'has a tensor whose sizes, strides or offset are not counts');
    }
    this.offset = offset;
    this.shape = [...shape];
    this.strides = [...strides];
    this.span = 0;
    if (elementsOf(shape) > 0)
      this.span = shape.reduce((last, size, i) => last + (size - 1) * (strides[i] as number), 1);
    const there = Math.floor((storage.elements * storage.type.bytes) / this.type.bytes);
    if (offset + this.span > there) {
      const place = `shape [${shape.join(',')}] with strides [${strides.join(',')}] from ${offset} on`;
      throw damaged(name, `has a tensor that leaves its storage of ${there} elements: ${place}`);
    }
  }
}

/** A storage as PyTorch's persistent id of it says: type, key, location and number of elements. */
export function storageOf(name: string, type: unknown, key: unknown, elements: unknown, view: unknown): TorchStorage {
  if (!(type instanceof TorchType) || !isKey(key) || !isSize(elements)) {
    throw damaged(name, 'has a storage without type, key or size');
  }
  if (view === null || view === undefined) return new TorchStorage(type, String(key), elements);
  const [, start, length] = Array.isArray(view) ? (view as readonly unknown[]) : [];
  if (!isSize(start) || !isSize(length) || start + length > elements) {
    throw damaged(name, `has a part of the storage ${key} that leaves its ${elements} elements`);
  }
  return new TorchStorage(type, String(key), elements, start, length);
}

/** By what name a file may call bytes: a string, or an integer where it was an address in memory. */
export function isKey(key: unknown): key is string | number | bigint {
  return (typeof key === 'string' && key.length <= 100) || typeof key === 'number' || typeof key === 'bigint';
}

export function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isSizes(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every(isSize);
}

/** The names that PyTorch's pickles may have. `name` is what errors call the file. */
export function torchRules(name: string, persistent: (id: unknown) => unknown): PickleRules {
  const functions = torchFunctions(name);
  return { global: (global) => functions.get(global) ?? types.get(global), persistent };
}

/** Classes of storages and tensors by their middle name, and dtypes. */
const numbers: readonly [kind: string, dtypes: string, bytes: number, element?: ElementType][] = [
  ['Float', 'float32 float', 4, 'f32'],
  ['Double', 'float64 double', 8, 'f64'],
  ['Half', 'float16 half', 2, 'f16'],
  ['BFloat16', 'bfloat16', 2, 'bf16'],
  ['Long', 'int64 long', 8, 'i64'],
  ['Int', 'int32 int', 4, 'i32'],
  ['Short', 'int16 short', 2, 'i16'],
  ['Char', 'int8', 1, 'i8'],
  ['Byte', 'uint8', 1, 'u8'],
  ['Bool', 'bool', 1, 'u8'],
  ['UInt16', 'uint16', 2, 'u16'],
  ['UInt32', 'uint32', 4, 'u32'],
  ['UInt64', 'uint64', 8, 'u64'],
  ['ComplexFloat', 'complex64 cfloat', 8],
  ['ComplexDouble', 'complex128 cdouble', 16],
  ['QInt8', 'qint8', 1],
  ['QUInt8', 'quint8', 1],
  ['QInt32', 'qint32', 4],
  ['', 'float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz', 1],
];

const types: ReadonlyMap<string, PickleOpaque> = new Map(
  numbers
    .flatMap(([kind, dtypes, bytes, element]) => {
      const classes = ['torch', 'torch.cuda'].flatMap((module) => [
        `${module}.${kind}Storage`,
        `${module}.${kind}Tensor`,
      ]);
      const names = [...(kind === '' ? [] : classes), ...dtypes.split(' ').map((dtype) => `torch.${dtype}`)];
      return names.map((full): PickleOpaque => new TorchType(full, bytes, element));
    })
    .concat(
      new TorchType('torch.UntypedStorage', 1, undefined),
      new TorchType('torch.storage.UntypedStorage', 1, undefined),
      new PickleOpaque('torch.Tensor'),
      new PickleOpaque('torch.nn.parameter.Parameter'),
    )
    .map((type) => [type.name, type]),
);

function torchFunctions(name: string): ReadonlyMap<string, PickleGlobal> {
  const tensor = ([storage, offset, shape, strides]: readonly unknown[]) =>
    new TorchTensor(name, storage, offset, shape, strides);
  /** A parameter is its tensor; what else it says is for training. */
  const first = ([data]: readonly unknown[]) => data;
  const opaque = (what: string) => new PickleGlobal(what, () => new PickleOpaque(what));
  const dict = ([items]: readonly unknown[]) => {
    if (items === undefined || items instanceof Map) return new Map(items);
    const pairs = Array.isArray(items) ? items.filter((pair) => Array.isArray(pair)) : [];
    return new Map(pairs.map(([key, value]) => [key, value]));
  };
  const functions = [
    new PickleGlobal('torch._utils._rebuild_tensor', tensor),
    new PickleGlobal('torch._utils._rebuild_tensor_v2', tensor),
    // Types that have no storage class of their own: the storage is bytes, and the dtype comes besides.
    new PickleGlobal('torch._utils._rebuild_tensor_v3', ([storage, offset, shape, strides, , , type]) => {
      return new TorchTensor(name, storage, offset, shape, strides, type);
    }),
    new PickleGlobal('torch._utils._rebuild_parameter', first),
    new PickleGlobal('torch._utils._rebuild_parameter_with_state', first),
    // A tensor with attributes: by which function it is rebuilt, of which class, from which arguments.
    new PickleGlobal('torch._tensor._rebuild_from_type_v2', ([rebuild, , args]) => {
      if (!(rebuild instanceof PickleGlobal) || rebuild.call === undefined || !Array.isArray(args)) {
        throw damaged(name, 'has a tensor that no function rebuilds');
      }
      // The function could be this one, and so on, as deep as the pickle is long.
      if (rebuild.name === 'torch._tensor._rebuild_from_type_v2') throw damaged(name, 'rebuilds a tensor twice');
      return rebuild.call(args);
    }),
    new PickleGlobal('torch.Size', first),
    new PickleGlobal('collections.OrderedDict', dict),
    new PickleGlobal('collections.Counter', dict),
    new PickleGlobal('builtins.set', () => new Set()),
    new PickleGlobal('__builtin__.set', () => new Set()),
    opaque('torch.device'),
    opaque('torch.serialization._get_layout'),
    // Numbers of NumPy, such as the best accuracy so far: their bytes are not looked at.
    opaque('_codecs.encode'),
    opaque('numpy.dtype'),
    opaque('numpy.core.multiarray.scalar'),
    opaque('numpy._core.multiarray.scalar'),
  ];
  return new Map(functions.map((one) => [one.name, one]));
}
