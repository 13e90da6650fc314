// What a training writes down and reads again: its log, its checkpoint's state, and what it shows; and the classes' weights.

import { appendFileSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { TrainingView } from '../lib/cli/training-view';
import { checkContinues, readCheckpoint, type TrainingState } from '../lib/train/checkpoint';
import { givenWeights, medianFrequencyWeights } from '../lib/train/class-weights';
import { decisiveKeys, readConfig } from '../lib/train/config';
import { type EvaluationRecord, readLog, type StepRecord, TrainingLog } from '../lib/train/log';
import { meanColor } from '../lib/train/network';
import { temporaryFolder } from './folder';
import { writeSafetensors } from './safetensors';

const folder = temporaryFolder();
const config = readConfig({ model: { network: 'v2-resnet101-aspp' }, data: { format: 'voc', path: 'voc' } });

const step = (iteration: number): StepRecord => {
  return { kind: 'step', iteration, loss: 1 / iteration, learningRate: 0.1, imagesPerSecond: 2.5, waitedMs: 0 };
};
const evaluation = (iteration: number): EvaluationRecord => {
  const measured = { miou: 0.5, pixelAccuracy: 0.75, iou: [0.5, null], images: 3, seconds: 2 };
  return { kind: 'evaluation', iteration, ...measured, best: true };
};

test('a log that goes on keeps what is not done anew, without a line that was not written to its end', () => {
  const place = path.join(folder, 'log');
  mkdirSync(place);
  const first = new TrainingLog(place, 0);
  for (const record of [step(1), step(2), evaluation(2), step(3)]) first.write(record);
  first.close();
  appendFileSync(path.join(place, 'log.jsonl'), '{"kind":"step","iterat');
  const second = new TrainingLog(place, 2);
  expect(second.records).toEqual([step(1), step(2), evaluation(2)]);
  second.write(step(3));
  second.close();
  expect(readLog(path.join(place, 'log.jsonl'))).toEqual([step(1), step(2), evaluation(2), step(3)]);
  expect(readFileSync(path.join(place, 'log.csv'), 'utf8')).toBe(
    'iteration,loss,learning_rate,images_per_second,waited_ms,miou\n' +
      '1,1,0.1,2.5,0,\n2,0.5,0.1,2.5,0,\n2,,,,,0.5\n3,0.3333333333333333,0.1,2.5,0,\n',
  );
  new TrainingLog(place, 0).close();
  expect(readLog(path.join(place, 'log.jsonl'))).toEqual([]);
});

test('there is no checkpoint where there is no file, and a file of weights is none', async () => {
  expect(await readCheckpoint(path.join(folder, 'none.safetensors'))).toBeUndefined();
  for (const state of [undefined, '{', '{"iteration":-1}', '[]', 'null']) {
    const file = path.join(folder, 'weights.safetensors');
    writeSafetensors(file, state === undefined ? {} : { training_state: state }, {});
    await expect(readCheckpoint(file)).rejects.toMatchObject({ code: 'ERR_INVALID_WEIGHTS' });
  }
});

test('a training goes on only with what it began with, and says what is another', () => {
  const decisive = Object.fromEntries(decisiveKeys(config));
  const state: TrainingState = { iteration: 5, best: null, decisive, images: 'abc' };
  const checkpoint = { file: 'checkpoint', state };
  expect(() => checkContinues(checkpoint, { ...config, threads: 5 }, 'abc')).not.toThrow();
  expect(() => checkContinues(checkpoint, config, 'abd')).toThrow(/other images/);
  const { momentum: _, ...older } = decisive;
  const known = { file: 'checkpoint', state: { ...state, decisive: older } };
  expect(() => checkContinues(known, config, 'abc')).not.toThrow();
  expect(() => checkContinues(known, { ...config, momentum: 0.8 }, 'abc')).toThrow(/momentum \(0.9, now 0.8\)/);
  const other = { ...config, seed: 7, momentum: 0.5 };
  expect(() => checkContinues(checkpoint, other, 'abc')).toThrow(/momentum \(0.9, now 0.5\), seed \(1, now 7\)/);
});

test('median frequency balancing counts a class among the pixels of the images that have it', () => {
  const image = (...pixels: number[]) => Uint32Array.from({ length: 256 }, (_, label) => pixels[label] ?? 0);
  const void255 = image(10, 30);
  void255[255] = 1000;
  const weights = medianFrequencyWeights([void255, image(0, 10, 10, 0)], 4);
  // Class 0: 10 of 40; class 1: 40 of 60; class 2: 10 of 20; class 3: none. The median is 1/2.
  expect([...weights]).toEqual([2, 0.75, 1, 1]);
  expect([...givenWeights('none', 3)]).toEqual([1, 1, 1]);
  expect(() => givenWeights([1, 2], 3)).toThrow(/3 numbers, one per class/);
});

test('the mean colour is that which the network subtracts', () => {
  expect(meanColor({ mean: '0.485,0.456,0.406', value_range: '0..1', channel_order: 'rgb' })).toEqual([124, 116, 104]);
  expect(meanColor({ mean: '104.008,116.669,122.675', value_range: '0..255', channel_order: 'bgr' })).toEqual([
    123, 117, 104,
  ]);
});

test('without a terminal there is a line now and then, and one for the last iteration', () => {
  const view = new TrainingView(3, false);
  expect(view.step(step(1))).toMatch(/^iteration 1\/3: loss 1.0000, rate 1.00e-1, 2.50 images\/s, \? left$/);
  expect(view.step(step(2))).toBeUndefined();
  expect(view.step(step(3))).toMatch(/^iteration 3\/3: loss 0.9429, .* 0:00 left$/);
});
