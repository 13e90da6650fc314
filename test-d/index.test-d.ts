// The types of the public API, by tsd: what they accept, what they refuse, what comes back. Nothing here runs. The package
// is imported by its name, so that these are the types that applications get from dist/.

import {
  type BilateralTerm,
  type ClassInfo,
  type ClassShare,
  type Color,
  type CrfParameters,
  type CrfResult,
  crfPresets,
  DeepLab,
  DeepLabError,
  type DeepLabErrorCode,
  DenseCrf,
  type Device,
  type Diagnosis,
  denseCrf,
  doctor,
  errorCatalogue,
  exportOnnx,
  type FeaturesTerm,
  type GaussianTerm,
  type ImageInput,
  type ImportReport,
  type Inspection,
  importWeights,
  inspect,
  type LoadOptions,
  type NetworkInfo,
  networks,
  type PairwiseTerm,
  type Precision,
  type PulledWeights,
  probabilityFloor,
  pullWeights,
  type RawImage,
  type Segmentation,
  type SegmentOptions,
  type StoragePrecision,
  Tensor,
  type TrainConfig,
  type TrainResult,
  type Tuning,
  train,
  tune,
  type UnaryInput,
  vocPalette,
} from 'deeplab';
import sharp from 'sharp';
import { expectAssignable, expectError, expectNotAssignable, expectType } from 'tsd';

declare const model: DeepLab;
declare const result: Segmentation;
declare const crf: DenseCrf;
declare const refined: CrfResult;
declare const error: unknown;

// Loading

expectType<Promise<DeepLab>>(DeepLab.load('model.safetensors'));
expectType<Promise<DeepLab>>(DeepLab.load('camvid', { device: 'cuda:1', precision: 'bf16', outputStride: 8 }));
expectType<Promise<DeepLab>>(DeepLab.load());
expectType<Promise<DeepLab>>(DeepLab.load(undefined, { device: 'cpu' }));
expectError(DeepLab.load({ device: 'cpu' }));
expectError(DeepLab.load(new Uint8Array(8)));
expectNotAssignable<new (...args: never) => DeepLab>(DeepLab);
expectError(DeepLab.load('model.safetensors', { colour: 'rgb' }));

expectAssignable<LoadOptions>({ threads: undefined, winograd: false, cacheSize: 1, cudnn: '/usr/lib' });
expectAssignable<Device>('auto');
expectAssignable<Device>('cuda:0');
expectNotAssignable<Device>('gpu');
expectNotAssignable<Device>('cuda:first');
expectNotAssignable<LoadOptions>({ outputStride: 32 });
expectNotAssignable<LoadOptions>({ precision: 'int8' });
expectNotAssignable<LoadOptions>({ threads: '4' });

// The model

expectType<readonly ClassInfo[]>(model.classes);
expectType<string>(model.device);
expectType<Precision>(model.precision);
expectType<number>(model.threads);
expectType<Readonly<Record<string, string>>>(model.metadata);
expectType<CrfParameters>(model.crf);
expectType<Promise<void>>(model.close());
expectAssignable<AsyncDisposable>(model);
expectError((model.threads = 2));
expectError(model.classes.push({ id: 0, name: 'sky', color: [0, 0, 0] }));

// Segmenting

const pixels: RawImage = { data: new Uint8Array(12), width: 2, height: 2, channels: 3 };
expectType<Promise<Segmentation>>(model.segment('photo.jpg'));
expectAssignable<ImageInput>(Buffer.from(''));
expectAssignable<ImageInput>(new Uint8Array(8));
expectAssignable<ImageInput>(pixels);
expectAssignable<ImageInput>(sharp('photo.jpg').resize(100));
expectNotAssignable<ImageInput>(new URL('file:///photo.jpg'));
expectNotAssignable<ImageInput>(new ArrayBuffer(8));
expectNotAssignable<ImageInput>({ data: new Float32Array(12), width: 2, height: 2, channels: 3 });
expectNotAssignable<ImageInput>({ data: new Uint8Array(8), width: 2, height: 2, channels: 2 });
expectError(model.segment());

expectAssignable<SegmentOptions>({ fit: 'tile', size: 513, overlap: 64 });
expectAssignable<SegmentOptions>({ scales: [0.5, 1], fuse: 'mean', flip: true, signal: AbortSignal.timeout(1) });
expectAssignable<SegmentOptions>({ crf: { iterations: 5 }, limitInputPixels: false });
expectNotAssignable<SegmentOptions>({ fit: 'cover' });
expectNotAssignable<SegmentOptions>({ scales: 0.5 });
expectNotAssignable<SegmentOptions>({ crf: { pairwise: [{ kernel: 'gaussian', xy: 3 }] } });
expectNotAssignable<SegmentOptions>({ limitInputPixels: true });
expectNotAssignable<SegmentOptions>({ signal: new AbortController() });

// The result

expectType<Uint8Array>(result.labels);
expectType<readonly ClassShare[]>(result.classes);
expectType<number | undefined>(result.classes[0]?.share);
expectType<Float32Array | undefined>(result.scores);
expectType<Tensor<Float32Array> | undefined>(result.logits);
expectType<Uint8Array>(result.mask('car'));
expectType<Uint8Array>(result.mask(7));
expectType<Promise<Buffer>>(result.toPng());
expectType<Promise<Buffer>>(result.overlay({ opacity: 0.5, format: 'jpeg' }));
expectError(result.overlay({ format: 'webp' }));
expectError(result.mask(undefined));
expectError((result.labels = new Uint8Array(4)));

const tensor = new Tensor(new Float32Array(6), [1, 2, 3]);
expectType<Tensor<Float32Array<ArrayBuffer>>>(tensor);
expectType<'f32' | 'u8'>(tensor.dtype);
expectType<number>(tensor.at(0, 1, 2));
expectError(new Tensor([1, 2, 3], [3]));

// The CRF: terms are told apart by their kernel, unaries by what they have.

const terms: readonly PairwiseTerm[] = [
  { kernel: 'gaussian', xy: 3, compatibility: 3 },
  {
    kernel: 'bilateral',
    xy: [67, 67],
    rgb: 3,
    compatibility: [
      [0, 1],
      [1, 0],
    ],
    normalization: 'symmetric',
  },
  { kernel: 'features', features: new Float32Array(8), dimensions: 2, compatibility: [1, 2] },
];
for (const term of terms) {
  expectType<GaussianTerm | BilateralTerm | FeaturesTerm>(term);
  if (term.kernel === 'features') expectType<FeaturesTerm>(term);
  else if (term.kernel === 'bilateral') expectType<number | readonly [r: number, g: number, b: number]>(term.rgb);
  else {
    expectType<GaussianTerm>(term);
    expectError(term.rgb);
  }
}
expectNotAssignable<PairwiseTerm>({ kernel: 'box', xy: 3, compatibility: 3 });
expectNotAssignable<PairwiseTerm>({ kernel: 'bilateral', xy: 3, compatibility: 3 });
expectNotAssignable<PairwiseTerm>({ kernel: 'gaussian', xy: 3 });

expectAssignable<UnaryInput>({ probabilities: new Float32Array(8) });
expectAssignable<UnaryInput>({ unary: new Tensor(new Float32Array(8), [2, 2, 2]) });
expectAssignable<UnaryInput>({ labels: new Uint8Array(4), classes: 2, gtProb: 0.7, unknown: 255 });
expectNotAssignable<UnaryInput>({ labels: new Uint8Array(4) });
expectNotAssignable<UnaryInput>({ probabilities: new Float64Array(8) });

expectType<Promise<CrfResult>>(denseCrf(pixels, { probabilities: new Float32Array(8) }, { pairwise: terms }));
expectType<Promise<CrfResult>>(denseCrf({ width: 2, height: 2 }, { unary: new Float32Array(8) }, model.crf));
expectType<Promise<CrfResult>>(denseCrf(pixels, { unary: new Float32Array(8) }, crfPresets['deeplab-v1']));
expectError(denseCrf(pixels));
expectError(crfPresets.none);
expectType<Promise<DenseCrf>>(DenseCrf.create(pixels, { coordinates: 'xy' }));
expectAssignable<AsyncDisposable>(crf);
expectType<number>(crf.inferenceBytes(21));
expectType<Promise<CrfResult>>(crf.infer({ labels: new Uint8Array(4), classes: 2 }, { klDivergence: true }));
expectType<Float32Array | undefined>(refined.marginals);
expectType<readonly number[] | undefined>(refined.klDivergence);
expectError(DenseCrf.create(pixels, { iterations: 'ten' }));
expectError(crf.infer({ labels: new Uint8Array(4), classes: 2 }, { pairwise: terms }));
expectAssignable<number>(probabilityFloor);

// Errors

if (error instanceof DeepLabError) {
  expectType<DeepLabErrorCode>(error.code);
  expectType<'DeepLabError'>(error.name);
}
expectAssignable<DeepLabErrorCode>('ERR_ABORTED');
expectNotAssignable<DeepLabErrorCode>('ERR_UNHEARD_OF');
expectAssignable<Readonly<Record<DeepLabErrorCode, string>>>(errorCatalogue);
expectAssignable<Error>(new DeepLabError('ERR_CLOSED', 'closed'));
expectError(new DeepLabError('ERR_UNHEARD_OF', 'unheard of'));

// Files, machines and colours

expectType<Promise<Diagnosis>>(doctor());
expectType<Promise<Inspection>>(inspect('model.safetensors', { width: 513, height: 513 }));
expectType<readonly NetworkInfo[]>(networks());
expectType<Promise<void>>(exportOnnx('model.safetensors', 'model.onnx'));
expectType<Promise<ImportReport>>(importWeights('a.pth', 'b.safetensors', { precision: 'int8' }));
expectError(importWeights('a.pth'));
expectNotAssignable<StoragePrecision>('tf32');
expectType<Promise<PulledWeights>>(pullWeights('a', { onProgress: ({ received }) => expectType<number>(received) }));

const training: TrainConfig = { model: { network: 'v2-resnet101-aspp' }, data: { format: 'camvid', path: 'camvid' } };
expectType<Promise<TrainResult>>(train({ ...training, policy: { name: 'step', size: 2000 } }, { resume: true }));
train(training, {
  onEvent: (event) => {
    expectType<number>(event.iteration);
    if (event.kind === 'step') expectType<number>(event.waitedMs);
    if (event.kind === 'evaluation') expectType<readonly (number | null)[]>(event.iou);
  },
});
expectError(train({ ...training, iteration: 3 }));
expectError(train({ ...training, policy: { name: 'poly', gamma: 0.1 } }));
expectType<Promise<Tuning>>(tune('model.safetensors', { batch: 4 }));
expectType<Color[]>(vocPalette(21));
expectError((vocPalette(1)[0] = [0, 0]));
