#include "addon/crf_parameters.h"

#include <cfloat>

#include "addon/convert.h"
#include "addon/environment.h"

namespace deeplab {
namespace {

constexpr const char* kKernels[] = {"gaussian", "bilateral", "features"};
constexpr const char* kNormalizations[] = {"symmetric", "before", "after", "none"};
constexpr const char* kCoordinates[] = {"yx", "xy"};
constexpr int kMaxIterations = 10000;

std::vector<float> floats(const Napi::Float32Array& array) {
  return std::vector<float>(array.Data(), array.Data() + array.ElementLength());
}

CrfTerm term_argument(const Napi::Object& given, int64_t points) {
  CrfTerm term;
  term.kernel = choice_argument<CrfKernel>(given.Get("kernel"), "kernel", kKernels);
  term.normalization = choice_argument<CrfNormalization>(given.Get("normalization"), "normalization", kNormalizations);
  term.compatibility = floats(floats_argument(given.Get("compatibility"), "compatibility", -1));
  if (term.kernel == CrfKernel::kFeatures) {
    const Napi::Float32Array features = floats_argument(given.Get("features"), "features", -1);
    const auto length = static_cast<int64_t>(features.ElementLength());
    if (length == 0 || length % points != 0 || length / points > kMaxCrfDimensions) {
      throw to_error(given.Env(), error(Code::kInvalidArgument, "Expected Float32Array of 1 to ", kMaxCrfDimensions,
                                        " times ", points, " elements for features"));
    }
    term.dimensions = static_cast<int>(length / points);
    term.features = floats(features);
    return term;
  }
  term.dimensions = term.kernel == CrfKernel::kGaussian ? 2 : 5;
  const Napi::Object deviations = object_argument(given.Get("deviations"), "deviations");
  for (int i = 0; i < term.dimensions; ++i) {
    const double deviation = number_argument(deviations.Get(i), "deviations", 0, DBL_MAX);
    term.deviations[i] = static_cast<float>(deviation);
    if (!(term.deviations[i] > 0 && term.deviations[i] <= FLT_MAX)) {
      throw to_error(given.Env(), error(Code::kInvalidArgument,
                                        "Expected positive float32 for deviations but received ", deviation));
    }
  }
  return term;
}

}  // namespace

Napi::Object crf_parameters(Napi::Env env, const CrfParameters& parameters) {
  Napi::Object result = Napi::Object::New(env);
  Napi::Array pairwise = Napi::Array::New(env, parameters.model.terms.size());
  for (uint32_t i = 0; i < parameters.model.terms.size(); ++i) {
    const CrfTerm& term = parameters.model.terms[i];
    Napi::Object object = Napi::Object::New(env);
    object["kernel"] = kKernels[static_cast<int>(term.kernel)];
    Napi::Array deviations = Napi::Array::New(env, term.dimensions);
    for (int j = 0; j < term.dimensions; ++j) deviations[j] = term.deviations[j];
    object["deviations"] = deviations;
    Napi::Float32Array compatibility = Napi::Float32Array::New(env, term.compatibility.size());
    std::copy(term.compatibility.begin(), term.compatibility.end(), compatibility.Data());
    object["compatibility"] = compatibility;
    object["normalization"] = kNormalizations[static_cast<int>(term.normalization)];
    pairwise[i] = object;
  }
  result["pairwise"] = pairwise;
  result["coordinates"] = kCoordinates[static_cast<int>(parameters.model.coordinates)];
  result["iterations"] = parameters.inference.iterations;
  result["tolerance"] = parameters.inference.tolerance;
  return result;
}

CrfModel crf_model_argument(const Napi::Object& options, int64_t points) {
  CrfModel model;
  model.coordinates = choice_argument<CrfCoordinates>(options.Get("coordinates"), "coordinates", kCoordinates);
  const Napi::Value pairwise = options.Get("pairwise");
  if (!pairwise.IsArray())
    throw to_error(options.Env(), error(Code::kInvalidArgument, "Expected an array for pairwise"));
  const auto terms = pairwise.As<Napi::Array>();
  for (uint32_t i = 0; i < terms.Length(); ++i) {
    model.terms.push_back(term_argument(object_argument(terms.Get(i), "pairwise"), points));
  }
  return model;
}

CrfInference crf_inference_argument(const Napi::Object& options) {
  CrfInference inference;
  inference.iterations = static_cast<int>(integer_argument(options.Get("iterations"), "iterations", 0, kMaxIterations));
  inference.tolerance = number_argument(options.Get("tolerance"), "tolerance", 0, DBL_MAX);
  return inference;
}

CrfParameters crf_parameters_argument(const Napi::Value& value) {
  const Napi::Object options = object_argument(value, "crf");
  CrfParameters parameters{crf_model_argument(options, 1), crf_inference_argument(options)};
  for (const CrfTerm& term : parameters.model.terms) {
    if (term.kernel != CrfKernel::kFeatures) continue;
    throw to_error(value.Env(), error(Code::kInvalidArgument, "Expected gaussian or bilateral for a model's kernels"));
  }
  return parameters;
}

}  // namespace deeplab
