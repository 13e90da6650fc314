import { readFileSync } from 'node:fs';
import { openPytorch } from '../lib/import/pytorch';

const expected = JSON.parse(readFileSync(`${__dirname}/import/fixtures/pytorch.json`, 'utf8'));
test.each(Object.keys(expected))('%s', async (f) => {
  const a = await openPytorch(`${__dirname}/import/fixtures/${f}`);
  expect([...a.tensors.keys()].sort()).toEqual(Object.keys(expected[f]).sort());
  for (const [n, t] of a.tensors) expect([n, t.shape, [...(await t.read())]]).toEqual([n, ...expected[f][n]]);
  console.log(a.metadata);
  await a.close();
});
