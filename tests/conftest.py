"""What all tests share: where the real weights and photographs lie, and a clock that obeys."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings

from verifier.clock import ManualClock

if TYPE_CHECKING:
    from session_tracker.testing import Studio
from verifier.models.store import Store, cache_folder

# The same examples on every machine, however slow it is: a red run means a changed project, not
# chance. `make soak` is where chance comes in.
settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "soak", settings.get_profile("repeatable"), derandomize=False, max_examples=5_000
)
settings.load_profile("repeatable")

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


def _models_dir() -> Path:
    named = os.environ.get("BENREN_MODELS")
    if named:
        return Path(named).expanduser().resolve()
    pulled = cache_folder() / "models"
    return pulled if pulled.is_dir() and not (SHARED / "models").is_dir() else SHARED / "models"


def _why_no_models() -> str:
    folder = _models_dir()
    if any(folder.glob("**/*.onnx")):
        return ""
    return (
        f"no model pack in {folder}: put shared/ beside the checkout, set BENREN_MODELS,"
        " or run `benren models pull`"
    )


def _why_no_faces() -> str:
    folder = SHARED / "faces"
    if (folder / "families").is_dir():
        return ""
    return f"no photographs in {folder}: put shared/ beside the checkout"


NEEDS: dict[str, Callable[[], str]] = {"models": _why_no_models, "faces": _why_no_faces}
"""Marker -> why a test so marked cannot run here; empty where it can."""


def _demand(marker: str) -> None:
    """Skip with the reason what cannot run here, or fail where BENREN_REQUIRE_MODELS=1 says so."""
    reason = NEEDS[marker]()
    if not reason:
        return
    if os.environ.get("BENREN_REQUIRE_MODELS") == "1":
        pytest.fail(f"BENREN_REQUIRE_MODELS=1, but {reason}", pytrace=False)
    pytest.skip(reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Apply the markers `models` and `faces`, also to tests that use no fixture of that name."""
    for marker in NEEDS:
        if item.get_closest_marker(marker) is not None:
            _demand(marker)


@pytest.fixture(scope="session")
def pack_dir() -> Path:
    """Folder of the prepared models (`open/` and `research/` inside)."""
    _demand("models")
    return _models_dir()


@pytest.fixture(scope="session")
def model_store(pack_dir: Path) -> Store:
    """Store that reads from `pack_dir`."""
    return Store.default(models_dir=pack_dir)


@pytest.fixture(scope="session")
def faces_dir() -> Path:
    """Folder of the real photographs; read from there, never copied into the project."""
    _demand("faces")
    return SHARED / "faces"


@pytest.fixture
def clock() -> ManualClock:
    """A clock that moves only when told."""
    return ManualClock()


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """Address of a SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path}/tracker.sqlite3"


@pytest_asyncio.fixture
async def studio(database_url: str) -> AsyncIterator[Studio]:
    """A running tracker with one enrolled learner, a scripted verifier and a manual clock."""
    from session_tracker.policy import load_policy
    from session_tracker.testing import Studio

    made = Studio(database_url, policy=load_policy("demo"))
    await made.start()
    yield made
    await made.stop()
