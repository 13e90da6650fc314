// What the reader of a file format gives: named tensors, read one at a time. Which network they belong to is for the
// layouts to find out (layouts/), and nothing in a file is executed on the way.

/** The formats that weights can be imported from. */
export type ArchiveFormat =
  | 'safetensors'
  | 'pytorch'
  | 'tensorflow-checkpoint'
  | 'tensorflow-lite'
  | 'caffe'
  | 'keras'
  | 'npz';

/** One tensor of an archive, in the axis order of its file. */
export interface ArchiveTensor {
  /** Sizes of the dimensions, row-major; empty for a single number. */
  readonly shape: readonly number[];
  /**
   * The elements as 32-bit floats, a copy that is the caller's. Only this tensor is read.
   *
   * @throws ERR_INVALID_WEIGHTS if the file ends before them or they are damaged.
   */
  read(): Promise<Float32Array>;
}

/** An opened file of weights. */
export interface Archive {
  readonly format: ArchiveFormat;
  /** The path, for messages. */
  readonly file: string;
  /** By the names that the file gives them. Tensors of other than numbers are left out. */
  readonly tensors: ReadonlyMap<string, ArchiveTensor>;
  /** Text that the file carries besides, such as `__metadata__` of safetensors. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Closes the file. Reading tensors afterwards fails. */
  close(): Promise<void>;
}

/**
 * Opens a file of one format.
 *
 * @throws ERR_INVALID_WEIGHTS saying what is wrong with the file, ERR_UNSAFE_WEIGHTS if it asks for more than tensors,
 * ERR_NOT_FOUND.
 */
export type OpenArchive = (file: string) => Promise<Archive>;

/** The largest number of tensors, and of dimensions, that a file may have: no network comes near. */
export const mostTensors = 100_000;
export const mostDimensions = 16;
