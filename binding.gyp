# A bridge: node-gyp, node-gyp-build and prebuildify expect this file. CMakeLists.txt describes the build.
{
  'targets': [
    {
      'target_name': 'deeplab',
      'type': 'none',
      'actions': [
        {
          'action_name': 'cmake',
          'inputs': [],
          # Never written, so that the action always runs; CMake knows what is up to date.
          'outputs': ['<(PRODUCT_DIR)/always'],
          'action': ['node', 'scripts/cmake.js', '<(CONFIGURATION_NAME)'],
        },
      ],
    },
  ],
}
