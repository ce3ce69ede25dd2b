"""What a run was measured on: processor, what is granted of it, and versions."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Final

from benchmarks.timing import Json
from verifier.clock import SystemClock
from verifier.models.processors import available_processors

PACKAGES: Final = (
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "onnx",
    "simplejpeg",
    "insightface",
    "scikit-image",
    "fastapi",
    "uvicorn",
)
ISA: Final = (
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
)
"""Flags that matter to inference, of x86-64 and of ARM."""


def describe_machine() -> Json:
    """Say what this machine is and how busy it was before the run."""
    cpu = _cpuinfo()
    flags = set((cpu.get("flags") or cpu.get("Features") or "").split())
    return {
        "cpu": cpu.get("model name") or platform.processor() or platform.machine(),
        "family_model_stepping": [cpu.get(k) for k in ("cpu family", "model", "stepping")],
        "mhz": cpu.get("cpu MHz"),
        "cache": cpu.get("cache size"),
        "architecture": platform.machine(),
        "logical_processors": os.cpu_count(),
        "granted_processors": available_processors(),
        "isa": [flag for flag in ISA if flag in flags],
        "memory_mb": _memory_mb(),
        "hypervisor": "hypervisor" in flags,
        "system": f"{platform.system()} {platform.release()}",
        "load_before": list(os.getloadavg()) if hasattr(os, "getloadavg") else [],
    }


def describe_versions() -> Json:
    """Name the versions of Python, of this project and of the packages that decide about speed."""
    versions: Json = {"python": platform.python_version()}
    for package in ("benren", *PACKAGES):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue  # not installed is no version
    return versions


def today() -> str:
    """Give the time of the run, ISO 8601 in UTC."""
    return SystemClock().stamp().utc.isoformat(timespec="seconds")


def _cpuinfo() -> dict[str, str]:
    """Read the first processor of ``/proc/cpuinfo``; empty elsewhere than on Linux."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return {}
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        key, colon, value = line.partition(":")
        if not colon:
            break
        found[key.strip()] = value.strip()
    return found


def _memory_mb() -> int | None:
    path = Path("/proc/meminfo")
    if not path.is_file():
        return None
    words = path.read_text(encoding="ascii").splitlines()[0].split()
    return int(words[1]) // 1_024
