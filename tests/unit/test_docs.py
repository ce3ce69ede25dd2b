"""The documentation names what there is: settings, commands, files, make targets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from benren.cli import COMMANDS
from benren.config import Config

ROOT = Path(__file__).resolve().parents[2]
NO_COMMANDS = {"sign"}
"""`benren sign v1` is the domain of our signatures."""
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


def _settings(model: type[BaseModel], prefix: str = "") -> set[str]:
    names: set[str] = set()
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            names |= _settings(inner, f"{prefix}{name}.")
        else:
            names.add(prefix + name)
    return names


def _table(page: Path, heading: str) -> str:
    text = page.read_text(encoding="utf-8")
    section = text[text.index(heading) :]
    return "\n".join(line for line in section.splitlines() if line.startswith("| `"))


def test_the_operators_guide_names_every_setting_and_no_other() -> None:
    """A setting that nobody can find is none, and one that is gone misleads."""
    first_cells = re.findall(
        r"^\| (.+?) \|", _table(ROOT / "docs/operations.md", "## Configure"), flags=re.MULTILINE
    )
    named = {name for cell in first_cells for name in re.findall(r"`([a-z_.]+)`", cell)}
    assert named == _settings(Config)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """A guide with dead ends is not followed twice."""
    for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} points to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_name_commands_and_targets_that_exist(page: Path) -> None:
    """What is written to be copied has to run."""
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    code = "\n".join(re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL))
    code += "\n".join(re.findall(r"`([^`\n]+)`", text))
    assert set(re.findall(r"(?:^|\s|/)benren ([a-z]+)", code)) <= set(COMMANDS) | NO_COMMANDS
    assert set(re.findall(r"(?:^|\s)make ([a-z][a-z-]*)", code)) <= targets
