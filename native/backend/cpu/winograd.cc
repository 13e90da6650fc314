#include "backend/cpu/winograd.h"

#include <algorithm>

#include "backend/cpu/parallel.h"
#include "backend/cpu/vector.h"
#include "core/memory.h"

namespace deeplab {
namespace {

using dnnl::memory;

constexpr int kTile = 4;    // outputs of a tile along one axis
constexpr int kWindow = 6;  // inputs of a tile along one axis
constexpr int kProducts = kWindow * kWindow;

// A tile by the position of its first output pixel.
struct Tile {
  int64_t image, y, x;
};

// What the transforms need to know of a layer; activations are [N,h,w,channels].
struct Geometry {
  int64_t height, width, rate, in_channels, out_channels;
  bool relu;
};

// ---- The transforms of one axis: B^T x, A^T x and G x (section 4.3) ----

template <typename T>
__attribute__((always_inline)) inline void transform_input(const T* x, int64_t step, T* y) {
  const T x0 = x[0], x1 = x[step], x2 = x[2 * step], x3 = x[3 * step], x4 = x[4 * step], x5 = x[5 * step];
  const T even = x4 - 4.0f * x2, odd = x3 - 4.0f * x1;
  const T half_even = x4 - x2, half_odd = 2.0f * (x3 - x1);
  y[0] = 4.0f * x0 - 5.0f * x2 + x4;
  y[1] = even + odd;
  y[2] = even - odd;
  y[3] = half_even + half_odd;
  y[4] = half_even - half_odd;
  y[5] = 4.0f * x1 - 5.0f * x3 + x5;
}

template <typename T>
__attribute__((always_inline)) inline void transform_output(const T* x, int64_t step, T* y) {
  const T sum12 = x[step] + x[2 * step], difference12 = x[step] - x[2 * step];
  const T sum34 = x[3 * step] + x[4 * step], difference34 = x[3 * step] - x[4 * step];
  y[0] = x[0] + sum12 + sum34;
  y[1] = difference12 + 2.0f * difference34;
  y[2] = sum12 + 4.0f * sum34;
  y[3] = difference12 + 8.0f * difference34 + x[5 * step];
}

inline void transform_kernel(const double* x, int64_t step, double* y) {
  const double x0 = x[0], x1 = x[step], x2 = x[2 * step];
  y[0] = x0 / 4;
  y[1] = -(x0 + x1 + x2) / 6;
  y[2] = -(x0 - x1 + x2) / 6;
  y[3] = x0 / 24 + x1 / 12 + x2 / 6;
  y[4] = x0 / 24 - x1 / 12 + x2 / 6;
  y[5] = x2;
}

// ---- One tile, from pixels to [36,tiles,in] and from [36,tiles,out] back to pixels ----

DEEPLAB_MULTIVERSION
void gather_tile(const float* input, const Tile& tile, const Geometry& g, int64_t tiles, float* products) {
  const Floats zero = {};
  for (int64_t c = 0; c < g.in_channels; c += kLanes) {
    Floats pixels[kProducts], rows[kProducts];
    for (int i = 0; i < kWindow; ++i) {
      const int64_t y = tile.y + (i - 1) * g.rate;
      for (int j = 0; j < kWindow; ++j) {
        const int64_t x = tile.x + (j - 1) * g.rate;
        const bool inside = y >= 0 && y < g.height && x >= 0 && x < g.width;
        pixels[i * kWindow + j] =
            inside ? load(input + ((tile.image * g.height + y) * g.width + x) * g.in_channels + c) : zero;
      }
    }
    for (int j = 0; j < kWindow; ++j) {
      Floats column[kWindow];
      transform_input(pixels + j, kWindow, column);
      for (int i = 0; i < kWindow; ++i) rows[i * kWindow + j] = column[i];
    }
    for (int i = 0; i < kWindow; ++i) {
      Floats row[kWindow];
      transform_input(rows + i * kWindow, 1, row);
      for (int j = 0; j < kWindow; ++j) store(products + (i * kWindow + j) * tiles * g.in_channels + c, row[j]);
    }
  }
}

DEEPLAB_MULTIVERSION
void scatter_tile(const float* products, const Tile& tile, const Geometry& g, int64_t tiles, const float* bias,
                  float* output) {
  const Floats zero = {};
  for (int64_t c = 0; c < g.out_channels; c += kLanes) {
    Floats rows[kTile * kWindow];
    for (int j = 0; j < kWindow; ++j) {
      Floats column[kWindow], transformed[kTile];
      for (int i = 0; i < kWindow; ++i) column[i] = load(products + (i * kWindow + j) * tiles * g.out_channels + c);
      transform_output(column, 1, transformed);
      for (int i = 0; i < kTile; ++i) rows[i * kWindow + j] = transformed[i];
    }
    const Floats shift = load(bias + c);
    for (int i = 0; i < kTile; ++i) {
      const int64_t y = tile.y + i * g.rate;
      if (y >= g.height) break;
      Floats row[kTile];
      transform_output(rows + i * kWindow, 1, row);
      for (int j = 0; j < kTile; ++j) {
        const int64_t x = tile.x + j * g.rate;
        if (x >= g.width) break;
        Floats value = row[j] + shift;
        if (g.relu) value = value > zero ? value : zero;
        store(output + ((tile.image * g.height + y) * g.width + x) * g.out_channels + c, value);
      }
    }
  }
}

// ---- Compilation ----

// First pixels of the tiles along an axis of `size` pixels; phase p has the pixels p, p + rate, p + 2 rate, ...
std::vector<int64_t> tile_starts(int64_t size, int64_t rate) {
  std::vector<int64_t> starts;
  for (int64_t phase = 0; phase < rate; ++phase) {
    for (int64_t first = phase; first < size; first += kTile * rate) starts.push_back(first);
  }
  return starts;
}

std::vector<Tile> tiles_of(const Shape& output, int64_t rate) {
  const std::vector<int64_t> rows = tile_starts(output.h, rate), columns = tile_starts(output.w, rate);
  std::vector<Tile> tiles;
  for (int64_t image = 0; image < output.n; ++image) {
    for (const int64_t y : rows) {
      for (const int64_t x : columns) tiles.push_back({image, y, x});
    }
  }
  return tiles;
}

// [out,in,3,3] -> [36,in,out]
ConvWeights transform_weights(const ConvWeights& weights) {
  const int64_t out = weights.dims[0], in = weights.dims[1];
  ConvWeights result{{kProducts, in, out}, std::vector<float>(kProducts * in * out), weights.bias};
  parallel_for(in, [&](int64_t i) {
    for (int64_t o = 0; o < out; ++o) {
      double kernel[9], half[kWindow * 3], full[kWindow];
      std::copy_n(weights.kernel.data() + (o * in + i) * 9, 9, kernel);
      for (int x = 0; x < 3; ++x) {
        transform_kernel(kernel + x, 3, full);
        for (int y = 0; y < kWindow; ++y) half[y * 3 + x] = full[y];
      }
      for (int y = 0; y < kWindow; ++y) {
        transform_kernel(half + y * 3, 1, full);
        for (int x = 0; x < kWindow; ++x) {
          result.kernel[((y * kWindow + x) * in + i) * out + o] = static_cast<float>(full[x]);
        }
      }
    }
  });
  return result;
}

int64_t divide_up(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

}  // namespace

bool prefers_winograd(const LayerCompiler& compiler, const Conv2d& op, const Shape& output) {
  const Window& window = op.window;
  if (!compiler.options.winograd || compiler.options.precision != Precision::kF32) return false;
  if (op.residual || op.depthwise || op.activation == Activation::kRelu6) return false;
  if (window.kernel != 3 || window.stride != 1 || window.padding != window.dilation) return false;
  if (op.in_channels % kLanes != 0 || op.out_channels % kLanes != 0) return false;
  // Below this share of the direct form's products, the transforms are paid for (measured on AVX-512 and AVX2).
  constexpr double kWorthwhile = 0.75;
  const size_t tiles = tile_starts(output.h, window.dilation).size() * tile_starts(output.w, window.dilation).size();
  const auto pixels = static_cast<double>(output.h * output.w);
  return static_cast<double>(tiles * kProducts) < kWorthwhile * pixels * 9;
}

Result<Step> compile_winograd(const LayerCompiler& compiler, const Conv2d& op, const Shape& input,
                              const Shape& output) {
  std::vector<Tile> tiles = tiles_of(output, op.window.dilation);
  // Blocks of tiles, equally large, bound the scratch memory and keep it in the cache.
  constexpr int64_t kMaxBlock = 128;
  const auto count = static_cast<int64_t>(tiles.size());
  const int64_t block = divide_up(count, divide_up(count, kMaxBlock));
  const int64_t in = op.in_channels, out = op.out_channels;

  constexpr auto kType = memory::data_type::f32;
  const memory::desc source_desc({kProducts, block, in}, kType, memory::format_tag::abc);
  const memory::desc destination_desc({kProducts, block, out}, kType, memory::format_tag::abc);
  const auto description = onednn::describe_matmul(
      source_desc, memory::desc({kProducts, in, out}, kType, memory::format_tag::any), destination_desc);
  auto packed =
      compiler.weights.get("winograd " + weights_key(op), description.weights_desc(), [&]() -> Result<ConvWeights> {
        auto weights = read_weights(compiler.file, op);
        if (!weights.ok()) return weights.status();
        return transform_weights(*weights);
      });
  if (!packed.ok()) return packed.status();

  const size_t source_bytes = round_up(source_desc.get_size(), AlignedBuffer::kAlignment);
  const size_t destination_bytes = round_up(destination_desc.get_size(), AlignedBuffer::kAlignment);
  Step step;
  step.weights = *packed;
  step.implementation = "winograd+" + std::string(description.impl_info_str());
  step.scratch_bytes = source_bytes + destination_bytes + description.scratchpad_desc().get_size();
  const Geometry geometry{input.h, input.w, op.window.dilation, in, out, op.activation == Activation::kRelu};
  const dnnl::engine& engine = onednn::engine();
  step.run = [=, matmul = dnnl::matmul(description), tiles = std::move(tiles), packed = *packed,
              source = memory(source_desc, engine, nullptr), destination = memory(destination_desc, engine, nullptr),
              scratch = memory(description.scratchpad_desc(), engine, nullptr)](const StepContext& context,
                                                                                const StepMemory& at) mutable {
    const float* pixels = context.at<float>(at.inputs[0]);
    float* result = context.at<float>(at.output);
    float* gathered = context.at<float>(at.scratch);
    float* products = context.at<float>(at.scratch + source_bytes);
    source.set_data_handle(gathered);
    destination.set_data_handle(products);
    scratch.set_data_handle(context.at<void>(at.scratch + source_bytes + destination_bytes));
    const auto* bias = static_cast<const float*>(packed->bias.get_data_handle());
    for (int64_t first = 0; first < count; first += block) {
      const int64_t present = std::min(block, count - first);
      parallel_for(present,
                   [&](int64_t t) { gather_tile(pixels, tiles[first + t], geometry, block, gathered + t * in); });
      matmul.execute(context.stream, {{DNNL_ARG_SRC, source},
                                      {DNNL_ARG_WEIGHTS, packed->kernel},
                                      {DNNL_ARG_DST, destination},
                                      {DNNL_ARG_SCRATCHPAD, scratch}});
      parallel_for(present, [&](int64_t t) {
        scatter_tile(products + t * out, tiles[first + t], geometry, block, bias, result);
      });
    }
  };
  return step;
}

}  // namespace deeplab
