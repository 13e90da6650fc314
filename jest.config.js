// Tests are TypeScript, stripped of its types by swc; tsc checks the types (npm run lint).
const os = require('node:os');

module.exports = {
  maxWorkers: Math.max(2, os.availableParallelism() - 1), // jest would use one core of two
  testEnvironment: 'node',
  testTimeout: 120_000,
  roots: ['<rootDir>/lib', '<rootDir>/test'],
  testMatch: ['<rootDir>/test/*.test.ts'],
  transform: {
    '\\.ts$': [
      '@swc/jest',
      { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' }, module: { type: 'commonjs' } },
    ],
  },
};
