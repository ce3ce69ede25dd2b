#!/bin/sh
# Prints the first Python of at least 3.11 that can make a virtual environment; PYTHON names another.
for candidate in ${PYTHON:-python3 python3.11 python3.12 python3.13 python3.14 python}; do
  if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    command -v "$candidate"
    exit 0
  fi
done
echo "No Python >= 3.11 with venv and ensurepip was found (looked for: ${PYTHON:-python3, python3.11 to python3.14, python})." >&2
echo "Install one (on Debian: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3.11 ..." >&2
exit 1
