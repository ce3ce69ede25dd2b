"""Accuracy kept: which photographs, what is lost, and graphs that are really the original ones."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks import kept
from benchmarks.accuracy import Photograph
from benchmarks.kept import (
    PICTURES,
    Side,
    crops,
    difference_of,
    load_as_prepared,
    opened_graphs,
    require_as_prepared,
)
from verifier.errors import InferenceFailed
from verifier.models.packs import load_pack
from verifier.models.runtime import Runtime
from verifier.models.store import Store


def _zip(folder: Path, persons: dict[str, int]) -> Path:
    with zipfile.ZipFile(folder / "lfw90.zip", "w") as archive:
        for person, count in persons.items():
            for number in range(1, count + 1):
                archive.writestr(f"lfw90/{person}/{person}_{number:04}.jpg", f"{person}{number}")
    return folder


def test_crops_are_a_few_of_each_person(tmp_path: Path) -> None:
    """Who has one picture is an impostor to the others and comes last."""
    folder = _zip(tmp_path, {"Ann_B": 1, "Ben_C": 2, "Cid_D": PICTURES + 5})
    found = list(crops(folder, None))
    assert [one.person for one in found] == ["Ben_C"] * 2 + ["Cid_D"] * PICTURES + ["Ann_B"]
    assert found[0].data == b"Ben_C1"
    assert len({one.name for one in found}) == len(found)


def test_a_sample_of_persons_is_seeded(tmp_path: Path) -> None:
    """The same ones every time, with all their pictures, and as many who have one."""
    persons = {f"P_{n:02}": 2 for n in range(40)} | {f"Q_{n:02}": 1 for n in range(40)}
    folder = _zip(tmp_path, persons)
    first, again = ([one.person for one in crops(folder, 7)] for _ in range(2))
    assert first == again
    assert [one[0] for one in first] == ["P"] * 14 + ["Q"] * 7
    assert set(first[:14]) != {f"P_{n:02}" for n in range(7)}


def _side(names: list[str], lost: tuple[str, ...] = ()) -> Side:
    rows = np.eye(8, dtype=np.float32)
    vectors = {name: rows[number // 2] for number, name in enumerate(names)}
    return Side(vectors={n: v for n, v in vectors.items() if n not in lost}, failed=len(lost))


def test_what_production_loses_counts_as_missed() -> None:
    """A face that only the full look finds is a false non-match of production, not left out."""
    names = [f"{person}{n}" for person in "abcdefgh" for n in range(2)]
    album = [Photograph(name=name, person=name[0], data=b"") for name in names]
    found = difference_of(album, ["lfw10"] * 16, _side(names, ("c1",)), _side(names))
    assert found.fnmr == (pytest.approx(1 / 8), 0.0)
    assert found.difference_pp == pytest.approx(12.5)


@pytest.mark.models
def test_the_full_side_runs_graphs_as_they_were_prepared(
    model_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte by byte those of the files; what production opens is not, and would be refused."""
    monkeypatch.setattr(kept.Store, "default", lambda: model_store)
    assert load_as_prepared("open").models["detector"]
    with opened_graphs() as opened:
        rewritten = load_pack("open", model_store, Runtime("cpu", threads=1))
    assert opened
    with pytest.raises(InferenceFailed, match="not run as they were prepared"):
        require_as_prepared(rewritten, opened)
    with pytest.raises(InferenceFailed, match="not run as they were prepared"):
        require_as_prepared(rewritten, set())


@pytest.mark.models
@pytest.mark.faces
@pytest.mark.slow
def test_one_object_is_printed(
    model_store: Store,
    faces_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Few persons: the JSON holds what the table of targets needs, and progress is told."""
    from benchmarks.bench import read_elsewhere

    monkeypatch.setattr(kept.Store, "default", lambda: model_store)
    monkeypatch.setattr(kept, "REPLICATES", 20)
    monkeypatch.setattr(kept, "lfw10", lambda faces: iter(()))
    assert kept.main(["--faces", str(faces_dir), "--persons", "6"]) == 0
    said = capsys.readouterr()
    file = tmp_path / "kept.json"
    file.write_text(said.out, encoding="utf-8")
    found = read_elsewhere("kept", file)
    assert json.loads(said.out)["provider"] == "cpu"
    assert found["persons"] >= 6
    assert found["photographs"] < 80
    assert "production" in said.err
    assert io.StringIO(said.out).readline() == said.out
