#!/usr/bin/env bash
# Fetches cuDNN, by pip, into build/cudnn: the headers that the CUDA backend is compiled with, and the libraries that its
# tests plan convolutions with (no GPU is needed for that). About 1 GB to download; silent where it is there already.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=build/cudnn
packages=(nvidia-cudnn-cu13==9.24.0.43 nvidia-cublas==13.1.1.3)

[[ -e $folder/complete && $(<"$folder/complete") == "${packages[*]}" ]] && exit
rm -rf "$folder"
mkdir -p "$folder/wheels"
echo "Fetching ${packages[*]}"
python3 -m pip download --quiet --quiet --disable-pip-version-check --retries 1 --no-deps --only-binary :all: --dest "$folder/wheels" \
  "${packages[@]}"
for wheel in "$folder"/wheels/*.whl; do
  # Wheels are zip files. Recurrent networks and attention are not for us.
  python3 - "$wheel" "$folder" <<'PYTHON'
import re, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    wanted = [name for name in wheel.namelist() if re.search(r"/(include|lib)/", name)]
    wheel.extractall(sys.argv[2], [name for name in wanted if not re.search(r"_adv\.so|nvblas|\.alt\.", name)])
PYTHON
done
rm -r "$folder/wheels"
echo "${packages[*]}" >"$folder/complete"
