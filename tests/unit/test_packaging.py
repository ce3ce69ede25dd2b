"""What is pinned is what pyproject.toml asks for, once, with hashes, from no particular index."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = {
    "cpu": ("cpu", "insightface", "postgres"),
    "gpu": ("gpu", "insightface", "postgres"),
    "dev": ("cpu", "insightface", "postgres", "dev"),
}
ONE_ONNXRUNTIME = {"cpu": "onnxruntime", "gpu": "onnxruntime-gpu", "dev": "onnxruntime"}
EVERYWHERE = [
    {"python_version": version, "python_full_version": f"{version}.5", "sys_platform": "linux"}
    for version in ("3.11", "3.12", "3.13")
]


def _lock(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")


def _pins(name: str) -> list[Requirement]:
    lines = re.findall(r"^[A-Za-z0-9].*?(?= \\$)", _lock(name), flags=re.MULTILINE)
    return [Requirement(line) for line in lines]


def _holds(marker: Marker | None, where: dict[str, str]) -> bool:
    environment = {key: str(value) for key, value in default_environment().items()}
    return marker is None or marker.evaluate(environment | where)


@pytest.fixture(params=sorted(EXTRAS))
def lock(request: pytest.FixtureRequest) -> str:
    """Name of a lock: each in turn."""
    return str(request.param)


def test_every_pin_is_exact_and_has_a_hash(lock: str) -> None:
    """A pin without a hash would let whoever serves the index choose what we run."""
    entries = re.split(r"\n(?=\S)", _lock(lock).strip())
    assert len(entries) > 80
    for entry in entries:
        assert re.match(r"[a-z0-9.-]+==\S+( ; .+)? \\\n", entry), entry
        assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", entry)) >= 1, entry


def test_no_lock_names_an_index(lock: str) -> None:
    """The address of a mirror inside somebody's company is nobody else's business."""
    text = _lock(lock)
    assert "://" not in text
    assert "--index" not in text
    assert not (ROOT / "uv.lock").exists()


@pytest.mark.parametrize("where", EVERYWHERE, ids=lambda where: where["python_version"])
def test_each_package_has_one_version_on_linux(lock: str, where: dict[str, str]) -> None:
    """On every supported Python of Linux a name is pinned once: pip refuses two."""
    names = [pin.name for pin in _pins(lock) if _holds(pin.marker, where)]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("where", EVERYWHERE, ids=lambda where: where["python_version"])
def test_a_lock_holds_all_that_the_project_asks_for(lock: str, where: dict[str, str]) -> None:
    """`--no-deps` trusts the lock, so a forgotten `make locks` would show only at run time."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = list(project["dependencies"])
    for extra in EXTRAS[lock]:
        asked += project["optional-dependencies"][extra]
    pinned = {
        canonicalize_name(pin.name): next(iter(pin.specifier)).version
        for pin in _pins(lock)
        if _holds(pin.marker, where)
    }
    for requirement in map(Requirement, asked):
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} is missing from {lock}.lock: run make locks"
        assert requirement.specifier.contains(pinned[name], prereleases=True), name


def test_a_lock_holds_one_opencv_and_one_onnxruntime(lock: str) -> None:
    """Two would overwrite each other's files without a word."""
    names = {pin.name for pin in _pins(lock)}
    assert {n for n in names if n.startswith("opencv")} == {"opencv-python-headless"}
    assert {n for n in names if n.startswith("onnxruntime")} == {ONE_ONNXRUNTIME[lock]}


def test_the_locks_agree_on_versions() -> None:
    """What is tested is what is shipped: thresholds measured on one image hold on the other."""
    versions: dict[str, set[str]] = {}
    for lock in EXTRAS:
        for pin in _pins(lock):
            name = "onnxruntime" if pin.name == "onnxruntime-gpu" else pin.name
            versions.setdefault(f"{name} {pin.marker or ''}", set()).add(str(pin.specifier))
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_openvino_comes_as_it_was_tested_and_alone() -> None:
    """What the CPU image takes on demand is what dev.lock has, without what would report home."""
    (pin,) = _pins("openvino")
    assert pin.name == "openvino"
    assert _lock("openvino") in _lock("dev")
    assert "telemetry" not in _lock("openvino")


def test_what_is_installed_here_is_headless() -> None:
    """The environment of the tests obeys the rule of the images."""
    names = {canonicalize_name(found.name) for found in distributions()}
    assert {n for n in names if n.startswith("opencv")} == {"opencv-python-headless"}
    assert len([n for n in names if n in {"onnxruntime", "onnxruntime-gpu"}]) == 1


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_an_image_runs_the_server_itself_as_nobody_special(kind: str) -> None:
    """SIGTERM must reach the server, and the server must not be root."""
    text = (ROOT / f"Dockerfile.{kind}").read_text(encoding="utf-8")
    final = text[text.rindex("\nFROM ") :]
    assert "\nUSER 10001:10001\n" in final
    assert "\nHEALTHCHECK " in final
    assert '\nCMD ["benren", "serve", "--host", "0.0.0.0", "--port", "8080"]\n' in final
    assert f"--no-deps --require-hashes -r requirements/{kind}.lock" in text


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_a_volume_at_models_can_be_filled_by_the_image_itself(kind: str) -> None:
    """A new volume takes the owner of the folder: who has no weights pulls them with the image."""
    text = (ROOT / f"Dockerfile.{kind}").read_text(encoding="utf-8")
    assert "install -d -o 10001 -g 10001 /data /models" in text
    assert "BENREN_MODELS=/models" in text


def test_the_cpu_image_has_openvino_where_it_was_asked_for() -> None:
    """Not by default: half as much again to install for what is as fast on most machines."""
    text = (ROOT / "Dockerfile.cpu").read_text(encoding="utf-8")
    assert "ARG OPENVINO=no" in text
    assert "--no-deps --require-hashes -r requirements/openvino.lock" in text
