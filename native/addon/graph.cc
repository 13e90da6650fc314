#include "addon/graph.h"

#include <algorithm>

#include "addon/convert.h"
#include "addon/environment.h"
#include "core/memory.h"
#include "graph/deeplab.h"
#include "graph/shapes.h"
#include "session/model.h"

namespace deeplab {
namespace {

constexpr int64_t kMaxDimension = 1 << 30;

const char* rule_name(PaddingRule rule) {
  switch (rule) {
    case PaddingRule::kFloor: return "floor";
    case PaddingRule::kCeil: return "ceil";
    case PaddingRule::kSame: return "same";
  }
  return "";
}

const char* fuse_name(FuseRule rule) {
  switch (rule) {
    case FuseRule::kMax: return "max";
    case FuseRule::kMean: return "mean";
    case FuseRule::kSum: return "sum";
  }
  return "";
}

Napi::Array to_array(Napi::Env env, const std::array<float, 3>& values) {
  Napi::Array array = Napi::Array::New(env, values.size());
  for (uint32_t i = 0; i < values.size(); ++i) array[i] = values[i];
  return array;
}

// Sets the fields of NativeNode that are those of its operation.
struct SetFields {
  Napi::Object node;

  void operator()(const Normalize& op) {
    const ModelConfig& config = op.config;
    node["bgr"] = Napi::Boolean::New(node.Env(), config.bgr);
    node["valueScale"] = config.value_scale;
    node["mean"] = to_array(node.Env(), config.mean);
    node["std"] = to_array(node.Env(), config.std);
    node["fixedSize"] = Napi::Boolean::New(node.Env(), config.resize == ResizeRule::kFixed);
  }
  void operator()(const Conv2d& op) {
    set_window(op.window);
    node["weight"] = op.weight;
    const Dims dims{op.out_channels, op.depth(), op.window.kernel, op.window.kernel};
    node["weightShape"] = deeplab::to_array(node.Env(), dims);
    node["bias"] = op.bias;
    node["depthwise"] = Napi::Boolean::New(node.Env(), op.depthwise);
  }
  void operator()(const BatchNorm& op) {
    node["tensors"] = op.name;
    node["eps"] = op.eps;
    node["channels"] = op.channels;
  }
  void operator()(const MaxPool& op) { set_window(op.window); }
  void operator()(const AveragePool& op) { set_window(op.window); }
  void operator()(const FuseLogits& op) {
    node["rule"] = fuse_name(op.rule);
    node["mirrored"] =
        Napi::Boolean::New(node.Env(), std::find(op.mirrored.begin(), op.mirrored.end(), true) != op.mirrored.end());
  }
  // The others have none, or are not of a network as the papers draw it.
  template <typename Other>
  void operator()(const Other&) {}

  void set_window(const Window& window) {
    Napi::Object object = Napi::Object::New(node.Env());
    object["kernel"] = window.kernel;
    object["stride"] = window.stride;
    object["dilation"] = window.dilation;
    object["padding"] = window.padding;
    object["rule"] = rule_name(window.rule);
    node["window"] = object;
  }
};

// Of a weights file, or of the `__metadata__` that one would have.
ModelConfig config_argument(const Napi::Value& model, const Napi::Value& output_stride) {
  if (model.IsObject()) return metadata_argument(model);
  auto opened = open_model(string_argument(model, "path"), output_stride_argument(output_stride));
  if (!opened.ok()) throw to_error(model.Env(), opened.status());
  return std::move(opened->config);
}

}  // namespace

Napi::Value describe_graph(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Graph graph = build_deeplab(config_argument(info[0], info[3]));
  const auto shapes = infer_shapes(graph, image_argument(info[1], info[2], Napi::Number::New(env, 3)));
  if (!shapes.ok()) throw to_error(env, shapes.status());

  Napi::Array nodes = Napi::Array::New(env, graph.nodes.size());
  for (uint32_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    const Shape& shape = (*shapes)[i];
    Napi::Object object = Napi::Object::New(env);
    object["name"] = node.name;
    object["op"] = op_name(node.op);
    object["inputs"] = to_array(env, Dims(node.inputs.begin(), node.inputs.end()));
    object["output"] = to_array(env, Dims{shape.n, shape.c, shape.h, shape.w});
    std::visit(SetFields{object}, node.op);
    nodes[i] = object;
  }
  return nodes;
}

Napi::Value read_tensors(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto file = Safetensors::open(string_argument(info[0], "path"));
  if (!file.ok()) throw to_error(env, file.status());
  const Napi::Object wanted = object_argument(info[1], "tensors");
  const uint32_t count = wanted.IsArray() ? wanted.As<Napi::Array>().Length() : 0;
  Napi::Array result = Napi::Array::New(env, count);
  for (uint32_t i = 0; i < count; ++i) {
    const Napi::Object tensor = object_argument(wanted.Get(i), "tensor");
    const Napi::Object shape = object_argument(tensor.Get("shape"), "shape");
    Dims dims(shape.IsArray() ? shape.As<Napi::Array>().Length() : 0);
    for (uint32_t d = 0; d < dims.size(); ++d) dims[d] = integer_argument(shape.Get(d), "shape", 0, kMaxDimension);
    const auto values = (*file)->read_f32(string_argument(tensor.Get("name"), "name"), dims);
    if (!values.ok()) throw to_error(env, values.status());
    Napi::Float32Array array = Napi::Float32Array::New(env, values->size());
    std::copy(values->begin(), values->end(), array.Data());
    result[i] = array;
  }
  (*file)->release_pages();
  return result;
}

}  // namespace deeplab
