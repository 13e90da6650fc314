// The public API: what `import { ... } from 'deeplab'` offers, and nothing else.

export type { CallOptions } from './abort';
export type { QueueLimit } from './admission';
export type { ShapeBuckets } from './buckets';
export type { Compatibility } from './compatibility';
export {
  type CrfCreateOptions,
  type CrfInferOptions,
  type CrfResult,
  DenseCrf,
  type DenseCrfOptions,
  denseCrf,
} from './crf';
export { type CrfOptions, type CrfParameters, crfPresets } from './crf-options';
export { DeepLab } from './deeplab';
export type { Device } from './device';
export { type Diagnosis, type DoctorOptions, doctor } from './doctor';
export type { DownloadProgress } from './download';
export { DeepLabError, type DeepLabErrorCode, errorCatalogue } from './errors';
export { type EvaluateOptions, evaluate } from './evaluate';
export type { Scores } from './evaluate/confusion';
export {
  type BilateralParameters,
  type CrfSearchOptions,
  type CrfSearchProgress,
  type CrfSearchResult,
  type CrfTrial,
  crfSearch,
} from './evaluate/crf-search';
export { type Dataset, type DatasetChoice, type DatasetFormat, type Labels, openDataset } from './evaluate/dataset';
export type { EvaluatedImage, Evaluation, ImageEvent, Result as EvaluationResult } from './evaluate/run';
export type { DatasetClass, DatasetItem } from './evaluate/split';
export type { ImageInput, ImageSize, RawImage } from './image';
export { type ImportOptions, type ImportReport, importWeights } from './import/import';
export type { IgnoredTensor } from './import/layouts/layout';
export type { StoragePrecision } from './import/precision';
export { type Inspection, type InspectOptions, inspect } from './inspect';
export type { CloseOptions } from './lifetime';
export type { LoadOptions } from './load-options';
export type { Precision } from './native';
export { type NetworkInfo, type NetworksOptions, networks } from './networks';
export { type ExportOnnxOptions, exportOnnx } from './onnx';
export type { BilateralTerm, FeaturesTerm, GaussianTerm, PairwiseTerm } from './pairwise';
export { type Color, vocPalette } from './palette';
export { type PulledWeights, type PullOptions, pullWeights } from './pull';
export type { ImageSource, SegmentAllOptions, SegmentedImage } from './segment-all';
export type { SegmentOptions } from './segment-options';
export { type ClassInfo, type ClassShare, type OverlayOptions, Segmentation } from './segmentation';
export type { Latency, ModelStats } from './stats';
export { Tensor, type TensorData } from './tensor';
export {
  type EvaluationRecord,
  type SavedEvent,
  type StartEvent,
  type StepRecord,
  type TrainConfig,
  type TrainEvent,
  type TrainOptions,
  type TrainResult,
  train,
} from './train';
export { type TuneOptions, type Tuning, tune } from './tune';
export {
  type EnergiesUnary,
  type LabelsUnary,
  type ProbabilitiesUnary,
  probabilityFloor,
  type UnaryInput,
} from './unary';
