// The catalogue of everything that can go wrong: one class, one stable code per kind of failure. docs/errors.md is
// generated from `errorCatalogue` (UPDATE_DOCS=1 npx jest errors), so the text a user reads there is the text here.

/** What each code means and what to do about it, by code. */
export const errorCatalogue = {
  ERR_INVALID_ARGUMENT:
    'An argument or option has the wrong type, range or shape. The message says what was expected and what came.',
  ERR_NOT_FOUND: 'A file, folder or named model does not exist, or may not be read.',
  ERR_INVALID_WEIGHTS:
    'A weights file is damaged or is not what its header says: truncated, overlapping tensors, wrong shapes, missing tensors, values that are not finite. The message names the tensor. Fetch or export the file again.',
  ERR_UNSAFE_WEIGHTS:
    'A file of weights asks for more than tensors: a pickle that would call a function or build an object, which is never done. The message names it. Export the tensors alone, as by `torch.save(model.state_dict(), file)`.',
  ERR_UNSUPPORTED_MODEL:
    'A weights file is sound, but describes a network that this version cannot build. The message names the metadata key and the values it may have.',
  ERR_UNSUPPORTED_PRECISION:
    'The device cannot compute in the precision asked for. `deeplab doctor` lists the precisions it has; `auto` always works.',
  ERR_DEVICE_UNAVAILABLE:
    'The device asked for cannot be had on this machine. The message says what is missing. There is no silent fall-back: ask for `auto` or `cpu` to run without it.',
  ERR_DEVICE_FAILED:
    'The GPU failed in the middle of work: an illegal access, a lost device. The model, or the CRF, is broken, and all its further calls are rejected with this code: close it. Others on that GPU may be broken as well; if they are, the process has to be started anew. The message says what the driver said.',
  ERR_INVALID_IMAGE: 'The input is not an image that can be decoded: an unknown format, or damaged data.',
  ERR_IMAGE_TOO_LARGE: 'The image has more pixels than `limitInputPixels` allows.',
  ERR_OUT_OF_MEMORY:
    'The image needs more memory than is available. The message says how much. The model stays usable for smaller images.',
  ERR_INVALID_ARRAY:
    'A file of numbers (.npy or .safetensors) is damaged, or holds numbers of a type or in an order that cannot be read. The message says what was expected and what came.',
  ERR_DOWNLOAD:
    'A file could not be downloaded: the server cannot be reached, answers with an error, or breaks off again and again. What has come so far is kept, and the next attempt goes on from there. The message names the address.',
  ERR_CHECKSUM:
    'A downloaded file is not the one that was published: its size or SHA-256 differs. It was removed. The message gives both.',
  ERR_QUEUE_FULL:
    'The model has as much to do as its `queueLimit` allows. Try again later, let others have fewer calls at once, or take `segmentAll`, which waits.',
  ERR_CLOSED: 'The model, or the CRF, was closed before the call, or in the middle of it without waiting.',
  ERR_ABORTED: "The call's AbortSignal was aborted.",
  ERR_TIMEOUT: 'The call took longer than its `timeoutMs`.',
  ERR_DIVERGED:
    'The loss of a training became infinite or not a number. The message says at which iteration, and which file names the images. Try a lower learning rate, or a warm-up; the last checkpoint is kept.',
  ERR_WRITE: 'An output file could not be written. Nothing was left behind under its name.',
  ERR_NATIVE_ADDON: 'The native addon could not be loaded. The message lists what was tried and how to build it.',
  ERR_INTERNAL: 'A fault in this library. Please report it, with the message.',
} as const;

/** A stable error code; see {@link errorCatalogue}. */
export type DeepLabErrorCode = keyof typeof errorCatalogue;

/**
 * The only error that this library throws or rejects with. `code` is stable across versions, `message` is for people.
 *
 * @example
 * ```ts
 * import { DeepLab, DeepLabError } from 'deeplab';
 *
 * try {
 *   await DeepLab.load('no/such/model.safetensors');
 * } catch (error) {
 *   if (!(error instanceof DeepLabError)) throw error;
 *   console.log(error.code); // ERR_NOT_FOUND
 * }
 * ```
 */
export class DeepLabError extends Error {
  override readonly name = 'DeepLabError';
  readonly code: DeepLabErrorCode;

  constructor(code: DeepLabErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** "Expected positive integer for threads but received -1 of type number", as an ERR_INVALID_ARGUMENT. */
export function invalidArgument(name: string, expected: string, received: unknown): DeepLabError {
  return new DeepLabError(
    'ERR_INVALID_ARGUMENT',
    `Expected ${expected} for ${name} but received ${shown(received)} of type ${typeof received}`,
  );
}

/** Primitives as they would be typed, objects by the name of their class: never the contents of a buffer. */
function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'function' || (typeof value === 'object' && value !== null)) {
    return value.constructor?.name ?? 'object';
  }
  return String(value);
}
