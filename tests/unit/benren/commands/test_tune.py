"""`benren tune`: the command that stands in a profile."""

from __future__ import annotations

import inspect
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benren.cli import app
from benren.commands import tune as module
from benren.commands.tune import command_of
from verifier.errors import BadRequest

UNSAID = {"force", "json", "cache", "no-cache"}
"""Options that change nothing of what is found."""


class Asked(Exception):
    """What the command was told to do; it ends it before the long work."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options


def _recorded(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    """Give the words of the recorded command."""

    def options(**given: Any) -> None:
        raise Asked(given)

    monkeypatch.setattr(module, "_options", options)
    result = CliRunner().invoke(app, ["tune", *words])
    assert isinstance(result.exception, Asked), result.output
    return shlex.split(result.exception.options["command"])


def test_every_option_that_was_given_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of files stand for their paths; the note is there word by word."""
    given = {
        "--pack": "edgeface",
        "--root": str(tmp_path / "pictures"),
        "--target-fmr": "0.001",
        "--target-bpcer": "0.1",
        "--target-apcer": "0.2",
        "--base": "provisional-2026-11",
        "--report": str(tmp_path / "a.html"),
        "--evidence": str(tmp_path / "a.json"),
        "--suspects": str(tmp_path / "a.csv"),
        "--note": "two words; 3 / 4",
        "--seed": "7",
        "--provider": "openvino",
    }
    words = [str(tmp_path / "data"), "-o", str(tmp_path / "a.toml"), "--no-cache", "--force"]
    said = _recorded(monkeypatch, *words, *(word for pair in given.items() for word in pair))
    assert said[:5] == ["benren", "tune", "data", "-o", "a.toml"]
    for option, value in given.items():
        expected = value if option == "--note" else value.rpartition("/")[2]
        assert said[said.index(option) + 1] == expected
    known = {name.replace("_", "-") for name in inspect.signature(module.tune).parameters}
    asked = {one.removeprefix("--") for one in given}
    assert known - {"dataset", "output"} - UNSAID == asked


def test_the_profile_to_start_from_is_named_even_where_it_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another day the default is another one."""
    from verifier.pipeline.profile import DEFAULT_PROFILE

    said = _recorded(monkeypatch, str(tmp_path / "data"), "-o", str(tmp_path / "a.toml"))
    assert said[said.index("--base") + 1] == DEFAULT_PROFILE
    assert said[said.index("--seed") + 1] == "0"
    assert "--note" not in said


def test_a_pack_that_is_a_folder_keeps_its_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the path that leads there."""
    words = [str(tmp_path / "data"), "-o", str(tmp_path / "a.toml")]
    said = _recorded(monkeypatch, *words, "--pack", "insightface:/some/where/buffalo")
    assert said[said.index("--pack") + 1] == "insightface:buffalo"


def test_a_command_that_no_profile_can_hold_is_refused_before_the_work() -> None:
    """The limit is that of the profile."""
    with pytest.raises(BadRequest, match="2000"):
        command_of(Path("data"), Path("a.toml"), {"--note": "x" * 2_000})
