// The roundings of stored weights: to the nearest, ties to even.

import fc from 'fast-check';
import { decodeFloats } from '../lib/floats';
import { decodeElements } from '../lib/import/elements';
import { quantizeKernel, toBfloat, toHalf } from '../lib/import/precision';

const all = Array.from({ length: 0x10000 }, (_, bits) => bits);
const decoded = (type: 'f16' | 'bf16') => decodeElements(new Uint8Array(Uint16Array.from(all).buffer), type);

describe.each([
  ['f16', toHalf, 0x7c00],
  ['bf16', toBfloat, 0x7f80],
] as const)('%s', (type, narrow, infinity) => {
  const values = decoded(type);

  test('every number of it is itself', () => {
    const wrong = all.filter((bits) => !Number.isNaN(values[bits]) && narrow(values[bits] as number) !== bits);
    expect(wrong).toEqual([]);
  });

  test('halfway between two numbers the even one is taken', () => {
    const wrong = [];
    for (let bits = 0; bits < infinity - 1; bits++) {
      const middle = ((values[bits] as number) + (values[bits + 1] as number)) / 2;
      if (Math.fround(middle) !== middle) continue; // finer than a float can be
      const even = bits % 2 === 0 ? bits : bits + 1;
      if (narrow(middle) !== even || narrow(-middle) !== (even | 0x8000)) wrong.push(bits);
    }
    expect(wrong).toEqual([]);
  });

  test('no number of it is nearer than the one taken', () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (value) => {
        const bits = narrow(value);
        fc.pre((bits & 0x7fff) < infinity);
        const error = Math.abs((values[bits] as number) - value);
        for (const neighbour of [bits - 1, bits + 1]) {
          const other = values[neighbour & 0xffff] as number;
          if (Number.isFinite(other)) expect(Math.abs(other - value)).toBeGreaterThanOrEqual(error);
        }
      }),
    );
  });

  test('what is too large is infinite, and what is no number stays none', () => {
    expect(narrow(3.4e38)).toBe(infinity);
    expect(narrow(Number.NEGATIVE_INFINITY)).toBe(infinity | 0x8000);
    expect(narrow(Number.NaN) & 0x7fff).toBeGreaterThan(infinity);
  });
});

describe('int8', () => {
  const kernels = fc
    .tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 20 }))
    .chain(([outputs, size]) =>
      fc.tuple(
        fc.constant(outputs),
        fc.float32Array({ minLength: outputs * size, maxLength: outputs * size, noNaN: true, noDefaultInfinity: true }),
      ),
    );

  test('each value is within half a step of its channel, and the largest is 127', () => {
    fc.assert(
      fc.property(kernels, ([outputs, kernel]) => {
        const { values, scales } = quantizeKernel(kernel, outputs);
        const size = kernel.length / outputs;
        for (let channel = 0; channel < outputs; channel++) {
          const [from, scale] = [channel * size, scales[channel] as number];
          const channelValues = [...values.subarray(from, from + size)];
          const largest = Math.max(...channelValues.map(Math.abs));
          expect(largest).toBe(
            kernel.subarray(from, from + size).some((value) => Math.abs(value) > 1e-40) ? 127 : largest,
          );
          for (const [i, value] of channelValues.entries()) {
            // The scale is a float, so that 127 steps may be a little less than the largest value.
            const error = Math.abs(value * scale - (kernel[from + i] as number));
            expect(error).toBeLessThanOrEqual(scale * 0.5001);
          }
        }
      }),
    );
  });

  test('halves go to the even integer', () => {
    const kernel = Float32Array.of(127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 3.4999);
    expect([...quantizeKernel(kernel, 1).values]).toEqual([127, 0, 2, 2, 0, -2, -2, 3].map((value) => value + 0));
  });

  test('a channel of zeros stays zeros, with a scale that is finite', () => {
    const { values, scales } = quantizeKernel(new Float32Array(6), 2);
    expect([...values]).toEqual([0, 0, 0, 0, 0, 0]);
    expect([...scales]).toEqual([1, 1]);
  });
});

test('16 bits are what the reader of arrays reads', () => {
  const bits = Uint16Array.of(toHalf(0.1), toHalf(-65504), toHalf(2 ** -24));
  expect([...decodeFloats(new Uint8Array(bits.buffer), 'f16')]).toEqual([0.0999755859375, -65504, 2 ** -24]);
});
