// Trainings of a small network on small images: that it learns, that it repeats itself to the bit, that it goes on where it
// was killed, and what it writes. The native trainer is held against PyTorch elsewhere.

import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import { DeepLab, type StepRecord, type TrainConfig, type TrainEvent, train } from '../lib';
import { readLog } from '../lib/train/log';
import { expectBuilt, run, start } from './command';
import { temporaryFolder } from './folder';
import { smallTraining, writeTrainingData } from './training-data';

const folder = temporaryFolder();
const data = path.join(folder, 'data');
const out = (name: string) => path.join(folder, name);
const config = (name: string, more: Partial<TrainConfig> = {}) => smallTraining(data, out(name), more);
const hashOf = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex');

/** What is the same in each repetition. */
const lossesOf = (name: string) => {
  return readLog(path.join(out(name), 'log.jsonl')).map((record) => {
    return record.kind === 'step' ? [record.iteration, record.loss] : [record.iteration, record.miou, record.iou];
  });
};

/** Trains; gives what happened. */
async function trained(settings: TrainConfig, resume = false) {
  const events: TrainEvent[] = [];
  const result = await train(settings, { resume, onEvent: (event) => events.push(event) });
  return { events, result };
}

beforeAll(async () => {
  expectBuilt();
  await writeTrainingData(data);
  await trained(config('whole'));
});

test('a training learns', async () => {
  const { events, result } = await trained(config('learning', { iterations: 60, evaluation: { every: 0 } }));
  const losses = events.filter((event): event is StepRecord => event.kind === 'step').map(({ loss }) => loss);
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  expect(losses).toHaveLength(60);
  expect(mean(losses.slice(-10))).toBeLessThan(0.7 * mean(losses.slice(0, 5)));
  expect(result).toMatchObject({ iterations: 60, loss: losses.at(-1), best: null, bestFile: null });
});

test('it writes weights that can be loaded, its configuration, a log and curves', async () => {
  const model = await DeepLab.load(path.join(out('whole'), 'best.safetensors'));
  expect(model.classes.map(({ name }) => name).slice(0, 3)).toEqual(['sky', 'building', 'pole']);
  const { labels } = await model.segment(path.join(data, 'val/images/scene0.png'));
  expect(labels).toHaveLength(48 * 40);
  await model.close();
  const records = lossesOf('whole');
  expect(records.map(([iteration]) => iteration)).toEqual([1, 2, 3, 4, 4, 5, 6, 7, 8, 8]);
  const written = JSON.parse(readFileSync(path.join(out('whole'), 'config.json'), 'utf8'));
  expect(written).toMatchObject({ momentum: 0.9, iterations: 8, augment: { scale: [0.5, 1.5] } });
  expect(existsSync(path.join(out('whole'), 'initial.safetensors'))).toBe(false);
  const curves = await sharp(path.join(out('whole'), 'curves.png')).metadata();
  expect([curves.format, curves.width]).toEqual(['png', 900]);
});

test('the same configuration gives the same bits, whatever number of threads loads; another seed does not', async () => {
  await trained(config('again', { data: { format: 'camvid', path: data, workers: 3, cacheBytes: 0, prefetch: 1 } }));
  expect(lossesOf('again')).toEqual(lossesOf('whole'));
  expect(hashOf(path.join(out('again'), 'last.safetensors'))).toBe(hashOf(path.join(out('whole'), 'last.safetensors')));
  await trained(config('seed', { seed: 2 }));
  expect(lossesOf('seed')).not.toEqual(lossesOf('whole'));
});

test('a training that was killed, again and again, ends with the bits of one that was not', async () => {
  writeFileSync(path.join(folder, 'killed.json'), JSON.stringify(config('killed')));
  const args = ['train', '--config', 'killed.json', '--resume', '--json'];
  // At its first step; right after a checkpoint, in the middle of a step, after an evaluation; while it writes.
  for (const sign of [
    '"kind":"step"',
    '"checkpoint","iteration":4',
    '"step","iteration":7',
    '"checkpoint","iteration":8',
  ]) {
    const child = start(folder, args);
    let text = '';
    await new Promise((resolve) => {
      child.stdout?.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
        if (text.includes(sign)) child.kill('SIGKILL');
      });
      child.on('close', resolve);
    });
    expect(text).toContain(sign);
  }
  const { code, stderr } = await run(folder, args);
  expect([code, stderr]).toEqual([0, '']);
  expect(lossesOf('killed')).toEqual(lossesOf('whole'));
  for (const file of ['last.safetensors', 'best.safetensors', 'checkpoint.safetensors']) {
    expect(hashOf(path.join(out('killed'), file))).toBe(hashOf(path.join(out('whole'), file)));
  }
});

test.each([
  ['between two steps', 0],
  ['within a step', 2],
])('a training that is aborted %s writes a checkpoint, from which it goes on to the same bits', async (when, delay) => {
  const name = `aborted-${delay}`;
  const stop = new AbortController();
  const abort = () => stop.abort(new Error('enough'));
  const onEvent = (event: TrainEvent) => {
    if (event.kind !== 'step' || event.iteration !== 3) return;
    if (when === 'within a step') setTimeout(abort, delay);
    else abort();
  };
  await expect(train(config(name), { signal: stop.signal, onEvent })).rejects.toMatchObject({
    code: 'ERR_ABORTED',
    cause: expect.objectContaining({ message: 'enough' }),
  });
  const { events } = await trained(config(name), true);
  expect(events[0]).toMatchObject({ kind: 'start', initialization: null });
  expect((events[0] as { iteration: number }).iteration).toBeGreaterThanOrEqual(3);
  expect(lossesOf(name)).toEqual(lossesOf('whole'));
  expect(hashOf(path.join(out(name), 'last.safetensors'))).toBe(hashOf(path.join(out('whole'), 'last.safetensors')));
});

test('a folder that has a training is not overwritten, nor gone on with otherwise', async () => {
  await expect(train(config('whole'))).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
  const other = train(config('whole', { momentum: 0.5 }), { resume: true });
  await expect(other).rejects.toThrow(/momentum \(0.9, now 0.5\)/);
  const { events, result } = await trained(config('whole'), true);
  expect(events.filter(({ kind }) => kind === 'step')).toEqual([]);
  expect(result.iterations).toBe(8);
});

test('two passes of one crop are an iteration of two, where batch norm is frozen', async () => {
  // Without void and padding: a pass's loss is the mean over the pixels that count, which are then as many in each.
  const full = path.join(folder, 'full');
  await writeTrainingData(full, { voidRows: 0 });
  const settings: Partial<TrainConfig> = {
    data: { format: 'camvid', path: full },
    augment: { width: 33, height: 33, scale: [1, 1.5] },
    batchNorm: 'frozen',
    dropout: 0,
    iterations: 6,
    evaluation: { every: 0 },
  };
  await trained(config('one', { ...settings, batch: 2 }));
  await trained(config('two', { ...settings, batch: 1, accumulate: 2 }));
  const [one, two] = ['one', 'two'].map((name) => lossesOf(name).map(([, loss]) => loss as number));
  expect(new Set(one).size).toBe(6);
  for (const [i, loss] of one?.entries() ?? []) expect(Math.abs((two?.[i] ?? 0) / loss - 1)).toBeLessThan(1e-5);
});

test('a loss that explodes stops the training, and says where', async () => {
  const wild = train(config('wild', { learningRate: 1e20 }));
  await expect(wild).rejects.toMatchObject({
    code: 'ERR_DIVERGED',
    message: expect.stringMatching(/^The loss is .* at iteration \d+: .*failed\.json/),
  });
  const report = JSON.parse(readFileSync(path.join(out('wild'), 'failed.json'), 'utf8'));
  expect(report.images).toHaveLength(2);
  for (const image of report.images) expect(image).toMatch(/^scene\d$/);
  expect(report.iteration).toBe(report.lossesBefore.length + 1);
});

test('an image that cannot be read stops the training, and is named', async () => {
  const broken = path.join(folder, 'broken');
  await writeTrainingData(broken);
  writeFileSync(path.join(broken, 'train/images/scene2.png'), 'no picture');
  const wrong = train(config('broken-out', { data: { format: 'camvid', path: broken } }));
  await expect(wrong).rejects.toMatchObject({
    code: 'ERR_INVALID_IMAGE',
    message: expect.stringContaining('scene2.png cannot be decoded'),
  });
});

test('the command prints the whole configuration, then lines, and sets keys', async () => {
  writeFileSync(path.join(folder, 'printed.json'), JSON.stringify(config('printed')));
  const args = ['train', '--config', 'printed.json', '--set', 'iterations=2', '--set', 'evaluation.every=0'];
  const { code, stdout, stderr } = await run(folder, [...args, '--out', out('elsewhere')]);
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout).toContain('"momentum": 0.9');
  expect(stdout).toMatch(/6 images, 11 classes, .* parameters, cpu in f32, 1 threads/);
  expect(stdout).toMatch(/iteration 2\/2: loss /);
  expect(existsSync(path.join(out('elsewhere'), 'last.safetensors'))).toBe(true);
  const wrong = await run(folder, [...args, '--set', 'batches=3']);
  expect(wrong.code).toBe(2);
  expect(wrong.stderr).toContain('batches: there is no such key');
});
