"""Every picture goes through the engine once, and what came out is kept for the next run."""

from __future__ import annotations

import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks import observe as module
from benchmarks.observe import UNREADABLE, Cache, configuration_key, observe
from benchmarks.sources import load_dataset
from benchmarks.testing import PaintedEngine, nobody, paint, save, save_identities, vector_of
from verifier.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Bar:
    """A progress bar that remembers."""

    def __init__(self) -> None:
        self.done = 0
        self.total = 0

    @contextmanager
    def stage(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        """Count what is told."""
        self.total = total

        def step(units: int) -> None:
            self.done += units

        yield step


def everything(root: Path) -> None:
    """Write identities, one of them nobody and one broken, and presentations."""
    save_identities(root, 12)
    save(nobody(), root / "identities/person-0000/nobody.png")
    (root / "identities/person-0000/broken.jpg").write_bytes(b"\xff\xd8 no picture")
    save(paint(3, 7, live=0.8), root / "bonafide/live.png")
    save(paint(3, 7, live=0.2), root / "attack/print/print.png")


def test_observations_come_in_the_order_of_the_pictures(tmp_path: Path) -> None:
    """Each observation is that of its picture, across batches, threads and unreadable files."""
    everything(tmp_path)
    pictures = load_dataset(tmp_path).pictures
    bar = Bar()
    seen = observe(PaintedEngine(), pictures, cache_folder=None, stage=bar.stage, workers=3)
    assert len(seen) == len(pictures)
    assert bar.done == bar.total == len(pictures)
    for picture, one in zip(pictures, seen, strict=True):
        if picture.key.startswith("person") and picture.key[-1].isdigit():
            person, number = int(picture.key[7:11]), int(picture.key[-1])
            assert one.embedding is not None
            assert np.array_equal(one.embedding, vector_of(paint(person, number)))
            assert one.liveness is None
    by_key = {picture.key: one for picture, one in zip(pictures, seen, strict=True)}
    assert by_key["person-0000/nobody"].reasons == ("no_face",)
    assert by_key["person-0000/nobody"].enrolment_reasons == ("no_face",)
    assert by_key["person-0000/broken"].reasons == (UNREADABLE,)
    assert by_key["person-0000/broken"].why
    assert by_key["live"].liveness == pytest.approx(0.8, abs=0.01)
    assert by_key["print/print"].liveness == pytest.approx(0.2, abs=0.01)


def test_a_second_run_asks_the_engine_nothing(tmp_path: Path) -> None:
    """What the cache knows is not measured again, and is the same to the last bit."""
    everything(tmp_path / "data")
    pictures = load_dataset(tmp_path / "data").pictures
    first, second = PaintedEngine(), PaintedEngine()
    bar = Bar()
    before = observe(first, pictures, cache_folder=tmp_path / "cache", stage=bar.stage)
    after = observe(second, pictures, cache_folder=tmp_path / "cache", stage=bar.stage)
    assert first.assessed == 27
    assert second.assessed == 0
    for one, other in zip(before, after, strict=True):
        assert (one.digest, one.reasons, one.liveness) == (
            other.digest,
            other.reasons,
            other.liveness,
        )
        assert np.array_equal(one.embedding, other.embedding)  # type: ignore[arg-type]


@pytest.mark.parametrize("what", ["provider", "version"])
def test_vectors_of_another_provider_or_version_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A run in bfloat16, or on a newer onnxruntime, after one in float32 measures everything."""
    save_identities(tmp_path / "data", 2)
    pictures = load_dataset(tmp_path / "data").pictures
    first, again = PaintedEngine(), PaintedEngine()
    other = PaintedEngine(provider="canvas" if what == "provider" else "paper")
    folder = tmp_path / "cache"
    observe(first, pictures, cache_folder=folder, stage=Bar().stage)
    observe(again, pictures, cache_folder=folder, stage=Bar().stage)
    if what == "version":
        monkeypatch.setattr(module, "engine_versions", lambda: {"onnxruntime": "0.0"})
    observe(other, pictures, cache_folder=folder, stage=Bar().stage)
    assert [engine.assessed for engine in (first, again, other)] == [4, 0, 4]


def test_another_network_another_limit_or_other_code_measures_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are valid for exactly one configuration."""
    engine = PaintedEngine()
    quality = engine.profile.quality
    stricter = quality.model_copy(
        update={"probe": quality.probe.model_copy(update={"min_sharpness": 99.0})}
    )
    keys = {
        configuration_key(engine),
        configuration_key(PaintedEngine(digest="1")),
        configuration_key(PaintedEngine(engine.profile.model_copy(update={"quality": stricter}))),
    }
    monkeypatch.setattr(module, "code_version", lambda: "another")
    keys.add(configuration_key(engine))
    assert len(keys) == 4


def test_the_same_file_twice_goes_through_once(tmp_path: Path) -> None:
    """Copies are recognised by their digest before anything is decoded."""
    save_identities(tmp_path, 2)
    save(paint(0, 0), tmp_path / "identities/person-0000/copy.png")
    engine = PaintedEngine()
    pictures = load_dataset(tmp_path).pictures
    seen = observe(engine, pictures, cache_folder=None, stage=Bar().stage)
    assert engine.assessed == 4
    assert seen[0].digest == seen[2].digest


def test_liveness_is_not_taken_from_an_identity_row(tmp_path: Path) -> None:
    """The same file as identity and as attack is asked about liveness all the same."""
    save_identities(tmp_path / "data", 2)
    save(paint(0, 0, live=1.0), tmp_path / "data/attack/print/a.png")
    save(paint(5, 0, live=1.0), tmp_path / "data/bonafide/b.png")
    pictures = load_dataset(tmp_path / "data").pictures
    for _ in range(2):
        seen = observe(
            PaintedEngine(), pictures, cache_folder=tmp_path / "cache", stage=Bar().stage
        )
        by_role = {picture.role: one for picture, one in zip(pictures, seen, strict=True)}
        assert [one.liveness is None for one in by_role.values()] == [True, False, False]


def test_the_cache_is_its_owners_only(tmp_path: Path) -> None:
    """Vectors of faces are biometric data: nobody else may read them."""
    save_identities(tmp_path / "data", 2)
    pictures = load_dataset(tmp_path / "data").pictures
    observe(PaintedEngine(), pictures, cache_folder=tmp_path / "cache", stage=Bar().stage)
    folder = tmp_path / "cache"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (file,) = folder.glob("*.sqlite3")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"person" not in file.read_bytes()


def test_old_caches_do_not_pile_up(tmp_path: Path) -> None:
    """Of many configurations only the latest few stay on disk."""
    for number in range(module.KEPT_CACHES + 3):
        Cache(tmp_path, f"key{number}").close()
    assert len(list(tmp_path.glob("*.sqlite3"))) == module.KEPT_CACHES
    assert (tmp_path / f"key{module.KEPT_CACHES + 2}.sqlite3").exists()


def test_a_broken_cache_says_what_to_do(tmp_path: Path) -> None:
    """A file that is no database is refused with the remedy, not passed over."""
    (tmp_path / "key.sqlite3").write_bytes(b"no database at all" * 100)
    with pytest.raises(ConfigurationError, match="cannot be used") as refused:
        Cache(tmp_path, "key")
    assert "--no-cache" in refused.value.remedy


def test_an_engine_that_fails_is_not_hidden(tmp_path: Path) -> None:
    """Only a picture that cannot be decoded is an observation; all else is raised."""
    save_identities(tmp_path, 2)

    class Broken(PaintedEngine):
        def enrol(self, frame: object) -> object:  # type: ignore[override]
            raise RuntimeError("out of order")

    pictures = load_dataset(tmp_path).pictures
    with pytest.raises(RuntimeError, match="out of order"):
        observe(Broken(), pictures, cache_folder=None, stage=Bar().stage)  # type: ignore[arg-type]
