#!/usr/bin/env bash
# npm run demo: installs, builds and segments the example photo. DEEPLAB_MODEL names the weights file.
set -euo pipefail
cd "$(dirname "$0")/.."

model=${DEEPLAB_MODEL:-../shared/models/deeplabv2-resnet101-camvid.safetensors}
if [[ ! -f $model ]]; then
  echo "No weights at $model. Name a weights file: DEEPLAB_MODEL=path/to/model.safetensors npm run demo" >&2
  exit 1
fi

bash scripts/setup.sh
npm run --silent build
[[ -n ${DEEPLAB_MODEL:-} ]] || echo "DEEPLAB_MODEL is not set: using $model"
node dist/cli.js segment examples/berlin-cathedral.jpg -o out --model "$model"
