// Training on the CPU: the steps of a TrainingNetwork over one planned block of memory.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace deeplab {

Result<std::unique_ptr<Trainer>> create_cpu_trainer(std::shared_ptr<const TrainingNetwork> network,
                                                    const NetworkOptions& options, const std::atomic<bool>& cancelled);

}  // namespace deeplab
