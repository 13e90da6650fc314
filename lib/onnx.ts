// Writes a network as ONNX, for other runtimes: the network alone, without what surrounds it here.

import { breathe, type CallOptions, callRules, stoppable } from './abort';
import { DeepLabError, invalidArgument } from './errors';
import { fromNative, native } from './native';
import { onnxFile } from './onnx-format';
import { onnxNetwork } from './onnx-network';
import { checkOptions, outputStrideRule } from './options';
import { writeFileAtomically } from './output';
import { version } from './version';
import { resolveWeights } from './weights';

/** Options of {@link exportOnnx}. */
export interface ExportOnnxOptions extends CallOptions {
  /** As for `DeepLab.load`. */
  readonly outputStride?: 8 | 16 | undefined;
}

/** The most bytes of a protobuf message, and so of a model that has its weights in it. */
const mostBytes = 2 ** 31 - 1;

/** An image size for the shapes that do not depend on one. */
const anySize = 513;

/**
 * Writes the network of a weights file as an ONNX model (opset 17), weights included, as 32-bit floats.
 *
 * Its input `image` is float32 [N,3,H,W]: RGB from 0 to 255, as decoded; the channel order, mean and standard deviation
 * that the network wants are part of the model. N, H and W are free, unless the weights file fixes the `input_size`. Its
 * output `logits` is float32 [N,classes,h,w] on the grid of the network's output, as {@link Segmentation.logits}.
 *
 * Left to the caller is what depends on the image's size: resizing to `input_size`, padding to a multiple of
 * `pad_to_multiple` to the right and below by the mean (which is zero for the network), and upsampling of the logits. The
 * model's `metadata_props` have these and everything else that the weights file says, classes included
 * (docs/weights.md).
 *
 * @param pathOrName - As for `DeepLab.load`.
 * @param output - The file to write; it is replaced if it exists.
 * @throws ERR_NOT_FOUND, ERR_INVALID_WEIGHTS, ERR_UNSUPPORTED_MODEL (also for models of 2 GB and more, which one ONNX file
 * cannot hold), ERR_INVALID_ARGUMENT, ERR_WRITE, ERR_ABORTED, ERR_TIMEOUT or ERR_NATIVE_ADDON. After an error there is no new file.
 *
 * @example
 * ```ts
 * import { exportOnnx } from 'deeplab';
 *
 * await exportOnnx(modelPath, 'model.onnx');
 * ```
 */
export async function exportOnnx(pathOrName: string, output: string, options: ExportOnnxOptions = {}): Promise<void> {
  if (typeof output !== 'string' || output === '') throw invalidArgument('output', 'path of the file to write', output);
  checkOptions(options, { ...callRules, outputStride: outputStrideRule });
  await stoppable(options, 'export', (signal) => exportNetwork(pathOrName, output, options, signal));
}

async function exportNetwork(
  pathOrName: string,
  output: string,
  options: ExportOnnxOptions,
  signal: AbortSignal,
): Promise<void> {
  const outputStride = options.outputStride ?? 0;
  const weights = await resolveWeights(pathOrName);
  const described = fromAddon((addon) => addon.inspectModel(weights, anySize, anySize, outputStride));
  const graph = fromAddon((addon) => addon.graph(weights, anySize, anySize, outputStride));
  const network = onnxNetwork(graph, (name, shape) => {
    const [tensor = new Float32Array()] = fromAddon((addon) => addon.readTensors(weights, [{ name, shape }]));
    return tensor;
  });
  const { architecture, backbone, metadata, asppRates } = described;
  const { bytes, pieces } = onnxFile({
    ...network,
    producer: 'deeplab',
    producerVersion: version,
    description: `${architecture} on ${backbone}. image: RGB, 0 to 255, [N,3,H,W]. logits: [N,classes,h,w].`,
    metadata: {
      ...metadata,
      output_stride: String(described.outputStride),
      ...(asppRates.length > 0 && { aspp_rates: asppRates.join(',') }),
    },
    name: `${architecture}_${backbone}`,
  });
  if (bytes > mostBytes) {
    throw new DeepLabError(
      'ERR_UNSUPPORTED_MODEL',
      `${weights} would be an ONNX model of ${bytes} bytes: expected at most ${mostBytes}`,
    );
  }
  await writeFileAtomically(output, unlessAborted(pieces(), signal));
}

/** Pieces, between which the export can be cancelled. */
async function* unlessAborted<T>(pieces: Iterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  for (const piece of pieces) {
    await breathe(signal);
    yield piece;
  }
}

function fromAddon<T>(call: (addon: ReturnType<typeof native>) => T): T {
  const addon = native();
  try {
    return call(addon);
  } catch (error) {
    throw fromNative(error);
  }
}
