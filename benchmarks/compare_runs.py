"""Two runs side by side: what became slower, and what is only noise.

A metric has changed when it moved by more than the threshold *and* by more than its noise: three
standard errors of the difference of the two values, from the rounds or from the counts. Where that
noise is unknown, for fewer than four rounds, nothing is compared. Runs of different machines, packs
or lengths are held against each other by their ratios and rates only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from benchmarks.timing import Json, noise
from verifier.errors import BadRequest

SCHEMA: Final = 1
MAX_BYTES: Final = 64 * 1024 * 1024
DEFAULT_THRESHOLD: Final = 0.05
SIGMAS: Final = 3.0
MACHINE: Final = ("cpu", "granted_processors", "isa")
"""What makes two machines the same for absolute times."""


class Change(StrEnum):
    """What became of a metric."""

    REGRESSION = "regression"
    IMPROVEMENT = "improvement"
    SAME = "same"
    """Within threshold or noise."""
    NOT_COMPARED = "not compared"
    """Neither direction is better, the noise is unknown, or the runs are too different for absolute
    values."""
    GONE = "gone"
    NEW = "new"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric in both runs."""

    name: str
    about: str
    unit: str
    before: float | None
    after: float | None
    worse_by: float | None
    """Relative to before; positive: worse. None where it cannot be said."""
    noise: float | None
    """Of the difference, relative to before: three standard errors. None where it is unknown."""
    change: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything that two runs say about each other."""

    rows: Sequence[Row]
    differences: Sequence[str]
    """Between the circumstances of the two runs."""
    failed: Mapping[str, str]
    """Sections that failed in the later run, and why: their numbers are missing, not unchanged."""

    @property
    def regressions(self) -> list[Row]:
        """What became worse."""
        return [row for row in self.rows if row.change is Change.REGRESSION]

    def to_json(self) -> Json:
        """Give it as the command prints it."""
        return {
            "differences": list(self.differences),
            "regressions": len(self.regressions),
            "failed": dict(self.failed),
            "rows": [_row_to_json(row) for row in self.rows],
        }


def _row_to_json(row: Row) -> Json:
    endless = row.worse_by is not None and not math.isfinite(row.worse_by)
    return asdict(row) | ({"worse_by": None} if endless else {})  # JSON has no infinity


def read_run(path: Path) -> Json:
    """Read the JSON file of a run. Raises BadRequest where it is none."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadRequest(f"{path} is too large for a run.")
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise BadRequest(
            f"{path} cannot be read: {error}.", remedy="Give the bench.json of a run."
        ) from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise BadRequest(
            f"{path} is no run of this version of the benchmark.",
            remedy=f"Give a bench.json with schema {SCHEMA}.",
        )
    return record


def compare(before: Json, after: Json, *, threshold: float = DEFAULT_THRESHOLD) -> Comparison:
    """Compare two runs; `threshold` is relative. Raises BadRequest for one that is none."""
    if not 0 <= threshold < 10:
        raise BadRequest(f"The threshold is {threshold:g}: give a share, such as 0.05.")
    differences = circumstances(before, after)
    old, new = metrics_of(before), metrics_of(after)
    rows = [
        _row(name, old.get(name), new.get(name), threshold, comparable=not differences)
        for name in dict.fromkeys([*old, *new])
    ]
    return Comparison(rows=rows, differences=differences, failed=after.get("failed", {}))


def metrics_of(record: Json) -> dict[str, Json]:
    """Give all metrics of a run by name."""
    sections: Mapping[str, Json] = record["sections"]
    return {metric["name"]: metric for part in sections.values() for metric in part["metrics"]}


def circumstances(before: Json, after: Json) -> list[str]:
    """Say in what the circumstances of two runs differ, as far as it forbids to compare times."""
    pairs = [(key, before["machine"].get(key), after["machine"].get(key)) for key in MACHINE]
    pairs += [(key, before.get(key), after.get(key)) for key in ("pack", "provider", "quick")]
    return [
        f"{name.replace('_', ' ')}: {_told(one)} before, {_told(other)} after"
        for name, one, other in pairs
        if one != other
    ]


def _told(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _row(
    name: str, before: Json | None, after: Json | None, threshold: float, *, comparable: bool
) -> Row:
    known = after or before or {}
    common = {"name": name, "about": known["about"], "unit": known["unit"]}
    if before is None or after is None:
        return Row(
            **common,
            before=before["value"] if before else None,
            after=after["value"] if after else None,
            worse_by=None,
            noise=None,
            change=Change.GONE if before else Change.NEW,
        )
    worse_by = _worse_by(before["value"], after["value"], known["better"])
    relative_noise = _noise(before, after)
    if worse_by is None or relative_noise is None or not (comparable or known["relative"]):
        change = Change.NOT_COMPARED
    elif abs(worse_by) <= max(threshold, relative_noise):
        change = Change.SAME
    else:
        change = Change.REGRESSION if worse_by > 0 else Change.IMPROVEMENT
    return Row(
        **common,
        before=before["value"],
        after=after["value"],
        worse_by=worse_by,
        noise=relative_noise,
        change=change,
    )


def _noise(before: Json, after: Json) -> float | None:
    """Give the noise of the difference, relative to the earlier value; None where it is unknown."""
    errors = [_error(metric) for metric in (before, after)]
    if None in errors:
        return None
    spread = SIGMAS * math.hypot(*(error for error in errors if error is not None))
    if before["value"]:
        return float(spread / abs(before["value"]))
    # Of nothing any change is a large one: beyond its error it counts, within it does not.
    return math.inf if abs(after["value"]) <= spread else 0.0


def _error(metric: Json) -> float | None:
    """Give the standard error of a metric's value: none of a count, None where nobody knows."""
    if metric.get("exact", False):
        return 0.0
    of_rounds, stated = noise(metric["rounds"]), float(metric["error"])
    if of_rounds is None:
        return stated or None
    return max(stated, of_rounds)


def _worse_by(before: float, after: float, better: str) -> float | None:
    """Give how much worse the later value is, relative to the earlier one."""
    if better == "neither":
        return None
    if before == after:
        return 0.0
    if before == 0:
        # An error rate of 0 that is 0 no more: worse (or better) by any measure.
        return float("inf") if (after > 0) == (better == "lower") else float("-inf")
    change = (after - before) / abs(before)
    return change if better == "lower" else -change
