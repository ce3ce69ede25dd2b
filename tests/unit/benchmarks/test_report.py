"""The report: whole records and parts of them become pages that need nothing from outside."""

from __future__ import annotations

import re
from typing import Any

import pytest

from benchmarks.accuracy import Counts
from benchmarks.report import curve, number, percent, render

LATENCY = {"p50": 20.0, "p95": 30.0, "p99": 40.0, "n": 100}


def _metric(name: str, value: float) -> dict[str, Any]:
    return {
        "name": name,
        "value": value,
        "unit": "ms",
        "better": "lower",
        "about": "words",
        "rounds": [],
        "error": 0.0,
        "relative": False,
    }


def _section(detail: dict[str, Any], **values: float) -> dict[str, Any]:
    return {
        "metrics": [_metric(name.replace("__", "."), value) for name, value in values.items()],
        "detail": detail,
        "warnings": [],
    }


def _sections() -> dict[str, Any]:
    cell = {"kind": "threads", "batch": 8, "per_s": 90.0, "latency_ms": LATENCY}
    return {
        "peers": _section(
            {
                "systems": [
                    {
                        "name": "edgeface",
                        "words": "benren, pack edgeface",
                        "wall_ms": 11.0,
                        "cpu_ms": 11.0,
                        "fastest_ms": 10.0,
                        "slowest_ms": 12.0,
                        "rounds": 3,
                    }
                ],
                "missing": {"insightface": "insightface is <not> installed"},
                "frames": ["a.jpg"],
                "jpeg_bytes": 41_000,
                "no_face": {"edgeface": []},
                "near": {"edgeface": 16, "frames": 16},
                "agreement": [
                    {
                        "ours": "edgeface",
                        "peer": "insightface",
                        "cosine_median": 0.98,
                        "cosine_least": 0.9,
                        "liveness_apart_median": 0.03,
                    }
                ],
            },
            speedup__edgeface_over_insightface=4.2,
        ),
        "stages": _section(
            {
                "pack": "open",
                "models": {"detector": "yunet@" + "ab" * 32},
                "profile": "p-1",
                "stages": [
                    {"stage": "detect", "words": "detect", "ms": 6.0, "share": 0.6},
                    {"stage": "rest", "words": "between", "ms": 4.0, "share": 0.4},
                ],
                "whole_ms": LATENCY,
                "cpu_share": 1.0,
            },
            check__single__ms=20.0,
        ),
        "throughput": _section(
            {
                "pack": "open",
                "grid": [cell | {"workers": 1}, cell | {"workers": 2}],
                "seconds_per_cell": 7.5,
                "outside_networks_ms": 4.0,
                "processors": 2,
            },
            scaling__threads__batch1=1.9,
        ),
        "providers": _section(
            {
                "rows": [cell | {"workers": 1, "provider": "cpu"}],
                "missing": {"cuda": "no such provider"},
            }
        ),
        "service": _section(
            {
                "pack": "open",
                "clients": 32,
                "request_bytes": 55_000,
                "bare": [{"workers": 2, "batch": 8, "per_s": 100.0}],
                "best_bare": "threads2.batch8",
                "per_s": 90.0,
                "latency_ms": LATENCY,
                "generator_share": 0.02,
                "service_cores": None,
                "over_bare_without_generator": 0.92,
            },
            service__over_bare=0.9,
        ),
        "agreement": _section(
            {
                "pack": "open",
                "providers": ["cpu", "openvino"],
                "frames": 80,
                "unequal": 1,
                "liveness_own_boxes": 0.04,
                "differences": [
                    {
                        "words": "landmarks",
                        "unit": "px",
                        "greatest": 0.3,
                        "most": 0.25,
                        "why": "half a pixel",
                        "held": False,
                        "frames": 79,
                    }
                ],
            }
        ),
        "capacity": _section(
            {
                "pack": "open",
                "workers": 2,
                "batch": 8,
                "learners_simple": 1_000.0,
                "learners_credit_model": 1_100.0,
                "kinds": [
                    {
                        "words": "whole check",
                        "per_s": 90.0,
                        "core_ms": 22.0,
                        "per_learner_s": None,
                    }
                ],
            }
        ),
        "matching": _section(
            {
                "pack": "open",
                "threshold": 0.392,
                "profile": "p-1",
                "rows": [
                    Counts("lfw10").to_json()
                    | {"fmr": 0.0, "fmr_upper_95": 0.6, "impostor_persons": 10}
                ],
            }
        ),
        "memory": _section(
            {
                "pack": "open",
                "checks": 2_000,
                "before_mb": 80.0,
                "loaded_mb": 300.0,
                "after_mb": 400.0,
                "peak_mb": 401.0,
                "slope_kb_per_1000": 0.1,
                "slope_error_kb_per_1000": 0.2,
                "curve": [[1, 300.0], [1_000, 399.0], [2_000, 400.0]],
            }
        ),
    }


def _record(**more: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "made": "2026-11-24T05:00:00+00:00",
        "command": "benren bench --quick",
        "quick": True,
        "pack": "open",
        "provider": "cpu",
        "wall_s": 123.0,
        "machine": {
            "cpu": "A <fast> one",
            "family_model_stepping": ["6", "207", "2"],
            "architecture": "x86_64",
            "logical_processors": 4,
            "granted_processors": 2,
            "isa": ["avx2"],
            "memory_mb": 8_000,
            "hypervisor": True,
            "system": "Linux 6",
            "load_before": [0.1, 0.2, 0.3],
            "load_after": [],
        },
        "versions": {"python": "3.11.7"},
        "warnings": ["mind <this>"],
        "failed": {},
        "targets": [
            {
                "what": "a",
                "wanted": "≥ 4 ×",
                "measured": "3.9 ×",
                "met": False,
                "binds": "the networks",
                "state": "missed",
            }
        ],
        "sections": {},
    } | more


def test_a_page_needs_nothing_from_outside() -> None:
    """No address, no script, no picture that would have to be fetched."""
    page = render(_record(sections=_sections()))
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert "http" not in page.replace("HTTP", "")
    assert "<script" not in page
    assert "@import" not in page


def test_everything_that_ran_has_its_part() -> None:
    """Each section's numbers are on the page."""
    page = render(_record(sections=_sections()))
    for part in ("peers", "stages", "throughput", "providers", "service", "memory", "agreement"):
        assert f'id="{part}"' in page
    assert "inference only" in page
    assert "60.00%" in page
    assert "no such provider" in page
    assert "one processor does no more than 250 checks / s, these 2 no more than 500" in page
    assert "<polyline" in page
    assert "missed" in page


@pytest.mark.parametrize("left_out", sorted(_sections()))
def test_a_page_stands_without_any_one_section(left_out: str) -> None:
    """What did not run or failed leaves no hole and no error."""
    sections = {name: found for name, found in _sections().items() if name != left_out}
    page = render(_record(sections=sections, failed={left_out: "it <broke>"}))
    assert f'<h2 id="{left_out}">' not in page
    assert "it &lt;broke&gt;" in page


def test_the_longest_of_few_batches_is_no_99th_percentile() -> None:
    """It is marked as what it is."""
    sections = _sections()
    page = render(_record(sections=sections))
    assert "40.0*" in page
    for part in ("throughput", "providers"):
        rows = sections[part]["detail"].get("grid") or sections[part]["detail"]["rows"]
        for row in rows:
            row["latency_ms"] = LATENCY | {"n": 101}
    assert "40.0*" not in render(_record(sections=sections))


def test_text_is_escaped() -> None:
    """Names of processors and messages are text, not markup."""
    page = render(_record(sections=_sections()))
    assert "A &lt;fast&gt; one" in page
    assert "mind &lt;this&gt;" in page
    assert "is &lt;not&gt; installed" in page


def test_numbers_have_three_digits() -> None:
    """As people read them, and a dash where there is none."""
    assert [number(v) for v in (0.1234, 12.345, 1_234.5, None, float("nan"))] == [
        "0.12",
        "12.3",
        "1,234",
        "–",
        "–",
    ]
    assert percent(0.12345, 1) == "12.3%"
    assert percent(None) == "–"


def test_a_curve_stays_inside_its_chart() -> None:
    """Level curves too, which have no span."""
    for points in ([(1, 300.0), (50, 420.5), (100, 421.0)], [(1, 5.0), (2, 5.0)]):
        drawn = curve(points)
        places = [tuple(map(float, pair.split(","))) for pair in drawn.points.split()]
        assert len(places) == len(points)
        assert all(0 <= x <= 960 and 0 <= y <= 220 for x, y in places)
        assert len(drawn.y_ticks) >= 2
