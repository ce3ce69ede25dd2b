"""Targets: met, missed, stated, not measured; never met without a number."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.targets import targets


def _section(detail: dict[str, Any], **values: float) -> dict[str, Any]:
    metrics = [{"name": name.replace("__", "."), "value": v} for name, v in values.items()]
    return {"metrics": metrics, "detail": detail, "warnings": []}


def _peers(ratio: float) -> dict[str, Any]:
    return _section(
        {"provider": "cpu"},
        speedup__edgeface_over_insightface=ratio,
        check__edgeface__wall_ms=10.0,
        check__insightface__wall_ms=10.0 * ratio,
    )


def _memory(after_mb: float, slope: float, error: float = 0.5) -> dict[str, Any]:
    return _section(
        {
            "after_mb": after_mb,
            "pack": "open",
            "checks": 2_000,
            "slope_kb_per_1000": slope,
            "slope_error_kb_per_1000": error,
        }
    )


def test_without_a_run_nothing_is_met() -> None:
    """Every row says that it was not measured."""
    rows = targets({})
    assert len(rows) >= 12
    assert {row["state"] for row in rows} == {"not measured", "not run"}
    assert all(row["met"] is None for row in rows)
    elsewhere = [row for row in rows if row["state"] == "not run"]
    assert [row["what"].partition(":")[0] for row in elsewhere[1:]] == ["CUDA"] * 3
    assert "python -m benchmarks.kept" in elsewhere[0]["measured"]


def test_four_times_is_met_from_four_on() -> None:
    """3.99 is missed, and the row says what would be needed."""
    met, missed = (targets({"peers": _peers(ratio)})[0] for ratio in (4.0, 3.99))
    assert met["state"] == "met"
    assert missed["state"] == "missed"
    assert "would be needed" in missed["binds"]


def test_the_provider_of_the_run_is_judged_and_named() -> None:
    """The best of several is chosen by its luck; what others reach is told beside it."""
    section = _section(
        {"provider": "cpu"},
        **{
            "speedup.edgeface_over_insightface": 3.9,
            "speedup.edgeface.auto_over_insightface": 4.1,
            "check.edgeface.wall_ms": 10.0,
            "check.edgeface.auto.wall_ms": 9.8,
            "check.insightface.wall_ms": 40.0,
        },
    )
    row = targets({"peers": section})[0]
    assert row["state"] == "missed"
    assert row["measured"].startswith("3.90 × with cpu (10.0 against 40.0 ms; 4.10 × with auto")


def _half_load(provider: str, most: float) -> dict[str, Any]:
    return _section(
        {
            "provider": provider,
            "workers": 2,
            "max_batch": 8,
            "most_per_s": most,
            "offered_per_s": most / 2,
            "latency_ms": {"p50": 5.0, "p99": 19.0},
        }
    )


def test_a_gpu_is_judged_by_what_serves() -> None:
    """Worker processes, which the service has not, may be as fast as they like."""
    grid = [{"kind": "processes", "workers": 8, "batch": 32, "per_s": 9_999.0}]
    given = {"throughput": _section({"grid": grid}), "half_load": _half_load("cuda", 500.0)}
    speed, wait, equal = (row for row in targets(given) if row["what"].startswith("CUDA"))
    assert (speed["state"], wait["state"], equal["state"]) == ("missed", "met", "not run")
    assert speed["measured"].startswith("500 / s through the batcher")


def _agreement(providers: list[str], unequal: int, greatest: float) -> dict[str, Any]:
    difference = {"words": "landmarks", "unit": "px", "most": 0.25, "greatest": greatest}
    difference["held"] = greatest <= 0.25
    return _section(
        {
            "providers": providers,
            "frames": 80,
            "unequal": unequal,
            "differences": [difference],
            "equal": not unequal and difference["held"],
        }
    )


@pytest.mark.parametrize(
    ("unequal", "greatest", "state"), [(0, 0.1, "met"), (1, 0.1, "missed"), (0, 0.3, "missed")]
)
def test_two_engines_are_equal_or_not(unequal: int, greatest: float, state: str) -> None:
    """By verdicts and by values; a comparison of two CPU engines says nothing of CUDA."""
    for providers in (["cuda", "cpu"], ["cpu", "openvino"]):
        rows = targets({"agreement": _agreement(providers, unequal, greatest)})
        row = next(one for one in rows if "frames judged otherwise" in one["measured"])
        assert row["state"] == state
        assert f"{greatest:.2g} of 0.25 px" in row["measured"]
        left = [one["state"] for one in rows if one["what"].startswith("CUDA: results")]
        assert left == ([] if "cuda" in providers else ["not run"])


def _memory_row(**found: dict[str, Any]) -> dict[str, Any]:
    return next(row for row in targets(found) if "memory" in row["what"])


def test_memory_is_judged_by_what_was_seen() -> None:
    """Its size after so many checks, and a slope that lies wholly on one side of the limit."""
    small, grows, large = (
        _memory_row(memory=found)
        for found in (_memory(500, 23.9), _memory(500, 6_144.0), _memory(601, 0.0))
    )
    assert [row["state"] for row in (small, grows, large)] == ["met", "missed", "missed"]
    assert "after 2000 checks" in small["what"]
    assert "grows by more than 25 kB" in grows["binds"]
    assert large["binds"] == "it is 601 MB"


@pytest.mark.parametrize("slope", [20.0, 26.0])
def test_a_slope_within_its_error_of_the_limit_is_not_established(slope: float) -> None:
    """On whichever side the estimate lies; a worker that is too large has missed all the same."""
    row = _memory_row(memory=_memory(450, slope, 10.0))
    assert (row["state"], row["met"]) == ("not established", None)
    assert "two standard errors" in row["binds"]
    assert _memory_row(memory=_memory(450, slope, 0.2))["state"] == (
        "met" if slope < 25 else "missed"
    )
    assert _memory_row(memory=_memory(650, slope, 10.0))["state"] == "missed"


def test_a_long_run_speaks_for_memory_where_there_is_one() -> None:
    """What one run of 20 000 checks found, not what a short one leaves open."""
    long = _memory(460, 4.0, 1.0)
    long["detail"]["checks"] = 20_000
    row = _memory_row(memory=_memory(450, 20.0, 10.0), long_memory=long)
    assert row["state"] == "met"
    assert "after 20000 checks" in row["what"]


KEPT = {
    "pack": "open",
    "provider": "cpu",
    "persons": 80,
    "worse": 3,
    "needed_persons": 900,
    "failed_alone": [2, 1],
    "fnmr": [0.012, 0.011],
    "difference_pp": 0.1,
    "interval_pp": [-0.2, 0.4],
}


def test_accuracy_kept_is_judged_by_its_interval() -> None:
    """Met or missed where the whole interval lies on one side; else not established."""
    rows = [
        next(row for row in targets({"kept": {"detail": found}}) if "accuracy" in row["what"])
        for found in (
            KEPT,
            KEPT | {"interval_pp": [0.51, 0.9]},
            KEPT | {"interval_pp": [-0.4, 0.6]},
        )
    ]
    assert [row["state"] for row in rows] == ["met", "missed", "not established"]
    assert [row["met"] for row in rows] == [True, False, None]
    assert "+0.10 points (-0.20 to +0.40" in rows[0]["measured"]
    assert "lost 2 against 1" in rows[0]["measured"]
    assert rows[1]["binds"] == "not established"
    assert "900 would be needed" in rows[2]["binds"]


@pytest.mark.parametrize(
    ("processes", "said"),
    [({}, "not established"), ({"batch1": 1.9}, "lock"), ({"batch1": 1.6}, "1.60 × only")],
)
def test_what_binds_two_workers_is_what_was_measured(
    processes: dict[str, float], said: str
) -> None:
    """Only processes that do scale say that the interpreter is what threads lack."""
    values = {f"scaling.processes.{name}": value for name, value in processes.items()}
    section = _section({}, **{"scaling.threads.batch1": 1.7}, **values)
    row = next(row for row in targets({"throughput": section}) if "two workers" in row["what"])
    assert row["state"] == "missed"
    assert said in row["binds"]
    assert ("lock" in row["binds"]) == (said == "lock")


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        ({}, "not established"),
        ({"over_bare_without_generator": 0.9}, "load generator"),
        ({"service_cores": 1.9, "per_s": 80.0}, "23.8 ms for a verification, 20.0 ms for a bare"),
        ({"service_cores": 1.2, "per_s": 80.0}, "was waiting"),
    ],
)
def test_what_binds_the_service_is_what_was_measured(detail: dict[str, Any], said: str) -> None:
    """The generator's share, processor time, or nothing that was measured."""
    given = {"generator_share": 0.05, "latency_ms": {"p50": 100.0, "p99": 500.0}}
    given |= {"over_bare_without_generator": 0.84}
    given |= {"bare": [{"workers": 2, "batch": 8, "per_s": 100.0}]} | detail
    section = _section(given, service__over_bare=0.8, service__p99_over_p50=5.0)
    rows = [row for row in targets({"service": section}) if "32 clients" in row["what"]]
    assert said in rows[0]["binds"]
    assert rows[1]["binds"] == "not established", "nothing measured tells why the tail is long"


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
        roofline__saved_by_small_looks=0.6,
        roofline__saved_by_skipping=0.05,
    )
    rows = [row for row in targets({"roofline": section}) if row["state"] == "stated"]
    assert len(rows) == 2
    assert "60% by small looks, which are not exact, 5% by" in rows[1]["measured"]
