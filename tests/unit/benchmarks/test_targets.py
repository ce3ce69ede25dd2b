"""Targets: met, missed, stated, not measured; never met without a number."""

from __future__ import annotations

from typing import Any

from benchmarks.targets import targets


def _section(detail: dict[str, Any], **values: float) -> dict[str, Any]:
    metrics = [{"name": name.replace("__", "."), "value": v} for name, v in values.items()]
    return {"metrics": metrics, "detail": detail, "warnings": []}


def _peers(ratio: float) -> dict[str, Any]:
    return _section(
        {},
        speedup__edgeface_over_insightface=ratio,
        check__edgeface__wall_ms=10.0,
        check__insightface__wall_ms=10.0 * ratio,
    )


def _memory(after_mb: float, growth: float) -> dict[str, Any]:
    return _section(
        {
            "after_mb": after_mb,
            "growth_20k_mb": growth,
            "checks": 2_000,
            "slope_kb_per_1000": 1.0,
            "slope_error_kb_per_1000": 0.5,
        }
    )


def test_without_a_run_nothing_is_met() -> None:
    """Every row says that it was not measured."""
    rows = targets({})
    assert len(rows) >= 8
    assert {row["state"] for row in rows} == {"not measured"}
    assert all(row["met"] is None for row in rows)


def test_four_times_is_met_from_four_on() -> None:
    """3.99 is missed, and the row says what would be needed."""
    met, missed = (targets({"peers": _peers(ratio)})[0] for ratio in (4.0, 3.99))
    assert met["state"] == "met"
    assert missed["state"] == "missed"
    assert "would be needed" in missed["binds"]


def test_memory_is_judged_at_20000_checks() -> None:
    """What a short run measured plus what its slope adds until then."""
    small, grows, large = (
        next(row for row in targets({"memory": found}) if "memory" in row["what"])
        for found in (_memory(500, 0.5), _memory(500, 120.0), _memory(601, 0.0))
    )
    assert small["state"] == "met"
    assert grows["state"] == "missed"
    assert "620 MB" in grows["binds"]
    assert large["state"] == "missed"


def test_the_service_is_judged_by_throughput_and_by_its_tail() -> None:
    """Two rows, each for itself."""
    section = _section(
        {"generator_share": 0.03, "latency_ms": {"p50": 100.0, "p99": 500.0}},
        service__over_bare=0.86,
        service__p99_over_p50=5.0,
    )
    rows = [row for row in targets({"service": section}) if "32 clients" in row["what"]]
    assert [row["state"] for row in rows] == ["met", "missed"]


def test_what_is_to_be_stated_is_neither_met_nor_missed() -> None:
    """The share of the peak has no target, only a value."""
    section = _section(
        {"networks": [], "packs": {}},
        roofline__peak_gflops=150.0,
        roofline__networks_share=0.4,
        roofline__check_share=0.2,
        roofline__saved_share=0.6,
    )
    rows = [row for row in targets({"roofline": section}) if row["state"] == "stated"]
    assert len(rows) == 2
