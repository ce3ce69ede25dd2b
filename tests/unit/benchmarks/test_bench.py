"""A run: which sections, what is written, what a failure does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bench
from benchmarks.bench import chosen_sections, read_elsewhere, run
from benchmarks.job import Job
from benchmarks.sections import SECTIONS
from verifier.errors import BadRequest, ConfigurationError, InferenceFailed


def _job(**more: Any) -> Job:
    return Job(**({"pack": "open", "faces": Path("faces"), "quick": True} | more))


def _found(name: str) -> dict[str, Any]:
    return {
        "metrics": [],
        "warnings": [f"{name} warns"],
        "detail": {
            "checks": 10,
            "after_mb": 400.0,
            "slope_kb_per_1000": 0.0,
            "slope_error_kb_per_1000": 0.0,
            "before_mb": 1.0,
            "loaded_mb": 2.0,
            "pack": "open",
            "curve": [[1, 1.0], [2, 1.0]],
        },
    }


def test_all_sections_run_on_a_cpu_and_fewer_elsewhere() -> None:
    """Peers and the roof of a core belong to the CPU."""
    assert chosen_sections(_job(against="openvino"), []) == list(SECTIONS)
    assert set(SECTIONS) - set(chosen_sections(_job(), [])) == {"agreement"}
    elsewhere = chosen_sections(_job(provider="cuda"), [])
    assert "peers" not in elsewhere
    assert "roofline" not in elsewhere
    assert "throughput" in elsewhere


def test_agreement_needs_a_second_provider() -> None:
    """Asked for by name without one, it is refused with the remedy."""
    with pytest.raises(BadRequest, match="two providers") as caught:
        chosen_sections(_job(), ["agreement"])
    assert "--against" in caught.value.remedy
    assert chosen_sections(_job(against="openvino"), ["agreement"]) == ["agreement"]


def test_an_unknown_section_is_refused() -> None:
    """The remedy lists those that exist."""
    with pytest.raises(BadRequest, match="speed") as caught:
        chosen_sections(_job(), ["speed"])
    assert "stages" in caught.value.remedy


def test_a_run_writes_both_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record holds machine, versions, sections and warnings; the page exists."""
    monkeypatch.setattr(bench, "run_apart", lambda name, job, watch: _found(name))
    seen: list[tuple[str, float]] = []
    ran = run(
        _job(),
        tmp_path / "new" / "folder",
        sections=["memory"],
        watch=lambda name, done, _: seen.append((name, done)),
        command="benren bench",
    )
    record = json.loads(ran.json_file.read_text(encoding="utf-8"))
    assert set(record["sections"]) == {"memory"}
    assert record["versions"]["numpy"]
    assert record["machine"]["granted_processors"] >= 1
    assert "Memory: memory warns" in record["warnings"]
    assert any("quick" in warning for warning in record["warnings"])
    assert ran.html_file.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert ("memory", 1.0) in seen
    assert not ran.failed


def test_accuracy_that_was_kept_comes_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `benchmarks.kept` printed makes its row; what is something else is refused."""
    monkeypatch.setattr(bench, "run_apart", lambda name, job, watch: _found(name))
    file = tmp_path / "kept.json"
    found: dict[str, Any] = {"pack": "open", "provider": "cpu", "persons": 19, "worse": 0}
    found |= {"needed_persons": 600, "failed_alone": [0, 0]}
    found |= {"fnmr": [0.0258, 0.0301], "difference_pp": -0.43}
    file.write_text(json.dumps(found | {"interval_pp": [-1.04, 0.0]}))
    handed_in = {"kept": read_elsewhere("kept", file)}
    ran = run(_job(), tmp_path, sections=["memory"], watch=lambda *_: None, handed_in=handed_in)
    (row,) = (one for one in ran.record["targets"] if one["what"].startswith("accuracy"))
    assert row["state"] == "met"
    file.write_text(json.dumps(_found("memory")["detail"]))
    assert read_elsewhere("long_memory", file)["after_mb"] == 400.0
    assert "19 persons" in ran.html_file.read_text(encoding="utf-8")
    for wrong in (json.dumps(found), "[]", "no json", None):
        file.unlink(missing_ok=True) if wrong is None else file.write_text(wrong)
        with pytest.raises(BadRequest, match=r"kept\.json"):
            read_elsewhere("kept", file)


def test_a_failed_section_is_named_and_the_others_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One failure costs its own numbers only."""

    def some(name: str, job: Job, watch: object) -> dict[str, Any]:
        if name == "matching":
            raise InferenceFailed("no photographs left")
        return _found(name)

    monkeypatch.setattr(bench, "run_apart", some)
    ran = run(_job(), tmp_path, sections=["memory", "matching"], watch=lambda *_: None)
    assert set(ran.record["sections"]) == {"memory"}
    assert list(ran.failed) == ["matching"]
    assert ran.failed["matching"].startswith("no photographs left")
    assert "no photographs left" in ran.html_file.read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_made_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody measures for ten minutes to learn that the result has no place."""
    monkeypatch.setattr(bench, "run_apart", lambda *_: pytest.fail("it ran"))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        run(_job(), tmp_path / "file" / "folder", watch=lambda *_: None)
