// The operations of a training step that have no parameters, each forward and backward. Where inference has the forward
// one, it is that.
#include <algorithm>
#include <memory>

#include "backend/cpu/channel_loops.h"
#include "backend/cpu/convolution.h"
#include "backend/cpu/element.h"
#include "backend/cpu/loops.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/training_step.h"

namespace deeplab {
namespace {

using dnnl::memory;

// A step whose runs are made for both element types: make(T()) gives {forward, backward}.
template <typename Make>
TrainingStep loop_step(const TrainingCompiler& compiler, const Make& make) {
  TrainingStep step;
  step.implementation = "loop";
  std::tie(step.forward, step.backward) = compiler.bf16() ? make(uint16_t()) : make(float());
  return step;
}

using Runs = std::pair<TrainingRun, TrainingRun>;

// Where a pixel of an input of a concatenation finds itself in the output.
struct ConcatPart {
  int64_t channels;
  int64_t first;  // channel of the output
  bool pixel;     // one pixel for all
};

TrainingRun forward_of(const Step& inference) {
  return [run = inference.run](const TrainingContext& context, const TrainingStepMemory& at) {
    RunInput input;
    input.pixels = context.batch.pixels;
    run({context.stream, context.arena, input, RunOutput()}, StepMemory{at.inputs, at.output, 0});
  };
}

}  // namespace

TrainingStep compile_training_normalize(const TrainingCompiler& compiler, const Normalize& op) {
  const Step normalize = compile_normalize(op, compiler.network.images, compiler.precision);
  TrainingStep step;
  step.implementation = normalize.implementation;
  step.forward = forward_of(normalize);
  return step;
}

TrainingStep compile_training_pooling(const TrainingCompiler& compiler, const TrainingNode& node,
                                      dnnl::algorithm algorithm, const Window& window) {
  const memory::data_type type = onednn::data_type(compiler.precision);
  const Shape& input = compiler.input(node, 0);
  const auto described =
      onednn::describe_training_pooling(algorithm, nhwc(input, type), nhwc(node.output, type), window,
                                        window_extent(window, input.h), window_extent(window, input.w));
  const memory::desc workspace = described.forward.workspace_desc();
  const size_t input_bytes = round_up(compiler.bytes(input), AlignedBuffer::kAlignment);
  const bool add = node.gradients[0] == GradientUse::kAdd;
  TrainingStep step;
  step.implementation = described.forward.impl_info_str();
  step.saved_bytes = workspace.get_size();
  step.forward_scratch_bytes = described.forward.scratchpad_desc().get_size();
  step.backward_scratch_bytes = (add ? input_bytes : 0) + described.backward.scratchpad_desc().get_size();
  const auto object = [](const memory::desc& desc, std::byte* data) { return memory(desc, onednn::engine(), data); };
  step.forward = [=, forward = dnnl::pooling_forward(described.forward)](const TrainingContext& context,
                                                                         const TrainingStepMemory& at) {
    const auto& pd = described.forward;
    forward.execute(context.stream,
                    {{DNNL_ARG_SRC, object(pd.src_desc(), context.arena + at.inputs[0])},
                     {DNNL_ARG_DST, object(pd.dst_desc(), context.arena + at.output)},
                     {DNNL_ARG_WORKSPACE, object(workspace, context.arena + at.saved)},
                     {DNNL_ARG_SCRATCHPAD, object(pd.scratchpad_desc(), context.arena + at.forward_scratch)}});
  };
  const int64_t elements = input.elements();
  const bool bf16 = compiler.bf16();
  step.backward = [=, backward = dnnl::pooling_backward(described.backward)](const TrainingContext& context,
                                                                             const TrainingStepMemory& at) {
    const auto& pd = described.backward;
    std::byte* const scratch = context.arena + at.backward_scratch;
    std::byte* const gradient = context.arena + at.input_gradients[0];
    backward.execute(context.stream,
                     {{DNNL_ARG_DIFF_DST, object(pd.diff_dst_desc(), context.arena + at.gradient)},
                      {DNNL_ARG_DIFF_SRC, object(pd.diff_src_desc(), add ? scratch : gradient)},
                      {DNNL_ARG_WORKSPACE, object(workspace, context.arena + at.saved)},
                      {DNNL_ARG_SCRATCHPAD, object(pd.scratchpad_desc(), scratch + (add ? input_bytes : 0))}});
    if (!add) return;
    parallel_slices(elements, [&](int64_t first, int64_t count) {
      if (bf16) {
        add_elements(reinterpret_cast<uint16_t*>(scratch) + first, count, true,
                     reinterpret_cast<uint16_t*>(gradient) + first);
      } else {
        add_elements(reinterpret_cast<float*>(scratch) + first, count, true,
                     reinterpret_cast<float*>(gradient) + first);
      }
    });
  };
  return step;
}

TrainingStep compile_activate(const TrainingCompiler& compiler, const TrainingNode& node, const Activate& op) {
  const int64_t elements = node.output.elements();
  const bool add = node.gradients[0] == GradientUse::kAdd;
  return loop_step(compiler, [=](auto element) {
    using T = decltype(element);
    const auto forward = [=](const TrainingContext& context, const TrainingStepMemory& at) {
      parallel_slices(elements, [&](int64_t first, int64_t count) {
        constexpr float kOne = 1, kZero = 0;
        scale_channels(context.at<T>(at.inputs[0]) + first, static_cast<const T*>(nullptr), {count, 1}, &kOne, &kZero,
                       op.activation, context.at<T>(at.output) + first);
      });
    };
    const auto backward = [=](const TrainingContext& context, const TrainingStepMemory& at) {
      T* gradient = context.at<T>(at.gradient);
      parallel_slices(elements, [&](int64_t first, int64_t count) {
        mask_gradient(gradient + first, context.at<T>(at.output) + first, count, op.activation);
        add_elements(gradient + first, count, add, context.at<T>(at.input_gradients[0]) + first);
      });
    };
    return Runs{forward, backward};
  });
}

TrainingStep compile_add(const TrainingCompiler& compiler, const TrainingNode& node) {
  const int64_t elements = node.output.elements();
  return loop_step(compiler, [elements, uses = node.gradients](auto element) {
    using T = decltype(element);
    const auto forward = [=](const TrainingContext& context, const TrainingStepMemory& at) {
      parallel_slices(elements, [&](int64_t first, int64_t count) {
        for (size_t i = 0; i < at.inputs.size(); ++i) {
          add_elements(context.at<T>(at.inputs[i]) + first, count, i > 0, context.at<T>(at.output) + first);
        }
      });
    };
    const auto backward = [=](const TrainingContext& context, const TrainingStepMemory& at) {
      parallel_slices(elements, [&](int64_t first, int64_t count) {
        for (size_t i = 0; i < uses.size(); ++i) {
          if (uses[i] == GradientUse::kShared || uses[i] == GradientUse::kNone) continue;
          add_elements(context.at<T>(at.gradient) + first, count, uses[i] == GradientUse::kAdd,
                       context.at<T>(at.input_gradients[i]) + first);
        }
      });
    };
    return Runs{forward, backward};
  });
}

TrainingStep compile_training_average(const TrainingCompiler& compiler, const TrainingNode& node) {
  const Shape input = compiler.input(node, 0);
  const int64_t pixels = input.h * input.w, channels = input.c;
  const bool add = node.gradients[0] == GradientUse::kAdd;
  return loop_step(compiler, [&](auto element) {
    using T = decltype(element);
    const auto backward = [=](const TrainingContext& context, const TrainingStepMemory& at) {
      parallel_for(input.n * pixels, [&](int64_t i) {
        const T* gradient = context.at<T>(at.gradient) + i / pixels * channels;
        T* out = context.at<T>(at.input_gradients[0]) + i * channels;
        for (int64_t c = 0; c < channels; ++c) {
          const float before = add ? read_element(out[c]) : 0;
          write_element(out + c, before + read_element(gradient[c]) / static_cast<float>(pixels));
        }
      });
    };
    return Runs{forward_of(compile_global_average_pool(input, compiler.precision)), backward};
  });
}

TrainingStep compile_training_concat(const TrainingCompiler& compiler, const TrainingNode& node) {
  const Shape output = node.output;
  const int64_t pixels = output.h * output.w;
  std::vector<Shape> inputs;
  std::vector<ConcatPart> parts;
  int64_t first = 0;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    inputs.push_back(compiler.input(node, i));
    parts.push_back({inputs[i].c, first, inputs[i].h * inputs[i].w == 1 && pixels > 1});
    first += inputs[i].c;
  }
  return loop_step(compiler, [&](auto element) {
    using T = decltype(element);
    const auto backward = [=, uses = node.gradients](const TrainingContext& context, const TrainingStepMemory& at) {
      const T* gradient = context.at<T>(at.gradient);
      for (size_t k = 0; k < parts.size(); ++k) {
        const ConcatPart& part = parts[k];
        T* out = context.at<T>(at.input_gradients[k]);
        const bool add = uses[k] == GradientUse::kAdd;
        if (!part.pixel) {
          parallel_for(output.n * pixels, [&](int64_t i) {
            add_elements(gradient + i * output.c + part.first, part.channels, add, out + i * part.channels);
          });
          continue;
        }
        parallel_for(output.n * part.channels, [&](int64_t i) {
          const T* of_channel = gradient + i / part.channels * pixels * output.c + part.first + i % part.channels;
          double sum = add ? read_element(out[i]) : 0;
          for (int64_t p = 0; p < pixels; ++p) sum += read_element(of_channel[p * output.c]);
          write_element(out + i, static_cast<float>(sum));
        });
      }
    };
    return Runs{forward_of(compile_concat(inputs, output, compiler.precision)), backward};
  });
}

TrainingStep compile_dropout(const TrainingCompiler& compiler, const TrainingNode& node, NodeId id, const Dropout& op) {
  const int64_t elements = node.output.elements();
  const bool add = node.gradients[0] == GradientUse::kAdd;
  return loop_step(compiler, [=](auto element) {
    using T = decltype(element);
    // out = x * mask, or out + that.
    const auto mask = [=](const TrainingContext& context, const T* x, bool adds, T* out) {
      const uint64_t key = dropout_key(context.batch.seed, id);
      parallel_slices(elements, [&](int64_t first, int64_t count) {
        for (int64_t i = first; i < first + count; ++i) {
          const float value = keeps_element(key, i, op.rate) ? read_element(x[i]) / (1 - op.rate) : 0;
          write_element(out + i, adds ? read_element(out[i]) + value : value);
        }
      });
    };
    const auto forward = [=](const TrainingContext& context, const TrainingStepMemory& at) {
      mask(context, context.at<T>(at.inputs[0]), false, context.at<T>(at.output));
    };
    const auto backward = [=](const TrainingContext& context, const TrainingStepMemory& at) {
      mask(context, context.at<T>(at.gradient), add, context.at<T>(at.input_gradients[0]));
    };
    return Runs{forward, backward};
  });
}

}  // namespace deeplab
