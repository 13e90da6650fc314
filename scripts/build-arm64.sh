#!/usr/bin/env bash
# scripts/build-arm64.sh: builds the addon for linux-arm64 on another Debian machine, in build/arm64, with Debian's cross
# compiler and Debian's arm64 libraries, which it unpacks into build/arm64-sysroot. Changes nothing of the system but
# for the compiler, which it installs if it is missing. On an arm64 machine, npm run build does it.
set -euo pipefail
cd "$(dirname "$0")/.."

bash scripts/setup.sh
command -v aarch64-linux-gnu-g++ >/dev/null || bash scripts/apt.sh g++-aarch64-linux-gnu

sysroot=$PWD/build/arm64-sysroot
packages=(libdnnl2 libdnnl-dev libgomp1 ocl-icd-libopencl1 ocl-icd-opencl-dev opencl-c-headers nlohmann-json3-dev)
if [[ ! -e $sysroot/complete || $(<"$sysroot/complete") != "${packages[*]}" ]]; then
  echo "Fetching for arm64: ${packages[*]}"
  rm -rf "$sysroot"
  mkdir -p "$sysroot"/apt/{lists,cache/archives}/partial "$sysroot/var/lib/dpkg"
  # A state of apt's own, which knows one architecture and nothing that is installed.
  touch "$sysroot/var/lib/dpkg/status"
  apt=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o "Dir::State=$sysroot/apt"
    -o "Dir::State::status=$sysroot/var/lib/dpkg/status" -o "Dir::Cache=$sysroot/apt/cache" -o APT::Sandbox::User=root)
  "${apt[@]}" update
  (cd "$sysroot/apt" && "${apt[@]}" download "${packages[@]}")
  for archive in "$sysroot"/apt/*.deb; do
    dpkg-deb -x "$archive" "$sysroot"
    # As if installed, for dpkg-query: scripts/licences.js asks for the versions.
    { echo "Status: install ok installed"; dpkg-deb -f "$archive" Package Version Source Architecture Maintainer Description; echo; } \
      >>"$sysroot/var/lib/dpkg/status"
  done
  rm -r "$sysroot/apt"
  echo "${packages[*]}" >"$sysroot/complete"
fi

# cmake-js takes an option of CMake as --CD<name>=<value>.
node scripts/cmake.js Release build/arm64 "--CDCMAKE_TOOLCHAIN_FILE=$PWD/scripts/arm64.cmake"
ls -l build/arm64/deeplab.node
