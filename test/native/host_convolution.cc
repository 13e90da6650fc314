#include "host_convolution.h"

#include <algorithm>
#include <vector>

#include "backend/cpu/parallel.h"
#include "backend/cuda/element.h"

namespace deeplab::cuda {
namespace {

// A workspace, to see that it is there and nobody else's.
constexpr size_t kWorkspace = 4096;

template <typename T>
std::vector<float> floats(const void* data, int64_t count) {
  std::vector<float> values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = to_float(static_cast<const T*>(data)[i]);
  return values;
}

// In eight sums, which the compiler keeps in a vector.
float dot(const float* a, const float* b, int64_t count) {
  float sums[kChannelMultiple] = {};
  for (int64_t i = 0; i < count; i += kChannelMultiple) {
    for (int64_t lane = 0; lane < kChannelMultiple; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  float sum = 0;
  for (const float lane : sums) sum += lane;
  return sum;
}

class HostConvolution : public Convolution {
 public:
  explicit HostConvolution(const ConvSpec& spec) : spec_(spec) {}

  size_t workspace_bytes() const override { return kWorkspace; }
  std::string implementation() const override { return "host loop"; }

  Status run(Stream, const ConvArguments& arguments) const override {
    std::fill_n(static_cast<uint8_t*>(arguments.workspace), kWorkspace, uint8_t{0xff});
    with_element(spec_.precision, [&](auto element) {
      switch (spec_.direction) {
        case ConvDirection::kForward: convolve(arguments, element); break;
        case ConvDirection::kBackwardData: convolve_back(arguments, element); break;
        case ConvDirection::kBackwardFilter: correlate(arguments, element); break;
      }
    });
    return Status();
  }

 private:
  // The row or column of the input that element `k` of a window meets at position `at` of the output.
  int64_t met(int64_t at, int64_t k, int64_t padding) const { return at * spec_.stride - padding + k * spec_.dilation; }

  template <typename T>
  void convolve(const ConvArguments& arguments, T) const {
    const int64_t in = spec_.in_channels, out = spec_.out_channels;
    const auto input = floats<T>(arguments.input, spec_.input_elements());
    const auto kernel = floats<T>(arguments.kernel, spec_.kernel_elements());
    const auto bias = spec_.bias ? floats<T>(arguments.bias, out) : std::vector<float>(out);
    const auto* residual = static_cast<const T*>(arguments.residual);
    auto* output = static_cast<T*>(arguments.output);
    parallel_for(spec_.n * spec_.out_height, [&](int64_t row) {
      const int64_t n = row / spec_.out_height, y = row % spec_.out_height;
      for (int64_t x = 0; x < spec_.out_width; ++x) {
        const int64_t pixel = row * spec_.out_width + x;
        for (int64_t o = 0; o < out; ++o) {
          float sum = bias[o];
          for (int64_t ky = 0; ky < spec_.kernel; ++ky) {
            const int64_t from_y = met(y, ky, spec_.padding_top);
            if (from_y < 0 || from_y >= spec_.in_height) continue;
            for (int64_t kx = 0; kx < spec_.kernel; ++kx) {
              const int64_t from_x = met(x, kx, spec_.padding_left);
              if (from_x < 0 || from_x >= spec_.in_width) continue;
              sum += dot(&input[((n * spec_.in_height + from_y) * spec_.in_width + from_x) * in],
                         &kernel[((o * spec_.kernel + ky) * spec_.kernel + kx) * in], in);
            }
          }
          if (residual != nullptr) sum += to_float(residual[pixel * out + o]);
          output[pixel * out + o] = from_float<T>(spec_.relu ? std::max(sum, 0.0f) : sum);
        }
      }
    });
  }

  // visit(pixel of the input, pixel of the output, kernel element) for each pair that meets, of image n.
  template <typename Visit>
  void for_each_pair(int64_t n, const Visit& visit) const {
    for (int64_t y = 0; y < spec_.out_height; ++y) {
      for (int64_t x = 0; x < spec_.out_width; ++x) {
        for (int64_t ky = 0; ky < spec_.kernel; ++ky) {
          const int64_t from_y = met(y, ky, spec_.padding_top);
          if (from_y < 0 || from_y >= spec_.in_height) continue;
          for (int64_t kx = 0; kx < spec_.kernel; ++kx) {
            const int64_t from_x = met(x, kx, spec_.padding_left);
            if (from_x < 0 || from_x >= spec_.in_width) continue;
            visit((n * spec_.in_height + from_y) * spec_.in_width + from_x,
                  (n * spec_.out_height + y) * spec_.out_width + x, ky * spec_.kernel + kx);
          }
        }
      }
    }
  }

  template <typename T>
  void convolve_back(const ConvArguments& arguments, T) const {
    const int64_t in = spec_.in_channels, out = spec_.out_channels, area = spec_.kernel * spec_.kernel;
    const auto kernel = floats<T>(arguments.kernel, spec_.kernel_elements());
    const auto gradient = floats<T>(arguments.gradient, spec_.output_elements());
    std::vector<double> sums(spec_.input_elements());
    parallel_for(spec_.n, [&](int64_t n) {
      for_each_pair(n, [&](int64_t from, int64_t to, int64_t element) {
        for (int64_t o = 0; o < out; ++o) {
          const double factor = gradient[to * out + o];
          for (int64_t i = 0; i < in; ++i) sums[from * in + i] += factor * kernel[(o * area + element) * in + i];
        }
      });
    });
    auto* output = static_cast<T*>(arguments.output);
    for (size_t i = 0; i < sums.size(); ++i) output[i] = from_float<T>(static_cast<float>(sums[i]));
  }

  template <typename T>
  void correlate(const ConvArguments& arguments, T) const {
    const int64_t in = spec_.in_channels, out = spec_.out_channels, area = spec_.kernel * spec_.kernel;
    const auto input = floats<T>(arguments.input, spec_.input_elements());
    const auto gradient = floats<T>(arguments.gradient, spec_.output_elements());
    auto* output = static_cast<T*>(arguments.output);
    parallel_for(out, [&](int64_t o) {
      std::vector<double> sums(area * in);
      for (int64_t n = 0; n < spec_.n; ++n) {
        for_each_pair(n, [&](int64_t from, int64_t to, int64_t element) {
          const double factor = gradient[to * out + o];
          for (int64_t i = 0; i < in; ++i) sums[element * in + i] += factor * input[from * in + i];
        });
      }
      for (int64_t i = 0; i < area * in; ++i) output[o * area * in + i] = from_float<T>(static_cast<float>(sums[i]));
    });
  }

  const ConvSpec spec_;
};

}  // namespace

Result<std::shared_ptr<const Convolution>> HostCompiler::compile(const ConvSpec& spec) {
  if (spec.in_channels % kChannelMultiple != 0 || spec.out_channels % kChannelMultiple != 0) {
    return error(Code::kInternal, "expected channels in eights");
  }
  return std::shared_ptr<const Convolution>(std::make_shared<HostConvolution>(spec));
}

}  // namespace deeplab::cuda
