#!/usr/bin/env bash
# npm run fuzz [-- seconds [option of libFuzzer ...]]: fuzzes the reader of weights files, 60 seconds by default. The
# corpus grows from run to run in build/fuzz; an input that fails is left there as crash-*, and is replayed by naming it:
# build/fuzz/safetensors_fuzz build/fuzz/crash-...
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
shift || true
out=build/fuzz

can_fuzz() {
  echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' |
    clang++ -fsanitize=fuzzer,address,undefined -x c++ - -o "$out/probe" 2>/dev/null
}

bash scripts/setup.sh
mkdir -p "$out/corpus"
command -v clang++ >/dev/null || bash scripts/apt.sh clang
can_fuzz || bash scripts/apt.sh "libclang-rt-$(clang++ -dumpversion | cut -d. -f1)-dev"

clang++ -std=c++17 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Inative -pthread \
  native/core/*.cc test/fuzz/safetensors_fuzz.cc -o "$out/safetensors_fuzz"
node test/fuzz/seeds.js "$out/corpus"
"$out/safetensors_fuzz" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
  -dict=test/fuzz/safetensors.dict -artifact_prefix="$out/" -verbosity=0 -print_funcs=0 -print_final_stats=1 "$@" \
  "$out/corpus" </dev/null
