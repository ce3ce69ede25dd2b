"""The page that links the rows of the credit model to policy, code and tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from session_tracker.policy import load_policy

ROOT = Path(__file__).resolve().parents[4]
PAGE = ROOT / "docs" / "credit_rules.md"
ROWS = Path(__file__).with_name("test_credit_model_rows.py")
MODEL = ROOT.parent / "shared" / "design" / "CREDIT_MODEL.md"


def rows_of(text: str, heading: str = "") -> list[list[str]]:
    """Cells of the table rows after a heading, up to the next one."""
    section = text[text.index(heading) + len(heading) :].split("\n## ", maxsplit=1)[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:2] == "| "]
    return [row for row in rows if row[0] != "row" and row[0] != "rule"]


TEXT = PAGE.read_text(encoding="utf-8")
LINKED = [*rows_of(TEXT, "# The rules"), *rows_of(TEXT, "## Rules beside the table")]


def names_of_tests(path: Path) -> set[str]:
    """Names of the tests of a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {n.name for n in tree.body if isinstance(n, kinds) and n.name.startswith("test_")}


@pytest.mark.parametrize("row", LINKED, ids=lambda row: row[0])
def test_every_link_of_a_row_leads_somewhere(row: list[str]) -> None:
    """Fields of the policy, modules, and tests whose names say the row."""
    _, fields, code, tests = row
    policy = load_policy("foshan-2021")
    for section, _, name in (f.partition(".") for f in re.findall(r"`([^`]+)`", fields)):
        assert hasattr(getattr(policy, section), name), f"{section}.{name}"
    modules = re.findall(r"`([^`]+)`", code)
    assert modules
    assert all((ROOT / "session_tracker" / module).is_file() for module in modules)
    named = re.findall(r"`(test_row_[^`]+)`", tests)
    assert named
    assert set(named) <= names_of_tests(ROWS)


def test_every_test_of_a_row_is_on_the_page() -> None:
    """None is forgotten."""
    linked = {name for row in LINKED for name in re.findall(r"`(test_row_[^`]+)`", row[3])}
    assert {t for t in names_of_tests(ROWS) if t.startswith("test_row_")} == linked


@pytest.mark.skipif(not MODEL.is_file(), reason="the credit model lies beside the checkout")
def test_every_row_of_the_credit_model_is_on_the_page() -> None:
    """Word for word, in its order."""
    text = MODEL.read_text(encoding="utf-8")
    table = text[text.index("| rule | default | why |") :].split("\n\n")[0]
    wanted = [line.strip("| ").split(" | ")[0] for line in table.splitlines()[2:]]
    assert [row[0] for row in rows_of(TEXT, "# The rules")] == wanted
