"""The composition root: what has to be refused before anything is loaded, and whole services."""

from __future__ import annotations

import stat
from pathlib import Path

import httpx
import pytest

from benren.compose import build, load_keys
from benren.config import Config, load_settings
from verifier.clock import ManualClock, SystemClock
from verifier.edge import KeyScope, new_api_key
from verifier.errors import (
    BenrenError,
    ConfigurationError,
    InferenceFailed,
    ModelAltered,
    ModelMissing,
)
from verifier.models.manifest import bundled_manifest


def _config(place: Path, **flags: object) -> Config:
    return load_settings(Config, data_directory=place, port=0, **flags)


def test_first_start_makes_keys_and_the_next_one_reads_them(tmp_path: Path) -> None:
    """Keys are made once, for the owner's eyes only, and found again."""
    config = _config(tmp_path / "data")
    made = load_keys(config, SystemClock(), {})
    again = load_keys(config, SystemClock(), {})
    assert made.current_signing_id == again.current_signing_id
    for file in config.keys.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_lost_keys_are_not_replaced_in_silence(tmp_path: Path) -> None:
    """Where a database is but its keys are not, the start is refused: new keys open nothing."""
    config = _config(tmp_path)
    config.sqlite_file.touch()
    with pytest.raises(ConfigurationError, match="no key directory") as caught:
        load_keys(config, SystemClock(), {})
    assert "backup" in caught.value.remedy
    assert not config.keys.exists()


def test_data_directory_that_is_a_file_is_told(tmp_path: Path) -> None:
    """A file where the data directory should be is an error with a remedy."""
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(ConfigurationError, match="cannot be made") as caught:
        load_keys(_config(tmp_path / "data"), SystemClock(), {})
    assert "--data-dir" in caught.value.remedy


async def test_strangers_are_not_served_without_keys(tmp_path: Path) -> None:
    """Beyond loopback the services do not start without API keys, and touch nothing."""
    with pytest.raises(ConfigurationError, match="loopback"):
        await build(_config(tmp_path / "data", host="0.0.0.0"), environ={})  # noqa: S104
    assert not (tmp_path / "data").exists()


async def test_tracker_alone_needs_a_verifier(tmp_path: Path) -> None:
    """A tracker of its own without a verifier's address is refused."""
    with pytest.raises(ConfigurationError, match="needs a verifier"):
        await build(_config(tmp_path, only="tracker"), environ={})


async def test_tracker_alone_says_when_its_verifier_is_away(tmp_path: Path) -> None:
    """A verifier that does not answer is an error before the port opens."""
    config = _config(tmp_path, only="tracker", verifier_url="http://127.0.0.1:9")
    with pytest.raises(BenrenError, match=r"127\.0\.0\.1:9"):
        await build(config, environ={})


@pytest.mark.models
async def test_both_services_answer_behind_one_app(
    tmp_path: Path, pack_dir: Path, clock: ManualClock
) -> None:
    """One app: probes, verifier and tracker; it asks for API keys where there are some."""
    secret, line = new_api_key("course", [KeyScope.ADMIN])
    services = await build(
        _config(tmp_path, policies=("demo",), api_keys=(line,)), clock, environ={}
    )
    try:
        transport = httpx.ASGITransport(app=services.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            assert (await client.get("/readyz")).status_code == 200
            assert (await client.get("/v1/programmes")).status_code == 401
            client.headers["Authorization"] = f"Bearer {secret}"
            programmes = (await client.get("/v1/programmes")).json()
            assert [programme["programme"] for programme in programmes] == ["demo"]
            version = (await client.get("/version")).json()
            assert version["providers"] == ["CPUExecutionProvider"]
            paths = (await client.get("/openapi.json")).json()["paths"]
            assert {"/v1/verify", "/v1/streams", "/v1/sessions", "/v1/ledger/head"} <= set(paths)
    finally:
        await services.stop()
        await services.stop()  # twice is fine


@pytest.mark.models
async def test_verifier_alone_has_no_sessions(tmp_path: Path, pack_dir: Path) -> None:
    """A verifier of its own needs no database and knows no learner."""
    services = await build(_config(tmp_path, only="verifier"), environ={})
    try:
        assert services.tracker is None
        assert not (tmp_path / "benren.sqlite3").exists()
        transport = httpx.ASGITransport(app=services.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            assert (await client.get("/readyz")).status_code == 200
            assert (await client.get("/v1/programmes")).status_code == 404
    finally:
        await services.stop()


async def test_the_engine_is_warm_before_it_is_tested_and_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first request finds the detector's sizes ready; what fails then stops the start."""
    done: list[str] = []

    class Cold:
        def warm_up(self) -> None:
            done.append("warm")

        def self_test(self) -> None:
            done.append("tested")
            raise InferenceFailed("enough")

    monkeypatch.setattr("benren.inference.load_inference", lambda _: (Cold(), "paper"))
    with pytest.raises(InferenceFailed, match="enough"):
        await build(_config(tmp_path, only="verifier"), environ={})
    assert done == ["warm", "tested"]


_PACK = bundled_manifest().pack("open")
_ROLES = (_PACK.detector, _PACK.embedder, *_PACK.liveness, _PACK.mesh, _PACK.iris)
OPEN_PACK = sorted({name for name in _ROLES if name is not None})
"""Names of all files of the pack."""


def _damaged_pack(folder: Path, pack_dir: Path, name: str, damage: str) -> None:
    """Link the pack into `folder`, but leave out `name`, or change one byte in a copy of it."""
    folder.mkdir()
    for one in OPEN_PACK:
        file = bundled_manifest().file(one)
        source = next(pack_dir.glob(f"**/{file.filename}"))
        if one != name:
            (folder / file.filename).symlink_to(source)
        elif damage == "altered":
            content = bytearray(source.read_bytes())
            content[len(content) // 2] ^= 1
            (folder / file.filename).write_bytes(content)


@pytest.mark.models
@pytest.mark.parametrize("name", OPEN_PACK)
@pytest.mark.parametrize("damage", ["removed", "altered"])
async def test_a_missing_or_altered_model_ends_the_start(
    name: str, damage: str, tmp_path: Path, pack_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removing any one file, or changing one byte of it, names the file and the remedy."""
    folder = tmp_path / "models"
    _damaged_pack(folder, pack_dir, name, damage)
    monkeypatch.setenv("BENREN_MODELS", str(folder))
    expected = ModelMissing if damage == "removed" else ModelAltered
    with pytest.raises(expected, match=bundled_manifest().file(name).filename) as caught:
        await build(_config(tmp_path / "data"), environ={})
    assert caught.value.remedy
