#include "graph/vgg16.h"

#include "graph/layer_builder.h"

namespace deeplab {

NodeId add_vgg16(Graph& graph, const ModelConfig& config, NodeId input) {
  struct Block {
    int convolutions;
    int channels;
    int rate;
    int pool_stride;
  };
  static constexpr Block kBlocks[] = {{2, 64, 1, 2}, {2, 128, 1, 2}, {3, 256, 1, 2}, {3, 512, 1, 1}, {3, 512, 2, 1}};

  LayerBuilder layers(graph, false, 0);
  NodeId x = input;
  int channels = 3, number = 1;
  for (const Block& block : kBlocks) {
    const std::string digit = std::to_string(number++);
    for (int i = 1; i <= block.convolutions; ++i) {
      const std::string name = digit + "_" + std::to_string(i);
      x = layers.conv("conv" + name, x, channels, block.channels, same_size(3, block.rate));
      x = layers.relu("relu" + name, x);
      channels = block.channels;
    }
    // 3x3 in every pool (arXiv 1412.7062: 2x2), so that the grids of all strides have their first cell in common.
    x = graph.add("pool" + digit, MaxPool{{3, block.pool_stride, 1, 1, config.pool_padding}}, {x});
  }
  return config.pool5a ? graph.add("pool5a", AveragePool{same_size(3)}, {x}) : x;
}

}  // namespace deeplab
