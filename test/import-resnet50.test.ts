// A real ResNet-50, trained by torchvision, as the backbone of DeepLab v3: its batch norms have variances so small that
// even an epsilon is seen, which those of random weights have not. The head is of random numbers: import/networks/
// with_real_resnet50.py gives torchvision's network the same.

import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import type { Archive } from '../lib/import/archive';
import { openPytorch } from '../lib/import/pytorch';
import { expectBuilt, run } from './command';
import { temporaryFolder } from './folder';
import { held, readReference } from './import/references';
import { archiveOf, tame, torchvisionShapes } from './synthetic-archives';

const folder = temporaryFolder();
const trained = path.join(__dirname, '../../shared/models/resnet50-imagenet.pth');
const there = existsSync(trained);
if (!there) process.stdout.write(`skipped: ${trained} is not there\n`);

/** The trained backbone and a random head under torchvision's names. */
function withHead(backbone: Archive): Archive {
  const convolutions = [...backbone.tensors].filter(([name]) => !name.startsWith('fc.'));
  const named = convolutions.map(([name, tensor]) => [`backbone.${name}`, tensor] as const);
  const random = [...archiveOf('pytorch', torchvisionShapes('resnet50', 21), tame).tensors];
  const head = random.filter(([name]) => name.startsWith('classifier.'));
  return { ...backbone, tensors: new Map([...named, ...head]) };
}

(there ? describe : describe.skip)('the ResNet-50 that torchvision trained', () => {
  test('has the logits and the labels of PyTorch below a head of DeepLab v3', async () => {
    const backbone = await openPytorch(trained);
    try {
      const file = path.join(folder, 'real.safetensors');
      const { error, same } = await held(withHead(backbone), readReference('real-resnet50'), file);
      expect(error).toBeLessThan(1e-5); // the rounding of f32 through fifty layers
      expect(same).toBeGreaterThanOrEqual(0.999);
    } finally {
      await backbone.close();
    }
  });

  test('is refused by itself, by the command too: it has no head', async () => {
    expectBuilt();
    const before = readdirSync(folder);
    const output = path.join(folder, 'none.safetensors');
    const { code, stdout, stderr } = await run(folder, ['weights', 'import', trained, '-o', output]);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(
      /resnet50-imagenet\.pth is a ResNet that classifies images: a backbone without the head that segments/,
    );
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(readdirSync(folder)).toEqual(before);
  });
});
