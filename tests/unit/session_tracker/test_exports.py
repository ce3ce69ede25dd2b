"""Exports: what was settled, to be held against the ledger; two clocks in two fields."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from session_tracker import exports as module
from session_tracker.exports import COLUMNS, Period, _csv_line
from session_tracker.ledger import Head
from session_tracker.merkle import inclusion_holds, leaf_hash
from session_tracker.testing import Studio

pytestmark = pytest.mark.both_databases

EVER = Period(since_ms=0, until_ms=2**53 - 1)


class Lessons:
    """Three settled sessions of a learner, and the head over them."""

    def __init__(self, studio: Studio, names: list[str], head: Head, between_ms: int) -> None:
        self.exports = studio.service.exports
        self.service = studio.service
        self.names = names
        self.head = head
        self.between_ms = between_ms
        """After the first settlement, before the second."""


@pytest_asyncio.fixture
async def lessons(studio: Studio) -> Lessons:
    """Three short lessons."""
    names, between = [], 0
    for number in range(3):
        lesson = await studio.open(media=f"lesson-{number}")
        await lesson.watch(60)
        await lesson.close()
        names.append(lesson.id)
        studio.clock.advance(60_000)
        between = between or studio.clock.stamp().utc_ms
    return Lessons(studio, names, await studio.service.head(), between)


async def lines(found: AsyncIterator[str]) -> list[dict[str, Any]]:
    """Every line, parsed."""
    return [json.loads(line) async for line in found]


async def test_hours_as_csv(lessons: Lessons) -> None:
    """A line a session, with credited and wall-clock seconds, policy and ledger head."""
    text = "".join([line async for line in lessons.exports.hours_csv(EVER, lessons.head)])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["session_id"] for row in rows] == lessons.names
    assert tuple(rows[0]) == COLUMNS
    for row in rows:
        assert 0 < int(row["credited_s"]) < int(row["wall_s"])
        assert row["policy"].startswith("demo@")
        assert row["ledger_head_root"] == lessons.head.root.hex()
        entry = await lessons.service.ledger.entry(int(row["settlement_index"]))
        assert entry.subject == row["session_id"]
        assert entry.content["data"]["credited_ms"] // 1_000 == int(row["credited_s"])


async def test_hours_of_a_period(lessons: Lessons, monkeypatch: pytest.MonkeyPatch) -> None:
    """The period is half open, pages join without loss, and the last line counts."""
    monkeypatch.setattr(module, "_PAGE", 1)
    late = Period(since_ms=lessons.between_ms, until_ms=EVER.until_ms)
    found = await lines(lessons.exports.hours_jsonl(late, lessons.head))
    assert found[0]["head"] == lessons.head.as_json()
    assert [line["session_id"] for line in found[1:-1]] == lessons.names[1:]
    assert found[-1] == {"type": "end", "sessions": 2}


async def test_only_what_the_head_covers_is_exported(lessons: Lessons) -> None:
    """An export says nothing that its head does not cover."""
    index = int(
        (await lines(lessons.exports.hours_jsonl(EVER, lessons.head)))[2]["settlement_index"]
    )
    early = Head(size=index, root=b"r" * 32, at_ms=1, signature="k.s")
    found = await lines(lessons.exports.hours_jsonl(EVER, early))
    assert [line["session_id"] for line in found[1:-1]] == lessons.names[:1]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_text_is_no_formula(text: str) -> None:
    """A spreadsheet shows what looks like a formula as text; numbers stay numbers."""
    cells = next(csv.reader(io.StringIO(_csv_line([text, -5, 'say "hi", you']), newline="")))
    assert cells == [f"'{text}", "-5", 'say "hi", you']


async def test_xapi_statements(lessons: Lessons) -> None:
    """One statement a session; repeating the export repeats the ids."""
    found = await lines(lessons.exports.xapi(EVER, lessons.head))
    again = await lines(lessons.exports.xapi(EVER, lessons.head))
    assert [s["id"] for s in found] == [s["id"] for s in again]
    assert len({s["id"] for s in found}) == 3
    result = found[0]["result"]
    credited = result["extensions"]["urn:benren:credited_s"]
    assert result["duration"] == f"PT{credited}S"
    assert credited < result["extensions"]["urn:benren:wall_s"]


async def test_lti_scores(lessons: Lessons) -> None:
    """Credited class hours of the target, never those of the clock on the wall."""
    (score,) = await lines(lessons.exports.scores(lessons.head))
    assert 0 <= score["scoreGiven"] <= score["scoreMaximum"]
    assert 0 < score["urn:benren:credited_s"] < score["urn:benren:wall_s"]
    assert score["gradingProgress"] in ("FullyGraded", "Pending")
    assert score["activityProgress"] in ("Completed", "InProgress")


async def test_a_sample_is_drawn_again_from_its_seed(lessons: Lessons) -> None:
    """The same seed draws the same sessions, another one may not, and all can be drawn."""
    exports, head = lessons.exports, lessons.head
    drawn = {
        seed: [
            line["session_id"]
            for line in (await lines(exports.sample(EVER, head, seed=seed, count=1)))[1:]
        ]
        for seed in map(str, range(12))
    }
    for seed, names in drawn.items():
        again = await lines(exports.sample(EVER, head, seed=seed, count=1))
        assert [line["session_id"] for line in again[1:]] == names
    assert {name for names in drawn.values() for name in names} == set(lessons.names)


async def test_a_sample_brings_evidence_and_proof(lessons: Lessons) -> None:
    """Whoever checks gets the settlement with its proof, and every verdict's entry."""
    found = await lines(lessons.exports.sample(EVER, lessons.head, seed="dice", count=5))
    assert found[0]["of"] == found[0]["drawn"] == 3
    for line in found[1:]:
        assert inclusion_holds(
            index=line["settlement_index"],
            size=lessons.head.size,
            leaf=leaf_hash(line["settlement"].encode()),
            path=[bytes.fromhex(step) for step in line["path"]],
            root=lessons.head.root,
        )
        kinds = {entry["entry"]["kind"] for entry in line["evidence"]}
        assert {"identity", "check"} <= kinds
        assert "frames" in str(line["evidence"])
