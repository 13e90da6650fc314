// Plans that were timed once, kept on disk: which one was the fastest for a convolution, by GPU, driver, cuDNN and
// shape. A file that is damaged, or of somebody else, counts as none and is written anew.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace deeplab::cuda {

struct CachedPlan {
  int64_t engine = 0;  // cuDNN's number of it
  double milliseconds = 0;
  std::string json;  // as write_plan gave it
};

class PlanCache {
 public:
  // `device` names the GPU, its driver and cuDNN.
  PlanCache(std::string folder, std::string device) : folder_(std::move(folder)), device_(std::move(device)) {}

  // $DEEPLAB_CACHE/plans, else $XDG_CACHE_HOME/deeplab/plans, else ~/.cache/deeplab/plans; empty without any of them.
  static std::string default_folder();
  const std::string& folder() const { return folder_; }

  // `key` names the convolution.
  std::optional<CachedPlan> find(const std::string& key) const;
  // Whether it could be kept: a disk that is full or may not be written makes the next load slower, no more.
  bool store(const std::string& key, const CachedPlan& plan) const;

 private:
  std::string path_of(const std::string& key) const;

  const std::string folder_;
  const std::string device_;
};

}  // namespace deeplab::cuda
