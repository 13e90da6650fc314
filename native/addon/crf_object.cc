#include "addon/crf_object.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "addon/convert.h"
#include "addon/crf_parameters.h"

namespace deeplab {
namespace {

template <typename Element, typename JsArray>
Array<Element> copy(const JsArray& array) {
  Array<Element> copied;
  throw_if_error(array.Env(), check_memory(array.ByteLength(), "a copy of the CRF's unary"));
  throw_if_error(array.Env(), copied.allocate(array.ElementLength()));
  if (copied.size() > 0) std::memcpy(copied.data(), array.Data(), copied.bytes());
  return copied;
}

CrfUnary unary_argument(const Napi::Value& value, int64_t points) {
  const Napi::Object given = object_argument(value, "unary");
  const std::string kind = string_argument(given.Get("kind"), "kind");
  CrfUnary unary;
  unary.classes = static_cast<int>(integer_argument(given.Get("classes"), "classes", 2, kMaxClasses));
  if (kind == "labels") {
    unary.kind = CrfUnary::Kind::kLabels;
    unary.gt_prob = number_argument(given.Get("gtProb"), "gtProb", 0, 1);
    if (unary.gt_prob == 0 || unary.gt_prob == 1) {
      throw to_error(value.Env(), error(Code::kInvalidArgument, "Expected a number between 0 and 1 for gtProb"));
    }
    unary.unknown = static_cast<int>(integer_argument(given.Get("unknown"), "unknown", -1, 255));
    unary.labels = copy<uint8_t>(bytes_argument(given.Get("data"), "labels", points));
    return unary;
  }
  unary.kind = kind == "probabilities" ? CrfUnary::Kind::kProbabilities : CrfUnary::Kind::kEnergies;
  unary.values = copy<float>(floats_argument(given.Get("data"), kind.c_str(), points * unary.classes));
  return unary;
}

// The result object of a request, with the buffers that the session fills while nobody else sees them.
Napi::Object allocate_result(Napi::Env env, const CrfRequest& request, int64_t points, bool marginals, bool divergence,
                             CrfOutput* output) {
  Napi::Object result = Napi::Object::New(env);
  Napi::Uint8Array labels = Napi::Uint8Array::New(env, points);
  output->labels = labels.Data();
  result["labels"] = labels;
  if (marginals) {
    Napi::Float32Array array = Napi::Float32Array::New(env, points * request.unary.classes);
    output->marginals = array.Data();
    result["marginals"] = array;
  }
  if (divergence) {
    Napi::Float64Array array = Napi::Float64Array::New(env, request.inference.iterations + 1);
    std::fill_n(array.Data(), array.ElementLength(), std::nan(""));
    output->kl_divergence = array.Data();
    result["klDivergence"] = array;
  }
  return result;
}

}  // namespace

Napi::Function CrfObject::define(Napi::Env env) {
  return DefineClass(
      env, "NativeCrf",
      {InstanceAccessor<&CrfObject::device>("device"), InstanceAccessor<&CrfObject::lattice_bytes>("latticeBytes"),
       InstanceAccessor<&CrfObject::vertices>("vertices"),
       InstanceMethod<&CrfObject::inference_bytes>("inferenceBytes"), InstanceMethod<&CrfObject::infer>("infer"),
       InstanceMethod<&CrfObject::cancel>("cancel"), InstanceMethod<&CrfObject::close>("close"),
       InstanceMethod<&CrfObject::abort>("abort")});
}

Napi::Value CrfObject::create(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  CrfSessionOptions options;
  options.image = image_argument(info[1], info[2], info[3]);
  const Napi::Object given = object_argument(info[4], "options");
  options.device = string_argument(given.Get("device"), "device");
  options.cudnn = string_argument(given.Get("cudnn"), "cudnn");
  options.threads = static_cast<int>(integer_argument(given.Get("threads"), "threads", 1, 1024));
  options.model = crf_model_argument(given, options.image.h * options.image.w);
  const bool coloured = std::any_of(options.model.terms.begin(), options.model.terms.end(),
                                    [](const CrfTerm& term) { return term.kernel == CrfKernel::kBilateral; });
  if (coloured) {
    const Napi::Uint8Array pixels = bytes_argument(info[0], "pixels", options.image.elements());
    throw_if_error(env, check_memory(pixels.ByteLength(), "a copy of the image"));
    options.pixels.assign(pixels.Data(), pixels.Data() + pixels.ByteLength());
  }

  Environment& environment = Environment::of(env);
  const Napi::Object object = environment.crf_class.New({});
  CrfObject* crf = Unwrap(object);
  const auto tell_memory = [crf](Napi::Object object) {
    crf->external_memory_.set(object.Env(), crf->session_->host_bytes());
  };
  auto pending = environment.start_promise(env, object, object, tell_memory);
  crf->session_ = std::make_unique<CrfSession>(std::move(options), std::move(pending.settle));
  crf->workers_ = environment.workers;
  environment.workers->insert(&crf->session_->worker());
  return making(env, object, pending.promise);
}

// A pending request keeps its CRF alive, so the session is idle and stops at once.
CrfObject::~CrfObject() {
  external_memory_.set(Env(), 0);
  if (session_ != nullptr) workers_->erase(&session_->worker());
}

CrfSession& CrfObject::session(Napi::Env env) const {
  if (session_ == nullptr) throw to_error(env, error(Code::kInvalidArgument, "Expected a CRF made by createCrf"));
  return *session_;
}

Napi::Value CrfObject::device(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), session(info.Env()).device());
}

Napi::Value CrfObject::lattice_bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(session(info.Env()).lattice_bytes()));
}

Napi::Value CrfObject::vertices(const Napi::CallbackInfo& info) {
  return to_array(info.Env(), session(info.Env()).vertices());
}

Napi::Value CrfObject::inference_bytes(const Napi::CallbackInfo& info) {
  const int64_t classes = integer_argument(info[0], "classes", 2, kMaxClasses);
  const size_t bytes = session(info.Env()).inference_bytes(classes, info[1].ToBoolean());
  return Napi::Number::New(info.Env(), static_cast<double>(bytes));
}

Napi::Value CrfObject::infer(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  CrfSession& session = this->session(env);
  const int64_t points = session.image().h * session.image().w;
  const Napi::Object options = object_argument(info[1], "options");
  CrfRequest request;
  request.inference = crf_inference_argument(options);
  request.unary = unary_argument(info[0], points);
  const bool marginals = options.Get("marginals").ToBoolean();
  const bool divergence = options.Get("klDivergence").ToBoolean() || request.inference.tolerance > 0;
  throw_if_error(env, check_memory(session.inference_bytes(request.unary.classes, marginals), "the CRF's inference"));

  const Napi::Object result = allocate_result(env, request, points, marginals, divergence, &request.output);
  request.id = next_id_++;
  auto started = Environment::of(env).start_request(env, request.id, result, info.This().As<Napi::Object>());
  request.done = std::move(started.settle);
  session.submit(std::move(request));
  return started.handle;
}

Napi::Value CrfObject::cancel(const Napi::CallbackInfo& info) {
  return cancel_request(info, session(info.Env()).worker());
}

Napi::Value CrfObject::abort(const Napi::CallbackInfo& info) {
  return abort_worker(info, session(info.Env()).worker());
}

Napi::Value CrfObject::close(const Napi::CallbackInfo& info) {
  const auto tell_memory = [this](Napi::Object object) { external_memory_.set(object.Env(), 0); };
  return close_worker(info, session(info.Env()).worker(), tell_memory);
}

}  // namespace deeplab
