#!/usr/bin/env bash
# Compiles requirements/{dev,cpu,gpu,openvino}.lock from pyproject.toml, with hashes and without index
# addresses. Keeps the versions of the present locks; `deploy/locks.sh --upgrade` renews them.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v uv >/dev/null; then
  echo "deploy/locks.sh: uv is missing. Install it outside this project: python3 -m pip install uv" >&2
  exit 1
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

compile() {
  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-header --no-annotate \
    pyproject.toml requirements/build.in --extra insightface --extra postgres "$@"
}

# dev first: cpu and gpu take its versions, so that what is tested is what is shipped.
compile --extra cpu --extra dev --extra openvino -o requirements/dev.lock "$@"
compile --extra cpu -c requirements/dev.lock -o requirements/cpu.lock "$@"

# What openvino needs beside cpu.lock is itself: numpy is there, and its telemetry shall not be.
awk '/^[^ #]/ { wanted = /^openvino==/ } wanted' requirements/dev.lock >requirements/openvino.lock

# insightface asks for plain onnxruntime, which would overwrite onnxruntime-gpu. The override makes
# it a line for no platform at all; pip has no use for that line, so it goes, with its hashes.
echo "onnxruntime ; sys_platform == 'never'" >"$scratch/override.txt"
cp requirements/gpu.lock "$scratch/gpu.lock" 2>/dev/null || true
compile --extra gpu -c requirements/dev.lock --override "$scratch/override.txt" \
  -o "$scratch/gpu.lock" "$@"
awk '/^[^ #]/ { never = /sys_platform == .never./ } !never' "$scratch/gpu.lock" >requirements/gpu.lock

if grep -nE 'https?://|--(extra-)?index-url|--find-links' requirements/*.lock; then
  echo "deploy/locks.sh: an index address got into a lock; see above" >&2
  exit 1
fi
