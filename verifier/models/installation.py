"""Checks what is installed before anything runs: exactly one OpenCV and exactly one onnxruntime.

All wheels of OpenCV install the same module ``cv2``, all wheels of onnxruntime the same module
``onnxruntime``; two of them overwrite each other in silence, and which one runs is chance.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import metadata
from typing import Final

from verifier.errors import InstallationError

HEADLESS: Final = "opencv-python-headless"
OPENCV: Final = frozenset(
    {
        HEADLESS,
        "opencv-python",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
        "opencv-python-rolling",
        "opencv-python-headless-rolling",
    }
)
"""Distributions on PyPI that install ``cv2``."""
ONNXRUNTIME: Final = frozenset(
    {
        "onnxruntime",
        "onnxruntime-gpu",
        "onnxruntime-directml",
        "onnxruntime-migraphx",
        "onnxruntime-openvino",
        "onnxruntime-qnn",
        "onnxruntime-rocm",
        "onnxruntime-training",
        "onnxruntime-webgpu",
        "ort-nightly",
        "ort-nightly-gpu",
    }
)
"""Distributions that install ``onnxruntime``."""
OPENVINO: Final = "openvino"


def check_installation(installed: Iterable[str] | None = None) -> None:
    """Raise `InstallationError` with pip commands unless one of each kind is installed.

    `installed` are names of distributions, by default those of this environment.
    """
    names = {_normalised(name) for name in (_installed() if installed is None else installed)}
    _check_opencv(sorted(names & OPENCV))
    _check_onnxruntime(sorted(names & ONNXRUNTIME))


def engine_versions() -> dict[str, str]:
    """Give distribution -> version of all that computes here: onnxruntime, openvino, OpenCV."""
    wanted = OPENCV | ONNXRUNTIME | {OPENVINO}
    found = {
        _normalised(one.metadata["Name"] or ""): one.version for one in metadata.distributions()
    }
    return {name: found[name] for name in sorted(wanted & found.keys())}


def _check_opencv(found: list[str]) -> None:
    if found == [HEADLESS]:
        return
    # Uninstalling one of two takes shared files away from the other: remove all, then install.
    remove = f"pip uninstall -y {' '.join(found)} && " if found else ""
    raise InstallationError(
        f"Installed for OpenCV: {' and '.join(found) or 'nothing'};"
        f" exactly {HEADLESS} is needed, any other overwrites it or wants a display.",
        remedy=f"Run: {remove}pip install --no-deps '{HEADLESS}>=4.14,<5'",
    )


def _check_onnxruntime(found: list[str]) -> None:
    if len(found) == 1:
        return
    choice = "pip install 'benren[cpu]' (or 'benren[gpu]' for NVIDIA)"
    if not found:
        raise InstallationError("No onnxruntime is installed.", remedy=f"Run: {choice}")
    raise InstallationError(
        f"Installed for onnxruntime: {' and '.join(found)}; they overwrite each other.",
        remedy=f"Run: pip uninstall -y {' '.join(found)} && {choice}",
    )


def _installed() -> list[str]:
    """Name every distribution that Python finds; broken ones without a name are left out."""
    names = (distribution.metadata["Name"] for distribution in metadata.distributions())
    return [name for name in names if name]


def _normalised(name: str) -> str:
    """Spell a name as PyPI does (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
