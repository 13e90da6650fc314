#!/usr/bin/env bash
# Makes a release, and publishes nothing unless asked. Without options: checks that the tree is clean, that CHANGELOG.md
# begins with the version of package.json and that no vulnerability of a dependency is known; builds for every platform
# and runs all tests; makes the packages and their bill of materials (CycloneDX) in build/packages; prints how they are
# published. With --publish: publishes what is in build/packages, with provenance, the binaries before what asks for them.
#
# deeplab_cuda.so is built if nvcc is here; otherwise it has to be in build/cuda. .github/workflows/release.yml does all of
# this, where npm knows who does it: https://docs.npmjs.com/generating-provenance-statements.
set -euo pipefail
cd "$(dirname "$0")/.."

stop() { printf '%s\n' "$@" >&2; exit 1; }
[[ $# == 0 || ($# == 1 && $1 == --publish) ]] || stop "usage: scripts/release.sh [--publish]"

field() { node -p "require('./package.json').$1 ?? ''"; }
version=$(field version)
out=build/packages

publish() {
  local tarball
  for tarball in "$out"/*-"$version".tgz; do
    [[ $tarball == "$out/deeplab-$version.tgz" ]] || "$@" "$tarball"
  done
  "$@" "$out/deeplab-$version.tgz"
}

if [[ ${1-} == --publish ]]; then
  [[ -e $out/deeplab-$version.tgz ]] || stop "$out/deeplab-$version.tgz is missing: scripts/release.sh makes it"
  # npm compares it with where the workflow runs.
  [[ -n $(field repository) ]] || stop 'package.json names no "repository", without which there is no provenance'
  publish npm publish --provenance --access public
  exit
fi

[[ -z $(git status --porcelain) ]] || stop "There are changes that are not committed:" "$(git status --short)"
top=$(grep -m1 -oP '^## \[\K[^]]+' CHANGELOG.md)
[[ $top == "$version" ]] || stop "package.json has version $version, but CHANGELOG.md begins with [$top]"

# Not every registry serves audits. One that does decides.
if ! audit=$(npm audit --omit=dev 2>&1); then
  [[ $audit == *"audit endpoint returned an error"* ]] || stop "$audit"
  echo "Not audited: this registry serves no audits" >&2
fi

npm test
bash scripts/build-arm64.sh
if command -v nvcc >/dev/null || [[ -x ${CUDA_HOME:-/usr/local/cuda}/bin/nvcc ]]; then npm run build:cuda; fi
npm run packages -- --release
bash scripts/sbom.sh "$out/deeplab-$version.cdx.json"
(cd "$out" && sha256sum ./*.tgz ./*.cdx.json >SHA256SUMS && cat SHA256SUMS)

echo "Nothing was published. scripts/release.sh --publish runs:"
publish echo npm publish --provenance --access public
