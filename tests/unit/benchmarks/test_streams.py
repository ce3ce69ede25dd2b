"""The judgements of the streams' benchmark: what is late, what is missed, what grows."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from benchmarks.stream_load import Orders, Report, looks_of
from benchmarks.streams import (
    MISSES,
    _entries,
    checks_asked,
    grown,
    holds,
    holds_memory,
    told,
)
from verifier.errors import InferenceFailed

FORCE_MS = 90_000


def entry(kind: str, key: str, at_ms: int, reason: str = "", **data: Any) -> dict[str, Any]:
    """An entry of the ledger, of one session."""
    return {
        "subject": "s-1",
        "kind": kind,
        "key": key,
        "at_ms": at_ms,
        "reason": reason,
        "data": data,
    }


def asked(check_id: str, at_ms: int, cause: str = "random") -> dict[str, Any]:
    """A check is asked for."""
    return entry("check_asked", f"asked:{check_id}", at_ms, cause, check_id=check_id)


def decided(check_id: str, heard: int, outcome: str = "pass") -> dict[str, Any]:
    """Its decision is recorded; it judged frames from 20 s before."""
    return entry(
        "check",
        f"check:{check_id}",
        heard,
        outcome=outcome,
        heard=heard,
        t=heard - 100,
        since=heard - 20_000,
    )


def looked_at(t: int, outcome: str = "pass") -> dict[str, Any]:
    """An identity sample."""
    return entry("identity", f"identity:1:{t}", t, outcome=outcome, t=t)


def judged(*entries: dict[str, Any]) -> list[tuple[int | None, int | None, bool]]:
    """What came of the checks asked for between second 100 and second 1 000."""
    found = checks_asked(entries, since_ms=100_000, until_ms=1_000_000, force_after_ms=FORCE_MS)
    return [(one.late_ms, one.after_due_ms, one.is_late) for one in found]


def test_a_check_that_is_never_decided_is_late() -> None:
    """Leaving it out would make the worst service the best."""
    assert judged(asked("a", 200_000)) == [(None, None, True)]


def test_a_check_is_late_after_two_seconds() -> None:
    """From asking to the record of its decision."""
    assert judged(asked("a", 200_000), decided("a", 202_000)) == [(2_000, None, False)]
    assert judged(asked("a", 200_000), decided("a", 202_001)) == [(2_001, None, True)]


def test_a_forced_check_is_late_from_when_it_was_due() -> None:
    """Ninety seconds after the last pass: a service that asks late has no excuse by that."""
    entries = [looked_at(150_000), looked_at(151_000, "no_evidence"), looked_at(80_000)]
    forced = [asked("a", 241_500, "max_gap"), decided("a", 242_100)]
    assert judged(*entries, *forced) == [(2_100, 1_500, True)]
    assert judged(looked_at(151_000), *forced) == [(1_100, 500, False)]


def test_a_check_that_passed_is_a_pass_from_its_oldest_frame_on() -> None:
    """As the rules have it."""
    first = [asked("a", 200_000), decided("a", 200_500)]
    second = [asked("b", 270_600, "max_gap"), decided("b", 270_700)]
    assert judged(*first, *second)[1] == (200, 100, False)


def test_only_what_was_asked_while_it_counted() -> None:
    """Neither the warm-up nor the end, where the service is stopped with checks in hand."""
    assert judged(asked("a", 99_999), asked("b", 1_000_001)) == []


def test_the_ledger_is_read_in_its_order(tmp_path: Path) -> None:
    """Only what the judgement needs."""
    path = tmp_path / "ledger.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE ledger_entries (idx INTEGER, kind TEXT, body BLOB)")
        for idx, one in enumerate([decided("a", 5), asked("a", 1), entry("closed", "closed", 9)]):
            row = (-idx, one["kind"], json.dumps(one).encode())
            connection.execute("INSERT INTO ledger_entries VALUES (?, ?, ?)", row)
    assert [one["kind"] for one in _entries(path)] == ["check_asked", "check"]


METRICS = """# HELP benren_look_seconds From the arrival
# TYPE benren_look_seconds histogram
benren_look_seconds_bucket{le="1.0"} 7.0
benren_look_seconds_bucket{le="2.0"} 8.0
benren_look_seconds_bucket{le="+Inf"} 9.0
benren_look_seconds_count 9.0
benren_look_seconds_sum 12.5
benren_looks_passed_over_total 2.0
"""


def test_the_wait_of_looks_is_read_from_the_metrics() -> None:
    """A service that does not tell is no service without late looks."""
    assert looks_of(METRICS) == {"taken": 9, "within_2_s": 8, "passed_over": 2}
    with pytest.raises(InferenceFailed, match="passed_over"):
        looks_of(METRICS.replace("passed_over", "forgotten"))


def found(**report: Any) -> dict[str, Any]:
    """What a minute came to."""
    orders = Orders(
        host="",
        port=0,
        people=[],
        learners=1,
        warm_up_s=0,
        seconds=60,
        programme="capacity",
        pid=0,
    )
    good = {
        "waits_ms": [10.0, 20.0],
        "frames": [("a", 1), ("a", 2)],
        "elapsed_s": 60.0,
        "looks": {"taken": 9, "within_2_s": 9, "passed_over": 0},
    }
    checks = checks_asked(
        [asked("a", 200_000), decided("a", 200_100), *report.pop("entries", [])],
        since_ms=0,
        until_ms=10**6,
        force_after_ms=FORCE_MS,
    )
    return told(orders, Report(**{**good, **report}), checks, due=set(), memory_mb=[1.0, 2.0])


@pytest.mark.parametrize(
    "report",
    [
        {"waits_ms": [10.0, 2_001.0]},
        {"entries": [asked("b", 300_000)]},
        {"entries": [asked("b", 300_000), decided("b", 302_500)]},
        {"looks": {"taken": 9, "within_2_s": 8, "passed_over": 0}},
        {"looks": {"taken": 9, "within_2_s": 9, "passed_over": 1}},
        {"looks": {"taken": 0, "within_2_s": 0, "passed_over": 0}},
        {"unanswered": 1},
        {"lost": 1},
    ],
)
def test_every_target_can_be_missed(report: dict[str, Any]) -> None:
    """One late frame, check or look, one that never came, or nothing measured at all."""
    assert holds(found())
    assert set(MISSES) <= found().keys()
    assert not holds(found(**report))


def test_memory_that_grows_is_seen_though_it_is_small() -> None:
    """A megabyte an hour from a low level misses; a level that was reached holds."""
    flat = [0.3, 0.5, 0.6, 0.7, 0.7, *[0.7] * 7]
    growing = [0.1 + number / 12 for number in range(12)]
    assert grown(growing)["growth_mb_an_hour"] == pytest.approx(1.0)
    assert holds_memory({"memory_mb_each": flat, **grown(flat)})
    assert not holds_memory({"memory_mb_each": growing, **grown(growing)})
    assert not holds_memory({"memory_mb_each": [3.1] * 12, **grown([3.1] * 12)})
    peak = [3.1, *flat[1:]]
    assert not holds_memory({"memory_mb_each": peak, **grown(peak)})


def test_too_short_a_run_says_nothing_of_growth() -> None:
    """Half an hour is over before there is a line."""
    with pytest.raises(InferenceFailed, match="no line"):
        grown([0.1] * 6)
