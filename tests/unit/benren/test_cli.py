"""The root of the command line: names, versions, usage, errors, and how little it imports."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from benren import __version__, cli
from verifier.errors import ImageTooLarge


def test_help_names_every_command() -> None:
    """`benren --help` lists all commands with their line."""
    result = CliRunner().invoke(cli.app, ["--help"])
    assert result.exit_code == 0
    for name in cli.COMMANDS:
        assert name in result.stdout


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_exists_and_documents_itself(name: str) -> None:
    """Each name has a module with an `app`, and its help works."""
    module = importlib.import_module(f"benren.commands.{name}")
    assert isinstance(module.app, typer.Typer)
    result = CliRunner().invoke(cli.app, [name, "--help"])
    assert result.exit_code == 0
    assert "--help" in result.stdout


def test_version_is_that_of_the_distribution() -> None:
    """`benren --version` prints name and version."""
    result = CliRunner().invoke(cli.app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"benren {__version__}\n")


@pytest.mark.parametrize("arguments", [["nonsense"], ["compare"], ["--nonsense"], ["keys", "new"]])
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    """Unknown commands, missing arguments and unknown options are wrong usage."""
    assert CliRunner().invoke(cli.app, arguments).exit_code == 2


def test_help_imports_nothing_heavy() -> None:
    """Help and version need neither arrays nor networks nor a web framework."""
    code = (
        "import sys; from benren.cli import app; app(['--help'], standalone_mode=False); "
        "heavy = {'numpy', 'cv2', 'onnxruntime', 'fastapi', 'sqlalchemy', 'httpx', 'pydantic'}; "
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the app raise a known error."""

    def fail() -> None:
        raise ImageTooLarge("Too many pixels.", remedy="Scale it down.")

    monkeypatch.setattr(cli, "app", fail)


@pytest.mark.usefixtures("failing")
def test_known_error_becomes_a_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A known error is one message with its remedy on stderr, and exit code 1."""
    monkeypatch.setattr(sys, "argv", ["benren", "compare"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert said.out == ""
    assert said.err == "benren: Too many pixels.\n  Scale it down.\n"


@pytest.mark.usefixtures("failing")
def test_known_error_becomes_a_problem_with_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --json the same error is one JSON problem on stderr, and stdout stays empty."""
    monkeypatch.setattr(sys, "argv", ["benren", "compare", "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert said.out == ""
    problem = json.loads(said.err)
    assert problem["code"] == "image_too_large"
    assert problem["detail"] == "Too many pixels."
    assert problem["remedy"] == "Scale it down."
    assert problem["type"] == "urn:benren:problem:image_too_large"
