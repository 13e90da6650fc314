// The configuration of a training: what it may say, what is decided where it says nothing, and what docs/training.md says
// of it.

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { DeepLabError } from '../lib';
import { configSchema, decisiveKeys, readConfig, setKey } from '../lib/train/config';
import { networkMetadata } from '../lib/train/network';

const root = path.join(__dirname, '..');
const least = { model: { network: 'v2-resnet101-aspp' }, data: { format: 'camvid', path: 'camvid' } };

function messageOf(value: unknown): string {
  try {
    readConfig(value);
  } catch (error) {
    expect(error).toBeInstanceOf(DeepLabError);
    expect((error as DeepLabError).code).toBe('ERR_INVALID_ARGUMENT');
    return (error as DeepLabError).message;
  }
  throw new Error('the configuration was accepted');
}

/** Every key of the schema, as `policy.power`. */
function keysOf(schema: unknown, path = ''): string[] {
  if (schema instanceof z.ZodObject) {
    return Object.entries(schema.shape).flatMap(([key, inner]) => {
      return keysOf(inner, path === '' ? key : `${path}.${key}`);
    });
  }
  if (schema instanceof z.ZodDiscriminatedUnion) return schema.options.flatMap((option) => keysOf(option, path));
  if (schema instanceof z.ZodPrefault) return keysOf(schema.unwrap(), path);
  return [path];
}

test('what is left out is decided as the papers do', () => {
  expect(readConfig(least)).toMatchObject({
    augment: { scale: [0.5, 1.5], width: 321, height: 321, flip: true },
    policy: { name: 'poly', power: 0.9, warmup: 0 },
    momentum: 0.9,
    weightDecay: 5e-4,
    multipliers: { backbone: 1, head: 10, headBias: 20 },
    batchNorm: 'frozen',
    classWeights: 'none',
    data: { split: 'train' },
  });
});

test('a configuration with everything decided decides nothing more', () => {
  const decided = readConfig(least);
  expect(readConfig(JSON.parse(JSON.stringify(decided)))).toEqual(decided);
});

test.each([
  ['a misspelt key', { ...least, iteration: 3 }, 'iteration: there is no such key'],
  ['a misspelt key inside', { ...least, data: { ...least.data, paht: '' } }, 'data.paht: there is no such key'],
  ['a key of another policy', { ...least, policy: { name: 'poly', gamma: 0.1 } }, 'policy.gamma: there is no such key'],
  ['an unknown policy', { ...least, policy: { name: 'cosine' } }, 'policy.name'],
  ['a wrong type', { ...least, augment: { width: '321' } }, 'augment.width: Invalid input: expected number'],
  ['scales in the wrong order', { ...least, augment: { scale: [2, 1] } }, 'augment.scale: Expected the lower'],
  ['a momentum of 1', { ...least, momentum: 1 }, 'momentum: Too big'],
  ['weights that are none', { ...least, classWeights: 'some' }, 'classWeights: '],
  ['an unknown network', { ...least, model: { network: 'v9' } }, 'model.network: '],
  ['no network', { ...least, model: {} }, 'model has neither network'],
  ['no data', { model: least.model }, 'data: '],
  ['a number', 3, 'the whole: '],
])('%s is named', (_, config, message) => {
  expect(messageOf(config)).toContain(message);
});

test('every problem is named, not only the first', () => {
  const message = messageOf({ ...least, momentum: -1, batch: 0 });
  expect(message).toContain('momentum: ');
  expect(message).toContain('batch: ');
});

test('a key is set by its path, to JSON or to text', () => {
  const config: Record<string, unknown> = JSON.parse(JSON.stringify(least));
  setKey(config, 'policy.name=poly');
  setKey(config, 'policy.power=0.5');
  setKey(config, 'augment.scale=[1,2]');
  setKey(config, 'out=some=folder');
  expect(readConfig(config)).toMatchObject({ policy: { power: 0.5 }, augment: { scale: [1, 2] }, out: 'some=folder' });
  for (const wrong of ['batch', '=3', 'batch.size.x=1', 'a b=1']) {
    const set = () => {
      setKey(config, 'batch=3');
      setKey(config, wrong);
    };
    expect(set).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }));
  }
  setKey(config, '__proto__.polluted=1');
  expect(({} as { polluted?: number }).polluted).toBeUndefined();
});

test('what does not change what is learnt may be another when a training goes on', () => {
  const keys = (more: object) => decisiveKeys(readConfig({ ...least, ...more }));
  const data = { ...least.data, path: 'elsewhere', workers: 3, cacheBytes: 0 };
  const other = { out: 'x', threads: 3, data, evaluation: { every: 7 }, checkpoint: { minutes: null } };
  expect(keys(other)).toEqual(keys({}));
  for (const decisive of [{ seed: 7 }, { augment: { flip: false } }, { data: { ...least.data, split: 'other' } }]) {
    expect(keys(decisive)).not.toEqual(keys({}));
  }
});

test('docs/training.md describes every key, and no others', () => {
  const text = readFileSync(path.join(root, 'docs/training.md'), 'utf8');
  const section = /^## The configuration\n(.*?)^## /ms.exec(text)?.[1] ?? '';
  const described = Array.from(section.matchAll(/^\| `([a-zA-Z.]+)` \|/gm), ([, key]) => key);
  const keys = keysOf(configSchema).filter((key) => !key.startsWith('model.'));
  expect(described.sort()).toEqual([...new Set(keys)].sort());
  for (const key of ['model.network', 'model.*']) expect(section).toContain(`\`${key}\``);
});

test('the network may have every key of docs/weights.md', () => {
  const text = readFileSync(path.join(root, 'docs/weights.md'), 'utf8');
  const documented = Array.from(text.matchAll(/^\| (`[a-z0-9_]+`(?:, `[a-z0-9_]+`)*) \|/gm), ([, keys]) =>
    (keys as string).split(', ').map((key) => key.slice(1, -1)),
  ).flat();
  const known = Object.keys(configSchema.shape.model.shape).filter((key) => key !== 'network');
  expect(documented.sort()).toEqual(known.sort());
});

const examples = path.join(root, 'examples/train');
test.each(readdirSync(examples))('examples/train/%s is a configuration of a network that can be built', (file) => {
  const config = readConfig(JSON.parse(readFileSync(path.join(examples, file), 'utf8')));
  const classes = Array.from({ length: config.data.format === 'voc' ? 21 : 11 }, (_, id) => {
    return { name: `class ${id}`, color: [id, id, id] as const };
  });
  expect(networkMetadata(config, { classes }).classes?.split(',')).toHaveLength(classes.length);
});
