#include "host_convolution.h"

#include <algorithm>
#include <vector>

#include "backend/cpu/parallel.h"
#include "backend/cuda/element.h"

namespace deeplab::cuda {
namespace {

// A workspace, to see that it is there and nobody else's.
constexpr size_t kWorkspace = 4096;

class HostConvolution : public Convolution {
 public:
  explicit HostConvolution(const ConvSpec& spec) : spec_(spec) {}

  size_t workspace_bytes() const override { return kWorkspace; }
  std::string implementation() const override { return "host loop"; }

  Status run(Stream, const ConvArguments& arguments) const override {
    std::fill_n(static_cast<uint8_t*>(arguments.workspace), kWorkspace, uint8_t{0xff});
    with_element(spec_.precision, [&](auto element) { convolve(arguments, element); });
    return Status();
  }

 private:
  template <typename T>
  static std::vector<float> floats(const void* data, int64_t count) {
    std::vector<float> values(count);
    for (int64_t i = 0; i < count; ++i) values[i] = to_float(static_cast<const T*>(data)[i]);
    return values;
  }

  template <typename T>
  void convolve(const ConvArguments& arguments, T) const {
    const int64_t in = spec_.in_channels, out = spec_.out_channels;
    const auto input = floats<T>(arguments.input, spec_.n * spec_.in_height * spec_.in_width * in);
    const auto kernel = floats<T>(arguments.kernel, out * spec_.kernel * spec_.kernel * in);
    const auto bias = floats<T>(arguments.bias, out);
    const auto* residual = static_cast<const T*>(arguments.residual);
    auto* output = static_cast<T*>(arguments.output);
    parallel_for(spec_.n * spec_.out_height, [&](int64_t row) {
      const int64_t n = row / spec_.out_height, y = row % spec_.out_height;
      for (int64_t x = 0; x < spec_.out_width; ++x) {
        const int64_t pixel = row * spec_.out_width + x;
        for (int64_t o = 0; o < out; ++o) {
          float sum = bias[o];
          for (int64_t ky = 0; ky < spec_.kernel; ++ky) {
            const int64_t from_y = y * spec_.stride - spec_.padding_top + ky * spec_.dilation;
            if (from_y < 0 || from_y >= spec_.in_height) continue;
            for (int64_t kx = 0; kx < spec_.kernel; ++kx) {
              const int64_t from_x = x * spec_.stride - spec_.padding_left + kx * spec_.dilation;
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

  // In eight sums, which the compiler keeps in a vector.
  static float dot(const float* a, const float* b, int64_t count) {
    float sums[kChannelMultiple] = {};
    for (int64_t i = 0; i < count; i += kChannelMultiple) {
      for (int64_t lane = 0; lane < kChannelMultiple; ++lane) sums[lane] += a[i + lane] * b[i + lane];
    }
    float sum = 0;
    for (const float lane : sums) sum += lane;
    return sum;
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
