#!/usr/bin/env bash
# scripts/sbom.sh FILE: writes the bill of materials (CycloneDX, JSON) of what an installation of this package brings, for
# every platform, by package-lock.json. `npm sbom --omit dev` would leave out each package that a development dependency
# needs as well, tar among them: so the development dependencies are taken out of a copy first.
set -euo pipefail
file=$(realpath -m "$1")
cd "$(dirname "$0")/.."

temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
# npm calls the package after its folder.
folder=$temporary/$(node -p 'require("./package.json").name')
mkdir "$folder"
cp package-lock.json "$folder/"
node -p 'const { devDependencies, ...manifest } = require("./package.json"); JSON.stringify(manifest)' >"$folder/package.json"
cd "$folder"
npm install --package-lock-only --ignore-scripts --offline --no-audit --no-fund --silent
npm sbom --sbom-format cyclonedx --sbom-type library --package-lock-only >"$file"
