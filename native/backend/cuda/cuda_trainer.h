// A network that is trained on a GPU.
#pragma once

#include "backend/cuda/cuda_network.h"

namespace deeplab::cuda {

// On device `index`; convolutions are compiled by what `make_compiler` makes for the stream they will run on.
Result<std::unique_ptr<Trainer>> create_trainer(int index, std::shared_ptr<const TrainingNetwork> network,
                                                Precision precision, const CudaNetwork::MakeCompiler& make_compiler,
                                                const std::atomic<bool>& cancelled);

}  // namespace deeplab::cuda
