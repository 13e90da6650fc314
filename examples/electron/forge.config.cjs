// For `npm run package:forge`.

module.exports = {
  packagerConfig: {
    asar: {
      // Native code is opened by the system, which does not see into the archive; and a library finds the others beside it.
      unpack: '{**/*.{node,so},**/*.so.*,**/node_modules/{deeplab,@deeplab,sharp,@img}/**}',
    },
    // Native code maps the weights: they stay outside the archive as well.
    extraResource: ['model.safetensors'],
  },
  // Prebuilt for Node-API: nothing is to be compiled for Electron's own version of it.
  rebuildConfig: { onlyModules: [] },
};
