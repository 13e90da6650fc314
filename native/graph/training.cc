#include "graph/training.h"

#include <algorithm>
#include <cmath>

#include "graph/aspp.h"
#include "graph/deeplab.h"
#include "graph/shapes.h"

namespace deeplab {
namespace {

// From the graph as the builders draw it to the nodes of a training step.
class TrainingBuilder {
 public:
  TrainingBuilder(const ModelConfig& config, const TrainingOptions& options, const Graph& graph,
                  const std::vector<Shape>& shapes)
      : config_(config), graph_(graph), shapes_(shapes), uses_(graph.nodes.size()), node_of_(graph.nodes.size()) {
    network_.options = options;
    network_.images = shapes[0];
    for (const Node& node : graph.nodes) {
      for (const NodeId input : node.inputs) ++uses_[input];
    }
  }

  Result<TrainingNetwork> build() {
    for (NodeId id = 0; id < static_cast<NodeId>(graph_.nodes.size()); ++id) {
      DEEPLAB_RETURN_IF_ERROR(add(id, graph_.nodes[id]));
    }
    list_parameters();
    say_gradients();
    return std::move(network_);
  }

 private:
  Status add(NodeId id, const Node& node) {
    if (std::holds_alternative<Image>(node.op)) return Status();
    if (const auto* op = std::get_if<Normalize>(&node.op)) {
      append(id, node.name, *op, {});
    } else if (const auto* op = std::get_if<Conv2d>(&node.op)) {
      append(id, node.name, *op, inputs_of(node));
    } else if (const auto* op = std::get_if<BatchNorm>(&node.op)) {
      append(id, node.name, BatchNormUnit{*op}, inputs_of(node));
    } else if (const auto* op = std::get_if<Activate>(&node.op)) {
      activate(id, node, *op);
    } else if (std::holds_alternative<Add>(node.op)) {
      sum(id, node);
    } else if (const auto* op = std::get_if<FuseLogits>(&node.op); op != nullptr && op->rule == FuseRule::kSum) {
      append(id, node.name, Add{}, inputs_of(node));  // of branches, which have one size
    } else if (const auto* op = std::get_if<MaxPool>(&node.op)) {
      append(id, node.name, *op, inputs_of(node));
    } else if (const auto* op = std::get_if<AveragePool>(&node.op)) {
      append(id, node.name, *op, inputs_of(node));
    } else if (const auto* op = std::get_if<GlobalAveragePool>(&node.op)) {
      append(id, node.name, *op, inputs_of(node));
    } else if (const auto* op = std::get_if<Concat>(&node.op)) {
      append(id, node.name, *op, inputs_of(node));
    } else if (std::holds_alternative<SegmentationHead>(node.op)) {
      append(id, "loss", CrossEntropy{config_}, {node_of_[node.inputs[0]]});
    } else {
      return error(Code::kInternal, "layer ", node.name, ": ", op_name(node.op), " cannot be trained");
    }
    if (network_.options.dropout > 0 && has_dropout(node.name)) {
      append(id, node.name + ".dropout", Dropout{network_.options.dropout}, {node_of_[id]});
    }
    return Status();
  }

  // `id` is then what its readers find.
  void append(NodeId id, std::string name, TrainingOp op, std::vector<NodeId> inputs) {
    node_of_[id] = static_cast<NodeId>(network_.nodes.size());
    network_.nodes.push_back({std::move(name), std::move(op), std::move(inputs), shapes_[id], {}});
  }

  std::vector<NodeId> inputs_of(const Node& node) const {
    std::vector<NodeId> inputs;
    for (const NodeId input : node.inputs) inputs.push_back(node_of_[input]);
    return inputs;
  }

  // The operation behind which nothing but one reader comes, if it is a T; else null.
  template <typename T>
  T* sole(NodeId id) {
    return uses_[id] == 1 ? std::get_if<T>(&network_.nodes[node_of_[id]].op) : nullptr;
  }

  void activate(NodeId id, const Node& node, const Activate& op) {
    const NodeId input = node.inputs[0];
    if (auto* norm = sole<BatchNormUnit>(input); norm != nullptr && norm->activation == Activation::kNone) {
      norm->activation = op.activation;
      node_of_[id] = node_of_[input];
    } else if (auto* conv = sole<Conv2d>(input); conv != nullptr && conv->activation == Activation::kNone) {
      conv->activation = op.activation;
      node_of_[id] = node_of_[input];
    } else {
      append(id, node.name, op, inputs_of(node));
    }
  }

  // The later of two inputs takes the other as its residual, which must be there when it runs.
  void sum(NodeId id, const Node& node) {
    if (node.inputs.size() == 2) {
      const NodeId later = std::max(node.inputs[0], node.inputs[1]);
      const NodeId earlier = std::min(node.inputs[0], node.inputs[1]);
      auto* norm = sole<BatchNormUnit>(later);
      if (norm != nullptr && !norm->residual && norm->activation == Activation::kNone) {
        norm->residual = true;
        network_.nodes[node_of_[later]].inputs.push_back(node_of_[earlier]);
        node_of_[id] = node_of_[later];
        return;
      }
    }
    append(id, node.name, Add{}, inputs_of(node));
  }

  void list_parameters() {
    using Kind = Parameter::Kind;
    for (const TrainingNode& node : network_.nodes) {
      if (const auto* conv = std::get_if<Conv2d>(&node.op)) {
        const int kernel = conv->window.kernel;
        list({conv->weight, {conv->out_channels, conv->depth(), kernel, kernel}, Kind::kKernel, true});
        if (!conv->bias.empty()) list({conv->bias, {conv->out_channels}, Kind::kBias, true});
      } else if (const auto* unit = std::get_if<BatchNormUnit>(&node.op)) {
        const bool trained = network_.options.batch_norm == BatchNormMode::kTrained;
        const std::string& name = unit->norm.name;
        const Dims dims{unit->norm.channels};
        list({name + ".weight", dims, Kind::kScale, trained});
        list({name + ".bias", dims, Kind::kShift, trained});
        list({name + ".running_mean", dims, Kind::kMean, false});
        list({name + ".running_var", dims, Kind::kVariance, false});
      }
    }
  }

  void list(Parameter parameter) {
    network_.index[parameter.name] = static_cast<int>(network_.parameters.size());
    network_.parameters.push_back(std::move(parameter));
  }

  // Nobody asks for the gradient of the image. Of an activation that several read, the last reader is the first to run
  // backward.
  void say_gradients() {
    std::vector<bool> written(network_.nodes.size(), false);
    for (auto node = network_.nodes.rbegin(); node != network_.nodes.rend(); ++node) {
      bool shared = false;
      for (size_t i = 0; i < node->inputs.size(); ++i) {
        const NodeId input = node->inputs[i];
        GradientUse use = written[input] ? GradientUse::kAdd : GradientUse::kWrite;
        if (std::holds_alternative<Normalize>(network_.nodes[input].op)) {
          use = GradientUse::kNone;
        } else if (use == GradientUse::kWrite && !shared && passes_gradient(node->op, i)) {
          use = GradientUse::kShared;
          shared = true;
        }
        written[input] = true;
        node->gradients.push_back(use);
      }
    }
  }

  // Whether the gradient of input `i` is that of the output.
  static bool passes_gradient(const TrainingOp& op, size_t i) {
    return std::holds_alternative<Add>(op) || (std::holds_alternative<BatchNormUnit>(op) && i == 1);
  }

  const ModelConfig& config_;
  const Graph& graph_;
  const std::vector<Shape>& shapes_;
  std::vector<int> uses_;
  std::vector<NodeId> node_of_;  // of each of the graph's nodes, what its readers read
  TrainingNetwork network_;
};

bool has_gradient(const TrainingNode& node) {
  return !std::holds_alternative<Normalize>(node.op) && !std::holds_alternative<CrossEntropy>(node.op);
}

}  // namespace

Result<TrainingNetwork> build_training(const ModelConfig& config, const TrainingOptions& options, const Shape& images) {
  const bool has_norms = config.backbone != "vgg16";
  if (has_norms && !config.batch_norm && options.batch_norm == BatchNormMode::kTrained) {
    return error(Code::kUnsupportedModel,
                 "expected a network with batch norm, to train it; here it is folded into the convolutions");
  }
  if (config.resize != ResizeRule::kNone) {
    // Crops are already as large as the network is to see them.
    ModelConfig unresized = config;
    unresized.resize = ResizeRule::kNone;
    return build_training(unresized, options, images);
  }
  const Graph graph = build_deeplab(config);
  auto shapes = infer_shapes(graph, images);
  if (!shapes.ok()) return shapes.status();
  return TrainingBuilder(config, options, graph, *shapes).build();
}

BackwardReads backward_reads(const TrainingOp& op, const TrainingOptions& options) {
  if (const auto* conv = std::get_if<Conv2d>(&op)) return {true, conv->activation != Activation::kNone};
  if (const auto* unit = std::get_if<BatchNormUnit>(&op)) {
    return {options.batch_norm == BatchNormMode::kTrained, unit->activation != Activation::kNone};
  }
  if (std::holds_alternative<Activate>(op)) return {false, true};
  const bool inputs = std::holds_alternative<MaxPool>(op) || std::holds_alternative<CrossEntropy>(op);
  return {inputs, false};
}

TrainingMemory plan_training_memory(const TrainingNetwork& network, const TrainingBytes& bytes) {
  constexpr int kNone = -1;
  const auto nodes = static_cast<int>(network.nodes.size());
  const auto backward_of = [nodes](int id) { return 2 * nodes - 1 - id; };
  std::vector<BufferRequest> requests;
  const auto ask = [&](size_t size, int first, int last) {
    if (size == 0) return kNone;
    requests.push_back({size, first, last});
    return static_cast<int>(requests.size()) - 1;
  };

  // Indexes into `requests`.
  std::vector<int> output(nodes, kNone), saved(nodes, kNone), forward(nodes, kNone), backward(nodes, kNone),
      gradient(nodes, kNone);
  for (int id = 0; id < nodes; ++id) {
    const TrainingNode& node = network.nodes[id];
    const BackwardReads reads = backward_reads(node.op, network.options);
    output[id] = ask(bytes.output[id], id, reads.output ? backward_of(id) : id);
    for (const NodeId input : node.inputs) {
      if (output[input] == kNone) continue;
      int& last = requests[output[input]].last;
      last = std::max(last, reads.inputs ? backward_of(id) : id);
    }
    saved[id] = ask(bytes.saved[id], id, backward_of(id));
    forward[id] = ask(bytes.forward_scratch[id], id, id);
    backward[id] = ask(bytes.backward_scratch[id], backward_of(id), backward_of(id));
  }
  for (int id = nodes - 1; id >= 0; --id) {
    const TrainingNode& node = network.nodes[id];
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const NodeId input = node.inputs[i];
      if (node.gradients[i] == GradientUse::kShared) {
        gradient[input] = gradient[id];
        if (gradient[id] != kNone)
          requests[gradient[id]].last = std::max(requests[gradient[id]].last, backward_of(input));
      } else if (node.gradients[i] == GradientUse::kWrite && has_gradient(network.nodes[input])) {
        gradient[input] = ask(bytes.output[input], backward_of(id), backward_of(input));
      }
    }
  }

  const MemoryPlan plan = plan_memory(requests);
  const auto offset = [&](int buffer) { return buffer == kNone ? 0 : plan.offsets[buffer]; };
  TrainingMemory memory{{}, plan.bytes};
  for (int id = 0; id < nodes; ++id) {
    TrainingStepMemory step;
    for (const NodeId input : network.nodes[id].inputs) {
      step.inputs.push_back(offset(output[input]));
      step.input_gradients.push_back(offset(gradient[input]));
    }
    step.output = offset(output[id]);
    step.saved = offset(saved[id]);
    step.forward_scratch = offset(forward[id]);
    step.backward_scratch = offset(backward[id]);
    step.gradient = offset(gradient[id]);
    memory.steps.push_back(std::move(step));
  }
  return memory;
}

int64_t cell_pixel(Upsample upsample, int64_t cell, int64_t grid, int64_t image) {
  if (upsample == Upsample::kAlignCorners) {
    return grid == 1 ? 0 : (2 * cell * (image - 1) + grid - 1) / (2 * (grid - 1));  // to the nearest
  }
  if (upsample == Upsample::kAsymmetric) return cell * image / grid;
  return (2 * cell + 1) * image / (2 * grid);
}

}  // namespace deeplab
