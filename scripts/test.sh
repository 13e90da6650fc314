#!/usr/bin/env bash
# npm test: installs, builds, checks and tests. With arguments: builds, then runs jest with them and nothing else,
# as in `npm test -- test/png.test.ts`.
set -euo pipefail
cd "$(dirname "$0")/.."

bash scripts/setup.sh
npm run --silent build
if (($# == 0)); then
  npx biome check .
  npx tsc --noEmit
  npx publint
  npx attw --pack . --quiet
  npx tsd
fi
npx jest "$@"
