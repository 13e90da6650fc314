// The CPU backend: oneDNN for convolutions and pooling, plain loops for the rest, activations in NHWC throughout
// (docs/decisions/0002-nhwc-on-the-cpu.md).
#pragma once

#include "backend/backend.h"

namespace deeplab {

Backend* cpu_backend();

struct CpuDescription {
  std::string name;
  std::vector<std::string> features;  // instruction sets that matter here: "avx2", "amx_bf16", ...
  std::string onednn_version;
  std::string onednn_isa;  // the best one oneDNN will use, as ONEDNN_MAX_CPU_ISA would name it
};

CpuDescription describe_cpu();

}  // namespace deeplab
