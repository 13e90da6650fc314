#!/usr/bin/env bash
# Installs the JavaScript runtimes of test/runtimes/package.json into build/runtimes, checked against its lockfile; silent
# where they are there. Exits with 69 (EX_UNAVAILABLE of sysexits.h) where they cannot be had: another processor than
# x64, or no answer of the npm registry.
set -euo pipefail
cd "$(dirname "$0")/.."

here=build/runtimes
[[ $(uname -m) == x86_64 ]] || { echo "no runtimes are listed for $(uname -m)" >&2; exit 69; }
cmp -s test/runtimes/package-lock.json "$here/package-lock.json" && [[ -e $here/node_modules/.package-lock.json ]] && exit

mkdir -p "$here"
rm -f "$here/package-lock.json"
cp test/runtimes/package.json "$here/"
# The lockfile is there under its name only when everything else is.
cp test/runtimes/package-lock.json "$here/npm-shrinkwrap.json"
if ! npm ci --prefix "$here" --ignore-scripts --no-audit --no-fund --fetch-retries=1 --fetch-retry-mintimeout=1000 \
  --loglevel=error >"$here/install.log" 2>&1; then
  if silent=$(grep -oE -m1 'E(NOTFOUND|AI_AGAIN|CONNREFUSED|CONNRESET|TIMEDOUT|NETUNREACH|HOSTUNREACH|SOCKETTIMEOUT)' "$here/install.log"); then
    echo "the npm registry does not answer: $silent" >&2
    exit 69
  fi
  cat "$here/install.log" >&2
  exit 1
fi
mv "$here/npm-shrinkwrap.json" "$here/package-lock.json"
