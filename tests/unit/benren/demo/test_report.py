"""The demo's report: one file, nothing from elsewhere, everything escaped."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path
from types import MappingProxyType

import pytest

from benren.demo.album import Album
from benren.demo.cast import CAST
from benren.demo.outcome import Mark, Outcome, Thumbnail, VoidSpan, judge
from benren.demo.report import Play, Proof, clock, write_report


@pytest.fixture
def play() -> Play:
    """A whole run, with a learner's id that tries to be markup."""
    outcomes = [
        Outcome(
            role=role,
            learner_id="<script>alert(1)</script>",
            sessions=("s",),
            watched_s=570,
            credited=((10.0, 200.0),),
            void=(VoidSpan(start_s=200, end_s=570, reason="mismatch"),),
            marks=(
                Mark(at_s=10, kind="check", outcome="pass", cause="start"),
                Mark(at_s=200, kind="identity", outcome="mismatch"),
            ),
            state="closed",
            thumbnails=(Thumbnail(at_s=0, jpeg=b"\xff\xd8\xff"),),
        )
        for role in CAST
    ]
    return Play(
        outcomes=outcomes,
        findings=[judge(outcome) for outcome in outcomes],
        proofs=[
            Proof(
                title="A byte was changed",
                command="benren ledger verify <b>",
                output="altered",
                expected="It is found.",
                holds=True,
            )
        ],
        album=Album(
            people=MappingProxyType({}), recording=None, source="test", mechanics_only=False
        ),
        models={"embedder": "x@00"},
        profile="p@1",
        policy="demo@1",
        version="0",
        date="2026-11-24",
        wall_s=61.2,
    )


class _References(HTMLParser):
    """Collects whatever a browser would fetch, and whether tags are balanced."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [v or "" for k, v in attrs if k in ("src", "href", "action", "srcset")]
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [v or "" for k, v in attrs if k in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_report_stands_alone(play: Play, tmp_path: Path) -> None:
    """Nothing is fetched: only data URIs and links within the page; the markup is balanced."""
    path = tmp_path / "deep" / "report.html"
    write_report(play, path)
    page = path.read_text(encoding="utf-8")
    parser = _References()
    parser.feed(page)
    assert parser.open == []
    assert parser.references
    assert all(ref.startswith(("data:", "#")) for ref in parser.references)
    assert not re.search(r"https?://|@import|url\((?!#)", page)
    assert "<script" not in page


def test_report_tells_every_lesson_and_proof(play: Play, tmp_path: Path) -> None:
    """Each lesson's title, its reasons in plain words, and what was tried with the ledger."""
    path = tmp_path / "report.html"
    write_report(play, path)
    page = path.read_text(encoding="utf-8")
    for role in CAST:
        assert f'id="{role.key}"' in page
    assert "another person: 370 s" in page
    assert "3:20 identity sample: another person" in page
    assert "benren ledger verify &lt;b&gt;" in page
    assert "something did not come as the script demands" in page


def test_report_says_when_it_shows_mechanics_only(play: Play, tmp_path: Path) -> None:
    """With sample pictures the report does not pretend to have judged anything."""
    path = tmp_path / "report.html"
    album = dataclasses.replace(play.album, mechanics_only=True)
    write_report(dataclasses.replace(play, album=album), path)
    page = path.read_text(encoding="utf-8")
    assert "mechanics only" in page
    assert "says nothing of how well it recognises" in page


def test_clock_writes_minutes_and_seconds() -> None:
    """75 s are 1:15."""
    assert [clock(s) for s in (0, 59.6, 75)] == ["0:00", "1:00", "1:15"]
