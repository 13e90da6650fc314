#!/usr/bin/env bash
# Verifies a checkout on a machine with an NVIDIA GPU: builds it, compares the GPU with the CPU and with float64, runs the
# tests in JavaScript, compute-sanitizer and the benchmarks beside PyTorch, in less than nine minutes.
#
#   scripts/gpu-check.sh pack [folder]   on a machine with network and Node: puts into build/gpu-kit what the other lacks
#   scripts/gpu-check.sh [run]           on the machine with the GPU: needs the checkout with build/gpu-kit, a driver, nvcc,
#                                        cmake, g++, and a python3 with PyTorch and cuDNN; neither Node nor a network
#     --build-only                       stops after the build, which needs no GPU
#     --only STAGES                      of unpack,build,compare,gradients,training,bench,javascript,memcheck,racecheck,full,rivals; comma-separated
#
# Writes report.json, table.txt and logs.tar.gz to ${OUT:-build/gpu-check}. A stage that fails does not stop those after
# it; the exit status says whether all passed.
set -uo pipefail
cd "$(dirname "$0")/.."
root=$PWD

if [[ ${1:-} == pack ]]; then
  shift
  set -e
  bash scripts/setup.sh
  npm run --silent build:lib
  exec node scripts/gpu-kit.js "$@"
fi
[[ ${1:-} != run ]] || shift
build_only=false only=
while (($# > 0)); do
  case $1 in
    --build-only) build_only=true ;;
    --only) only=$2; shift ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | head -n -1 >&2; exit 2 ;;
  esac
  shift
done

kit=${GPU_KIT:-$root/build/gpu-kit}
work=$root/build/gpu-check-work
out=${OUT:-$root/build/gpu-check}
logs=$work/logs
mkdir -p "$out" "$logs"
rm -f "$logs"/* "$work"/*.json

# ---- What there is ----

gpu=$(nvidia-smi --query-gpu=name,compute_cap,driver_version --format=csv,noheader 2>/dev/null | head -1) || gpu=
if [[ -z $gpu ]] && ! $build_only; then
  echo "There is no NVIDIA GPU here that nvidia-smi knows. Without one, only: scripts/gpu-check.sh run --build-only" >&2
  exit 1
fi
capability=$(cut -d, -f2 <<<"$gpu" | tr -d ' .')
export PATH=$PATH:/usr/local/cuda/bin
# The folder of pip's cuDNN; else the one that scripts/build-cuda.sh unpacks.
cudnn=$(python3 -c 'import importlib.util as u; print(u.find_spec("nvidia.cudnn").submodule_search_locations[0])' 2>/dev/null) ||
  cudnn=$root/build/cudnn/nvidia/cudnn
export LD_LIBRARY_PATH=$work/prefix/lib:$cudnn/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export DEEPLAB_CACHE=$work/plans  # of this run alone: plans are timed on this card, today

# ---- Stages ----

all_limit=520 build_limit=200  # seconds: of all, and of the build, which 16 cores do in a fraction of it
! $build_only || all_limit=3600 build_limit=3600
readonly deadline=$((SECONDS + all_limit))
failed=0

report() {
  tar czf "$out/logs.tar.gz" -C "$logs" . &&
    python3 "$root/scripts/gpu-report.py" "$work" "$out" "${gpu:-none}"
}

# stage NAME SECONDS COMMAND ...: with a time limit, and the deadline of all; its output goes to a log.
stage() {
  local name=$1 limit=$2 started=$SECONDS status=0
  shift 2
  [[ -z $only || ,$only, == *,$name,* ]] || return 0
  ((limit < deadline - SECONDS)) || limit=$((deadline - SECONDS))
  if ((limit > 0)); then
    ROOT=$root WORK=$work KIT=$kit CUDNN=$cudnn CAPABILITY=${capability:-90} \
      timeout --kill-after=5 "$limit" "$@" >"$logs/$name.log" 2>&1 || status=$?
  else
    echo "no time was left" >"$logs/$name.log"
    status=124
  fi
  ((status == 0)) || failed=1
  printf '%s\t%d\t%d\n' "$name" "$status" $((SECONDS - started)) >>"$logs/stages.tsv"
  printf '%-12s %s, %d s\n' "$name" "$( ((status == 0)) && echo passed || echo "FAILED ($status)")" $((SECONDS - started))
  ((status == 0)) || tail -5 "$logs/$name.log" | sed 's/^/    /'
  report
}

unpack() {
  python3 - "$KIT" "$WORK" <<'PYTHON'
import lzma, os, shutil, sys, tarfile
kit, work = sys.argv[1:]
with lzma.open(f"{kit}/node.xz") as packed, open(f"{work}/node", "wb") as node:
    shutil.copyfileobj(packed, node, 1 << 20)
os.chmod(f"{work}/node", 0o755)
for folder in ("prefix", "package"):
    shutil.rmtree(f"{work}/{folder}", ignore_errors=True)
with tarfile.open(f"{kit}/kit.tar.xz") as packed:
    packed.extractall(work)
PYTHON
  "$WORK/node" --version
}

# One build for all: the addon, deeplab_cuda.so, the comparison program and the benchmark, for this card alone.
build() {
  local generator=() folder=$WORK/package/build/Release
  command -v ninja >/dev/null && generator=(-G Ninja)
  cmake -S "$ROOT" -B "$folder" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release -DDEEPLAB_CUDA=ON -DDEEPLAB_TESTS=ON \
    -DCMAKE_CUDA_ARCHITECTURES="$CAPABILITY-real" -DCUDNN_INCLUDE_DIR="$CUDNN/include" \
    -Ddnnl_DIR="$WORK/prefix/lib/cmake" \
    -Dnlohmann_json_DIR="$WORK/prefix/lib/cmake" \
    -DCMAKE_JS_VERSION=none -DCMAKE_JS_INC="$WORK/prefix/include/node" -DCMAKE_JS_LIB= &&
    cmake --build "$folder" --parallel "$(nproc)" --target deeplab deeplab_cuda compare_gpu bench_gpu &&
    cd "$WORK/package" && "$WORK/node" -e 'require("./dist").doctor().then((all) => console.log(JSON.stringify(all)))'
}

compare() { "$WORK/package/build/Release/compare_gpu" --quick --except training: --json "$WORK/compare.json"; }

# Gradients; each precision has plans of its own to time.
gradients() { "$WORK/package/build/Release/compare_gpu" --quick --filter training: --json "$WORK/gradients.json"; }

# With larger images as well.
full() { "$WORK/package/build/Release/compare_gpu" --json "$WORK/full.json"; }

bench() {
  "$WORK/package/build/Release/bench_gpu" --only inference --precision f16 --seconds 0.3 --json "$WORK/bench.json"
}

# Ours and PyTorch's in turn, so that the card is as warm for one as for the other.
training() {
  local bench=$WORK/package/build/Release/bench_gpu status=0
  "$bench" --only training --precision bf16 --json "$WORK/training-bf16.json" || status=1
  python3 "$ROOT/bench/gpu-rivals.py" --only training --json "$WORK/training-rivals.json" || status=1
  "$bench" --only training --precision f16 --json "$WORK/training-f16.json" || status=1
  return $status
}

rivals() {
  export TORCHINDUCTOR_CACHE_DIR=$WORK/inductor
  python3 "$ROOT/bench/gpu-rivals.py" --batch 32,1 --json "$WORK/rivals.json" \
    --modes "eager,compile max-autotune,compile reduce-overhead"
}

# Suites that are skipped for want of a GPU are no success.
javascript() {
  cd "$WORK/package" &&
    "$WORK/node" node_modules/jest/bin/jest.js --runInBand --json --outputFile="$WORK/javascript.json" test/gpu.test.js test/gpu-training.test.js &&
    "$WORK/node" -e 'process.exit(JSON.parse(require("fs").readFileSync(process.argv[1])).numPassedTests > 0 ? 0 : 1)' \
      "$WORK/javascript.json"
}

# Small networks and CRFs; every kernel of ours, few of cuDNN's.
sanitize() {
  local tool
  tool=$(command -v compute-sanitizer || ls /opt/nvidia/*/compute-sanitizer/compute-sanitizer 2>/dev/null | head -1)
  [[ -n $tool ]] || { echo "compute-sanitizer is not installed"; return 1; }
  "$tool" --tool "$1" --error-exitcode 1 "$WORK/package/build/Release/compare_gpu" --quick --seed 1 --threads 2 --precisions f32,f16 \
    --filter "segmentation with a CRF, batch|ASPP 2 4|max pool ceil, 1x3x2x3|padded to 8, 2x3|runs: two runs with a CRF|\
depthwise 3x3 stride 2 same|ReLU6, a shortcut|average pool, 1x3x2x1|global average pool, 33 channels, 3x3|\
concat 13, one pixel of 20, 9, one pixel of 3, 1x3|logits' sum, two grids, 1x3|head asymmetric, given 5x7, 1x4|training: VGG-16 ASPP|training: v3 MobileNetV2, frozen"
}

export -f unpack build compare gradients full bench training rivals javascript sanitize
: >"$logs/stages.tsv"
stage unpack 60 bash -c unpack
stage build $build_limit bash -c build
if ! $build_only; then
  stage compare 180 bash -c compare
  stage gradients 120 bash -c gradients
  stage training 150 bash -c training
  stage bench 90 bash -c bench
  stage javascript 120 bash -c javascript
  stage memcheck 60 bash -c 'sanitize memcheck'
  stage racecheck 60 bash -c 'sanitize racecheck'
  stage full 120 bash -c full
  stage rivals 240 bash -c rivals  # last: torch.compile takes what time there is, and its figures are written one by one
fi
echo
cat "$out/table.txt"
if [[ -z $gpu ]]; then
  echo "Built only: there is no GPU here." >&2
  exit 1
fi
exit $failed
