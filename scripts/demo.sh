#!/usr/bin/env bash
# npm run demo: installs, builds and segments the example photo, by the model that ships or by the weights file that
# DEEPLAB_MODEL names. In grey, because the model that ships knows no blue sky (weights/CARD.md).
set -euo pipefail
cd "$(dirname "$0")/.."

bash scripts/setup.sh
npm run --silent build
node dist/cli.js segment examples/berlin-cathedral-grey.jpg -o out
