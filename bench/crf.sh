#!/usr/bin/env bash
# npm run bench:crf [-- options of crf.js]: installs, builds and measures. PYDENSECRF names a folder with pydensecrf,
# built, and PYTHON the python that it was built for. See bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."

bash scripts/setup.sh
npm run --silent build
node bench/crf.js "$@"
