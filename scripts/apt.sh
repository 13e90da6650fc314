#!/usr/bin/env bash
# Installs the named Debian or Ubuntu packages, as root or with sudo; elsewhere says what is needed.
set -euo pipefail

if ! command -v apt-get >/dev/null; then
  echo "Missing on this system, and there is no apt-get to install it with. Debian's names of the packages: $*" >&2
  exit 1
fi
root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || { echo "Neither root nor sudo. Run as root: apt-get install $*" >&2; exit 1; }
  root=(sudo)
fi
echo "Installing: $*"
export DEBIAN_FRONTEND=noninteractive
install() { "${root[@]}" apt-get install -qq -y --no-install-recommends "$@" </dev/null >/dev/null; }
# A fresh image has no package lists, an old one stale ones.
"${root[@]}" apt-get update -qq && install "$@"
