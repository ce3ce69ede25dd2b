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


def arguments_of_tests(path: Path) -> dict[str, list[str]]:
    """Names of the tests of a module, and what they ask for."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        node.name: [arg.arg for arg in node.args.args]
        for node in tree.body
        if isinstance(node, kinds) and node.name.startswith("test_")
    }


TEXT = PAGE.read_text(encoding="utf-8")
LINKED = [*rows_of(TEXT, "# The rules"), *rows_of(TEXT, "## Rules beside the table")]


NUMBERS_ONLY = {"class hour", "targets"}
"""Rows that say nothing but a number; what is done with it stands in other rows."""
WITHOUT_NUMBERS = {
    "idempotency",
    "ledger",
    "export",
    "supervised sessions, the non-face route",
}
"""Rows of which a programme decides nothing."""
ACTS = {"school", "attentive", "studio", "database_url", "tell"}
"""Fixtures by which a test plays something and looks at what comes of it."""
TESTS = arguments_of_tests(ROWS)


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
    assert set(named) <= set(TESTS)


@pytest.mark.parametrize("row", LINKED, ids=lambda row: row[0])
def test_the_code_of_a_row_is_where_its_numbers_are_used(row: list[str]) -> None:
    """At least one of the modules that a row names speaks of a field that it names."""
    _, fields, code, _ = row
    names = {f.rpartition(".")[2] for f in re.findall(r"`([^`]+)`", fields)}
    assert (not names) is (row[0] in WITHOUT_NUMBERS)
    if not names:
        return
    modules = [ROOT / "session_tracker" / module for module in re.findall(r"`([^`]+)`", code)]
    text = "".join(module.read_text(encoding="utf-8") for module in modules)
    derived = {"initial_class_hours": "target_s", "replay_fingerprint_days": "fingerprint"}
    derived |= {"class_hours": "daily_cap_s", "spoof_suspends_after": "by_challenge"}
    assert any(name in text or derived.get(name, name) in text for name in names), names


@pytest.mark.parametrize("row", LINKED, ids=lambda row: row[0])
def test_a_row_is_proven_by_what_happens(row: list[str]) -> None:
    """Not by the policy's numbers alone, but where the row is nothing but a number."""
    if row[0] in NUMBERS_ONLY:
        return
    tests = set(re.findall(r"`(test_row_[^`]+)`", row[3]))
    acting = {name for name, given in TESTS.items() if set(given) & ACTS}
    assert tests & acting, f"of {row[0]} only numbers are tested"


def test_no_test_stands_for_two_rows() -> None:
    """The name of a test says its row, and each row has names of its own."""
    by_slug: dict[str, set[str]] = {}
    for row in LINKED:
        for name in re.findall(r"`test_row_([^`]+)`", row[3]):
            by_slug.setdefault(name.partition("__")[0], set()).add(row[0])
    assert {slug: rows for slug, rows in by_slug.items() if len(rows) > 1} == {}
    assert all("__" in name for name in TESTS if name.startswith("test_row_"))


def test_every_test_of_a_row_is_on_the_page() -> None:
    """None is forgotten."""
    linked = {name for row in LINKED for name in re.findall(r"`(test_row_[^`]+)`", row[3])}
    assert {t for t in TESTS if t.startswith("test_row_")} == linked


@pytest.mark.skipif(not MODEL.is_file(), reason="the credit model lies beside the checkout")
def test_every_row_of_the_credit_model_is_on_the_page() -> None:
    """Word for word, in its order."""
    text = MODEL.read_text(encoding="utf-8")
    table = text[text.index("| rule | default | why |") :].split("\n\n")[0]
    wanted = [line.strip("| ").split(" | ")[0] for line in table.splitlines()[2:]]
    assert [row[0] for row in rows_of(TEXT, "# The rules")] == wanted
