#!/usr/bin/env bash
# npm run bench [-- options of bench.js]: installs, builds, makes the venv of the rivals (.venv; pip's PIP_* variables
# hold) and measures. See bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."

bash scripts/setup.sh
npm run --silent build
python3 -c 'import ensurepip, venv' 2>/dev/null || bash scripts/apt.sh python3 python3-venv
if ! .venv/bin/python -c 'import numpy, onnx, onnxruntime, torch' 2>/dev/null; then
  echo "Installing PyTorch and onnxruntime in .venv"
  python3 -m venv .venv
  .venv/bin/pip install --quiet --disable-pip-version-check -r bench/requirements.txt
fi
node bench/bench.js "$@"
