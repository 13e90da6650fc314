// What is neither a convolution nor a batch norm in a training step.
#include <algorithm>

#include "backend/cuda/training_step.h"

namespace deeplab::cuda {
namespace {

// Forward as it is without training.
TrainingStep forward_of(Step step, const std::string& name) {
  TrainingStep training;
  training.implementations.push_back({name, step.implementation});
  training.forward_scratch_bytes = step.scratch_bytes;
  training.forward = [run = std::move(step.run)](const TrainingContext& context, const TrainingStepMemory& memory) {
    return run({context.stream, context.arena, context.pixels, nullptr},
               {memory.inputs, memory.output, memory.forward_scratch});
  };
  return training;
}

int64_t eights_in(const Shape& shape) { return pixels_of(shape) * eights_of(shape); }

WindowsAround windows_around(const TrainingCompiler& compiler, const TrainingNode& node, const Window& window) {
  return {window_geometry(window, compiler.input(node), compiler.in_channels(node), node.output)};
}

}  // namespace

Result<TrainingStep> compile_training_normalize(const TrainingCompiler& compiler, const Normalize& op) {
  auto step = compile_normalize(compiler.layers, op, compiler.network.images);
  if (!step.ok()) return step.status();
  return forward_of(std::move(*step), "input");
}

TrainingStep compile_activate(const TrainingCompiler& compiler, const TrainingNode& node, const Activate& op) {
  const GradientUse use = node.gradients[0];
  TrainingStep step;
  step.implementations.push_back({node.name, "kernel"});
  with_element(compiler.precision(), [&, eights = eights_in(node.output)](auto element) {
    using T = decltype(element);
    step.forward = [eights, op](const TrainingContext& context, const TrainingStepMemory& memory) {
      const ActivateKernel<T> kernel{context.at<const Eight<T>>(memory.inputs[0]), op.activation,
                                     context.at<Eight<T>>(memory.output)};
      return launch(context.stream, eights, kernel);
    };
    step.backward = [eights, op, use](const TrainingContext& context, const TrainingStepMemory& memory) -> Status {
      if (!is_computed(use)) return Status();
      const PassGradientKernel<T> kernel{context.at<const Eight<T>>(memory.gradient),
                                         context.at<const Eight<T>>(memory.output), op.activation, is_added(use),
                                         context.at<Eight<T>>(memory.input_gradients[0])};
      return launch(context.stream, eights, kernel);
    };
  });
  return step;
}

TrainingStep compile_add(const TrainingCompiler& compiler, const TrainingNode& node, bool to_logits) {
  TrainingStep step;
  step.implementations.push_back({node.name, "kernel"});
  with_element(compiler.precision(), [&](auto element) {
    using T = decltype(element);
    const int64_t eights = eights_in(node.output), classes = node.output.c;
    step.forward = [=, logits = node.output.elements()](const TrainingContext& context,
                                                        const TrainingStepMemory& memory) -> Status {
      for (size_t first = 0; first < memory.inputs.size(); first += kMostSummed) {
        const int count = static_cast<int>(std::min<size_t>(memory.inputs.size() - first, kMostSummed));
        SumKernel<T> kernel{{}, count, first > 0, context.at<Eight<T>>(memory.output)};
        SumLogitsKernel<T> to_f32{
            {}, count, first > 0, classes, padded_channels(classes), context.at<float>(memory.output)};
        for (int k = 0; k < count; ++k) {
          kernel.inputs[k] = context.at<const Eight<T>>(memory.inputs[first + k]);
          to_f32.inputs[k] = context.at<const T>(memory.inputs[first + k]);
        }
        DEEPLAB_RETURN_IF_ERROR(to_logits ? launch(context.stream, logits, to_f32)
                                          : launch(context.stream, eights, kernel));
      }
      return Status();
    };
    step.backward = [=, uses = node.gradients](const TrainingContext& context,
                                               const TrainingStepMemory& memory) -> Status {
      const auto* gradient = context.at<const Eight<T>>(memory.gradient);
      for (size_t i = 0; i < uses.size(); ++i) {
        if (!is_computed(uses[i])) continue;
        const PassGradientKernel<T> kernel{gradient, nullptr, Activation::kNone, is_added(uses[i]),
                                           context.at<Eight<T>>(memory.input_gradients[i])};
        DEEPLAB_RETURN_IF_ERROR(launch(context.stream, eights, kernel));
      }
      return Status();
    };
  });
  return step;
}

TrainingStep compile_training_max_pool(const TrainingCompiler& compiler, const TrainingNode& node, const MaxPool& op) {
  TrainingStep step = forward_of(
      compile_max_pool(compiler.layers, op, compiler.input(node), compiler.in_channels(node), node.output), node.name);
  if (!is_computed(node.gradients[0])) return step;
  with_element(compiler.precision(), [&](auto element) {
    using T = decltype(element);
    step.backward = [around = windows_around(compiler, node, op.window), eights = eights_in(compiler.input(node)),
                     add = is_added(node.gradients[0])](const TrainingContext& context,
                                                        const TrainingStepMemory& memory) {
      const MaxPoolGradientKernel<T> kernel{around, context.at<const Eight<T>>(memory.inputs[0]),
                                            context.at<const Eight<T>>(memory.gradient), add,
                                            context.at<Eight<T>>(memory.input_gradients[0])};
      return launch(context.stream, eights, kernel);
    };
  });
  return step;
}

TrainingStep compile_training_average_pool(const TrainingCompiler& compiler, const TrainingNode& node,
                                           const AveragePool& op) {
  TrainingStep step = forward_of(
      compile_average_pool(compiler.layers, op, compiler.input(node), compiler.in_channels(node), node.output),
      node.name);
  if (!is_computed(node.gradients[0])) return step;
  with_element(compiler.precision(), [&](auto element) {
    using T = decltype(element);
    step.backward = [around = windows_around(compiler, node, op.window), eights = eights_in(compiler.input(node)),
                     add = is_added(node.gradients[0])](const TrainingContext& context,
                                                        const TrainingStepMemory& memory) {
      const AveragePoolGradientKernel<T> kernel{around, context.at<const Eight<T>>(memory.gradient), add,
                                                context.at<Eight<T>>(memory.input_gradients[0])};
      return launch(context.stream, eights, kernel);
    };
  });
  return step;
}

TrainingStep compile_training_average(const TrainingCompiler& compiler, const TrainingNode& node) {
  const Shape& input = compiler.input(node);
  TrainingStep step =
      forward_of(compile_global_average_pool(compiler.layers, input, compiler.in_channels(node)), node.name);
  if (!is_computed(node.gradients[0])) return step;
  with_element(compiler.precision(), [&](auto element) {
    using T = decltype(element);
    step.backward = [input, add = is_added(node.gradients[0])](const TrainingContext& context,
                                                               const TrainingStepMemory& memory) {
      const GlobalAverageGradientKernel<T> kernel{context.at<const Eight<T>>(memory.gradient), eights_of(input),
                                                  input.h * input.w, add,
                                                  context.at<Eight<T>>(memory.input_gradients[0])};
      return launch(context.stream, eights_in(input), kernel);
    };
  });
  return step;
}

TrainingStep compile_training_concat(const TrainingCompiler& compiler, const TrainingNode& node) {
  std::vector<Shape> inputs;
  std::vector<int64_t> channels;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    inputs.push_back(compiler.input(node, i));
    channels.push_back(compiler.in_channels(node, i));
  }
  TrainingStep step = forward_of(compile_concat(compiler.layers, inputs, channels, node.output), node.name);
  with_element(compiler.precision(), [&](auto element) {
    using T = decltype(element);
    step.backward = [inputs, uses = node.gradients, output = node.output](const TrainingContext& context,
                                                                          const TrainingStepMemory& memory) -> Status {
      int64_t first = 0;
      for (size_t i = 0; i < inputs.size(); first += inputs[i].c, ++i) {
        if (!is_computed(uses[i])) continue;
        const bool repeated = inputs[i].h == 1 && inputs[i].w == 1;
        const ConcatGradientKernel<T> kernel{context.at<const T>(memory.gradient),
                                             padded_channels(output.c),
                                             first,
                                             inputs[i].c,
                                             eights_of(inputs[i]),
                                             is_added(uses[i]),
                                             context.at<Eight<T>>(memory.input_gradients[i])};
        const int64_t eights = eights_in(inputs[i]);
        DEEPLAB_RETURN_IF_ERROR(
            repeated ? launch_blocks(context.stream, eights, RepeatedGradientKernel<T>{kernel, output.h * output.w})
                     : launch(context.stream, eights, kernel));
      }
      return Status();
    };
  });
  return step;
}

TrainingStep compile_dropout(const TrainingCompiler& compiler, const TrainingNode& node, NodeId id, const Dropout& op) {
  TrainingStep step;
  step.implementations.push_back({node.name, "kernel"});
  with_element(compiler.precision(), [&](auto element) {
    using T = decltype(element);
    const auto drop = [id, rate = op.rate, shape = node.output](const TrainingContext& context, size_t from, size_t to,
                                                                bool add) {
      const DropoutKernel<T> kernel{
          context.at<const Eight<T>>(from), eights_of(shape), shape.c, rate, context.step, id, add,
          context.at<Eight<T>>(to)};
      return launch(context.stream, eights_in(shape), kernel);
    };
    step.forward = [drop](const TrainingContext& context, const TrainingStepMemory& memory) {
      return drop(context, memory.inputs[0], memory.output, false);
    };
    step.backward = [drop, use = node.gradients[0]](const TrainingContext& context,
                                                    const TrainingStepMemory& memory) -> Status {
      if (!is_computed(use)) return Status();
      return drop(context, memory.gradient, memory.input_gradients[0], is_added(use));
    };
  });
  return step;
}

}  // namespace deeplab::cuda
