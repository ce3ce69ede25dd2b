"""What all tests share: where the real weights and photographs lie, and a clock that obeys."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings

from verifier.clock import ManualClock

if TYPE_CHECKING:
    from session_tracker.store.testing import PostgresServer
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


def _why_no_postgres() -> str:
    from session_tracker.store.testing import find_postgres

    return "" if find_postgres() else "no initdb: install the package postgresql"


NEEDS: dict[str, tuple[Callable[[], str], str]] = {
    "models": (_why_no_models, "BENREN_REQUIRE_MODELS"),
    "faces": (_why_no_faces, "BENREN_REQUIRE_MODELS"),
    "postgres": (_why_no_postgres, "BENREN_REQUIRE_POSTGRES"),
}
"""Marker -> why a test so marked cannot run here, empty where it can; and what demands it."""


def _demand(marker: str) -> None:
    """Skip with the reason what cannot run here, or fail where the environment demands it."""
    why, demand = NEEDS[marker]
    reason = why()
    if not reason:
        return
    if os.environ.get(demand) == "1":
        pytest.fail(f"{demand}=1, but {reason}", pytrace=False)
    pytest.skip(reason)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked `both_databases` on SQLite and on PostgreSQL."""
    markers = {marker.name for marker in metafunc.definition.iter_markers()}
    wanted = "both_databases" in markers and "sqlite_only" not in markers
    if wanted and "database_url" in metafunc.fixturenames:
        both = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]
        metafunc.parametrize("database_url", both, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `soak`, unless it is asked for: it takes minutes each."""
    if "soak" in config.getoption("markexpr"):
        return
    left_out = [item for item in items if item.get_closest_marker("soak") is not None]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Apply the markers of `NEEDS`, also to tests that use no fixture of that name."""
    for marker in NEEDS:
        if item.get_closest_marker(marker) is not None:
            _demand(marker)


@pytest.fixture(scope="session", autouse=True)
def prepared_graphs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep rewritten graphs for this test session alone, of the processes it starts too."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENREN_PREPARED", str(folder))
        yield folder


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


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this test session, careless of crashes."""
    from session_tracker.store.testing import PostgresServer

    _demand("postgres")
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def migrated(postgres: PostgresServer) -> str:
    """A PostgreSQL database with the newest tables, to make others from."""
    from session_tracker.store.database import Database

    async def migrate(url: str) -> None:
        database = Database(url)
        await database.open()
        await database.close()

    name = postgres.create()
    asyncio.run(migrate(postgres.url(name)))
    return name


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Address of an empty database: a SQLite file not there yet, or PostgreSQL where asked for."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield f"sqlite:///{tmp_path}/tracker.sqlite3"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.create(template=request.getfixturevalue("migrated"))
    yield server.url(name)
    server.drop(name)


@pytest_asyncio.fixture
async def studio(database_url: str) -> AsyncIterator[Studio]:
    """A running tracker with one enrolled learner, a scripted verifier and a manual clock."""
    from session_tracker.policy import load_policy
    from session_tracker.testing import Studio

    made = Studio(database_url, policy=load_policy("demo"))
    await made.start()
    yield made
    await made.stop()
