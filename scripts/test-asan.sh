#!/usr/bin/env bash
# npm run test:asan: builds the addon with AddressSanitizer and UndefinedBehaviorSanitizer in a folder of its own and
# runs jest on it; arguments go to jest. Not run: the tests of memory (the sanitizer keeps what is freed) and of how soon a
# process ends, those on CamVid (minutes, and no code that others do not reach), and those that compile code of their own.
set -euo pipefail
cd "$(dirname "$0")/.."

bash scripts/setup.sh
npm run --silent build:lib
# node-gyp-build looks for build/Release/*.node in the folder that DEEPLAB_PREBUILD names.
node scripts/cmake.js Release build/asan/build/Release --CDDEEPLAB_SANITIZE=ON

# node is not instrumented, so the runtimes must be there first, and libstdc++ with them: the address sanitizer wraps
# its __cxa_throw, and finds it only among what is loaded at the start. Leaks are not looked for: V8 frees nothing when
# the process ends.
preload=$(for name in libasan libubsan libstdc++; do g++ -print-file-name="$name.so"; done | paste -sd :)
DEEPLAB_PREBUILD=$PWD/build/asan \
  LD_PRELOAD=$preload \
  ASAN_OPTIONS=detect_leaks=0:halt_on_error=1:abort_on_error=1 \
  UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
  node node_modules/jest/bin/jest.js --runInBand --testTimeout=600000 "$@" \
  --testPathIgnorePatterns 'test/(memory|crf-memory|forgotten|shared-weights|termination|two-copies|camvid|camvid-crf|instruction-sets|worker)\.test'
