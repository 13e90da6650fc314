// Learning rates: what the policies make of the base rate at an iteration, and what each parameter of the network gets of
// it. The numbers are the configuration's.

import type { NativeParameter } from '../native';
import type { Config } from './config';

/**
 * The base rate of the update that makes iteration `done` + 1: poly is rate * (1 - done / iterations)^power (DeepLab v2,
 * section 4.1.1), step multiplies it by gamma after every `size` iterations. Warming up multiplies either by a factor that
 * grows evenly to 1.
 */
export function learningRateAt(
  done: number,
  { learningRate, iterations, policy }: Pick<Config, 'learningRate' | 'iterations' | 'policy'>,
): number {
  const factor =
    policy.name === 'poly' ? (1 - done / iterations) ** policy.power : policy.gamma ** Math.floor(done / policy.size);
  return learningRate * factor * Math.min(1, (done + 1) / (policy.warmup + 1));
}

/** What a parameter has instead of the base rate and the weight decay. */
export interface Share {
  readonly rate: number;
  readonly decay: number;
}

/**
 * The layers that no pre-trained backbone has, which learn faster: all behind the backbone, of VGG-16 only the classes'
 * own layer, since fc6 and fc7 come with it.
 */
export function isHead(name: string): boolean {
  if (/\.fc[678]\./.test(name)) return name.includes('.fc8.');
  return /^(aspp|head|classifier)\./.test(name);
}

/** The factors of a parameter's learning rate and weight decay. */
export function shareOf(
  { name, kind }: Pick<NativeParameter, 'name' | 'kind'>,
  { multipliers, decay }: Pick<Config, 'multipliers' | 'decay'>,
): Share {
  const head = isHead(name);
  switch (kind) {
    case 'kernel':
      return { rate: head ? multipliers.head : multipliers.backbone, decay: 1 };
    case 'bias':
      return { rate: head ? multipliers.headBias : multipliers.backboneBias, decay: decay.bias ? 1 : 0 };
    default:
      return { rate: head ? multipliers.head : multipliers.backbone, decay: decay.batchNorm ? 1 : 0 };
  }
}
