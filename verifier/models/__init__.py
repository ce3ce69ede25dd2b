"""Weights in, numbers out: no policy. ``packs.load_pack`` is the way in."""

import os

# onnxruntime's official builds report to Microsoft from the moment of their import, and leave an
# identifier in the home directory (its Privacy.md). Not from a service that watches faces: only
# this variable, set before that import, stops all of it. docs/adr/0006-no-telemetry.md
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
