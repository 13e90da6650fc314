// Once this is required, so can the tests' TypeScript be: it is stripped of its types.

const { transformFileSync } = require('@swc/core');

const jsc = { parser: { syntax: 'typescript' }, target: 'es2022' };

require.extensions['.ts'] = (module, file) => {
  const { code } = transformFileSync(file, { jsc, module: { type: 'commonjs' } });
  module._compile(code, file);
};
