#!/usr/bin/env bash
# npm run build:cuda: builds deeplab_cuda.so, the CUDA backend, beside the addon. Needs the CUDA toolkit 13 (nvcc), but
# neither a GPU nor a driver; fetches cuDNN's headers. Options go to CMake, as in
#   npm run build:cuda -- -DCMAKE_CUDA_ARCHITECTURES=90
# which compiles for one architecture instead of all that there are.
set -euo pipefail
cd "$(dirname "$0")/.."

nvcc=$(command -v nvcc || echo "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc")
if [[ ! -x $nvcc ]]; then
  echo "nvcc was not found, neither on the PATH nor at $nvcc. Install the CUDA toolkit 13: https://developer.nvidia.com/cuda-downloads" >&2
  exit 1
fi
bash scripts/setup.sh
bash scripts/cudnn.sh
export CUDACXX=$nvcc
# cmake-js takes an option of CMake as --CD<name>=<value>.
node scripts/cmake.js Release build/Release --CDDEEPLAB_CUDA=ON "${@/#-D/--CD}"
ls -l build/Release/deeplab_cuda.so
