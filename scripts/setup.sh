#!/usr/bin/env bash
# Installs what is missing to build and test: system packages, then node_modules. Silent where nothing is.
set -euo pipefail
cd "$(dirname "$0")/.."

# 20.15: as "engines" in package.json.
if ! node -e 'const [major, minor] = process.versions.node.split("."); process.exit(major > 20 || (major == 20 && minor >= 15) ? 0 : 1)' 2>/dev/null; then
  echo "Node.js 20.15 or later is needed: https://nodejs.org" >&2
  exit 1
fi

have() { command -v "$1" >/dev/null; }
have_header() { printf '#if !__has_include(<%s>)\n#error\n#endif\n' "$1" | g++ -E -x c++ - >/dev/null 2>&1; }

missing=()
have cmake || missing+=(cmake)
have ninja || have make || missing+=(ninja-build)
have g++ || missing+=(g++)
have patchelf || missing+=(patchelf) # scripts/packages.js
have_header oneapi/dnnl/dnnl.hpp || missing+=(libdnnl-dev)
# oneDNN's CMake file asks for OpenCL, its package does not.
have_header CL/cl.h && [[ $(g++ -print-file-name=libOpenCL.so) == /* ]] || missing+=(ocl-icd-opencl-dev)
have_header nlohmann/json.hpp || missing+=(nlohmann-json3-dev)
((${#missing[@]} == 0)) || bash scripts/apt.sh "${missing[@]}"

# npm writes this file last.
if [[ package-lock.json -nt node_modules/.package-lock.json ]]; then
  echo "Installing node_modules"
  npm ci --ignore-scripts --no-audit --no-fund
fi
