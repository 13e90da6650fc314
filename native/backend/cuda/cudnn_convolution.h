// Convolutions by cuDNN: the fastest of the plans that it proposes, timed on the card they will run on.
#pragma once

#include <map>
#include <memory>

#include "backend/cuda/cudnn_plan.h"
#include "backend/cuda/plan_cache.h"

namespace deeplab::cuda {

class CudnnCompiler : public ConvolutionCompiler {
 public:
  // For the current device, whose plans run on `stream`.
  static Result<std::unique_ptr<ConvolutionCompiler>> create(const Cudnn& cudnn, Stream stream, PlanCache cache);
  ~CudnnCompiler() override;

  Result<std::shared_ptr<const Convolution>> compile(const ConvSpec& spec) override;

 private:
  CudnnCompiler(const Cudnn& cudnn, Stream stream, PlanCache cache)
      : cudnn_(cudnn), stream_(stream), cache_(std::move(cache)) {}

  struct Candidate;
  Result<Candidate> read(CachedPlan cached) const;
  Result<Candidate> make(const EngineConfig& config) const;
  Result<std::vector<Candidate>> candidates(const ConvSpec& spec) const;
  Result<Candidate> fastest(const ConvSpec& spec) const;

  const Cudnn& cudnn_;
  const Stream stream_;
  const PlanCache cache_;
  // Shared with the convolutions, which may outlive this object.
  std::shared_ptr<cudnnContext> handle_;
  Descriptor device_;
  std::map<std::string, std::shared_ptr<const Convolution>> known_;
};

}  // namespace deeplab::cuda
