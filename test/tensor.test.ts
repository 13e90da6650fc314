import { Tensor } from '../lib';

const refusal = (message: RegExp) =>
  expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT', message: expect.stringMatching(message) });

test('elements are found by their indices, the last of which varies fastest', () => {
  const tensor = new Tensor(
    Float32Array.from({ length: 24 }, (_, i) => i),
    [2, 3, 4],
  );
  expect(tensor.at(0, 0, 0)).toBe(0);
  expect(tensor.at(0, 0, 3)).toBe(3);
  expect(tensor.at(0, 2, 1)).toBe(9);
  expect(tensor.at(1, 2, 3)).toBe(23);
});

test('the data is shared, the shape is not', () => {
  const data = new Float32Array(2);
  const shape = [2];
  const tensor = new Tensor(data, shape);
  data[1] = 7;
  shape[0] = 5;
  expect(tensor.at(1)).toBe(7);
  expect(tensor.shape).toEqual([2]);
});

test('the dtype follows the array', () => {
  expect(new Tensor(new Float32Array(1), [1]).dtype).toBe('f32');
  expect(new Tensor(new Uint8Array(1), [1]).dtype).toBe('u8');
});

test('a shape without dimensions is a single number', () => {
  expect(new Tensor(new Uint8Array([42]), []).at()).toBe(42);
});

test('an empty dimension holds nothing', () => {
  const tensor = new Tensor(new Float32Array(0), [3, 0]);
  expect(() => tensor.at(0, 0)).toThrow(refusal(/index 1/));
});

test.each([
  { shape: [2, 2], message: /Expected 4 .* for data\.length but received 6/ },
  { shape: [6, 1, 2], message: /Expected 12/ },
  { shape: [-2, -3], message: /integers >= 0 for shape but received -2/ },
  { shape: [1.5, 4], message: /received 1\.5/ },
  { shape: [Number.NaN], message: /received NaN/ },
])('shape $shape is refused for six elements', ({ shape, message }) => {
  expect(() => new Tensor(new Float32Array(6), shape)).toThrow(refusal(message));
});

test('other data is refused', () => {
  expect(() => new Tensor([1, 2] as unknown as Float32Array, [2])).toThrow(refusal(/Float32Array or Uint8Array/));
  expect(() => new Tensor(new Float64Array(2) as unknown as Float32Array, [2])).toThrow(refusal(/Float64Array/));
  expect(() => new Tensor(new Float32Array(2), 2 as unknown as number[])).toThrow(refusal(/shape/));
});

test.each([[[0]], [[0, 0, 0]], [[2, 0]], [[0, 3]], [[-1, 0]], [[0.5, 0]]])(
  'indices %j are refused for shape 2x3',
  (indices) => {
    expect(() => new Tensor(new Uint8Array(6), [2, 3]).at(...indices)).toThrow(refusal(/Expected/));
  },
);
