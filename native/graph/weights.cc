#include "graph/weights.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace deeplab {
namespace {

// y = (x - mean) / sqrt(variance + eps) * weight + bias, so the kernel is scaled and the bias shifted (in double: the
// square root and the quotient are the only roundings that a layer would not have had).
Status fold(const Safetensors& file, const BatchNorm& norm, ConvWeights& weights) {
  const Dims dims{norm.channels};
  auto scale = file.read_f32(norm.name + ".weight", dims);
  if (!scale.ok()) return scale.status();
  auto shift = file.read_f32(norm.name + ".bias", dims);
  if (!shift.ok()) return shift.status();
  auto mean = file.read_f32(norm.name + ".running_mean", dims);
  if (!mean.ok()) return mean.status();
  auto variance = file.read_f32(norm.name + ".running_var", dims);
  if (!variance.ok()) return variance.status();

  const size_t per_channel = weights.kernel.size() / norm.channels;
  for (int channel = 0; channel < norm.channels; ++channel) {
    const double denominator = std::sqrt(static_cast<double>((*variance)[channel]) + norm.eps);
    const double factor = (*scale)[channel] / denominator;
    if (!std::isfinite(factor)) {
      return error(Code::kInvalidWeights, file.name(), ": tensor '", norm.name, ".running_var' holds ",
                   (*variance)[channel], " at element ", channel, ", expected a positive variance");
    }
    float* kernel = weights.kernel.data() + channel * per_channel;
    for (size_t i = 0; i < per_channel; ++i) kernel[i] = static_cast<float>(kernel[i] * factor);
    weights.bias[channel] = static_cast<float>((weights.bias[channel] - (*mean)[channel]) * factor + (*shift)[channel]);
  }
  return Status();
}

}  // namespace

std::string weights_key(const Conv2d& conv) {
  std::ostringstream key;
  // Names may have any characters: their lengths keep them apart.
  const auto add = [&](const std::string& name) { key << name.size() << ':' << name << ' '; };
  add(conv.weight);
  add(conv.bias);
  key << conv.out_channels << 'x' << conv.depth() << 'x' << conv.window.kernel;
  if (!conv.batch_norm) return key.str();
  key << ' ';
  add(conv.batch_norm->name);
  key << std::hexfloat << conv.batch_norm->eps;
  return key.str();
}

std::string weights_key(const AtrousTaps& op) {
  std::ostringstream key;
  key << "taps";
  for (const Tap& tap : op.taps) key << ' ' << tap.dy << ',' << tap.dx;
  for (const Conv2d& branch : op.branches) key << '\n' << branch.window.dilation << ' ' << weights_key(branch);
  return key.str();
}

Result<ConvWeights> read_weights(const Safetensors& file, const Conv2d& conv) {
  ConvWeights weights;
  weights.dims = {conv.out_channels, conv.depth(), conv.window.kernel, conv.window.kernel};
  auto kernel = file.read_f32(conv.weight, weights.dims);
  if (!kernel.ok()) return kernel.status();
  weights.kernel = std::move(*kernel);
  weights.bias.assign(conv.out_channels, 0.0f);
  if (!conv.bias.empty()) {
    auto bias = file.read_f32(conv.bias, {conv.out_channels});
    if (!bias.ok()) return bias.status();
    weights.bias = std::move(*bias);
  }
  if (conv.batch_norm) DEEPLAB_RETURN_IF_ERROR(fold(file, *conv.batch_norm, weights));
  return weights;
}

Result<ConvWeights> read_weights(const Safetensors& file, const AtrousTaps& op) {
  const int64_t in = op.in_channels;
  const int64_t out = static_cast<int64_t>(op.taps.size()) * op.classes;
  ConvWeights weights{{out, in, 1, 1}, std::vector<float>(out * in), std::vector<float>(out)};
  const auto tap_index = [&](const Tap& tap) {
    return std::find(op.taps.begin(), op.taps.end(), tap) - op.taps.begin();
  };
  for (const Conv2d& branch : op.branches) {
    auto one = read_weights(file, branch);
    if (!one.ok()) return one.status();
    const int size = branch.window.kernel;
    const int radius = size / 2;
    for (int k = 0; k < size * size; ++k) {
      const int64_t tap =
          tap_index({(k / size - radius) * branch.window.dilation, (k % size - radius) * branch.window.dilation});
      for (int64_t c = 0; c < op.classes; ++c) {
        float* row = weights.kernel.data() + (tap * op.classes + c) * in;
        for (int64_t i = 0; i < in; ++i) row[i] += one->kernel[(c * in + i) * size * size + k];
      }
    }
    const int64_t centre = tap_index({0, 0});
    for (int64_t c = 0; c < op.classes; ++c) weights.bias[centre * op.classes + c] += one->bias[c];
  }
  return weights;
}

}  // namespace deeplab
