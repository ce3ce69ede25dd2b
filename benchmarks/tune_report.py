"""The tuning report: one HTML file with everything inside, and the same as JSON. No names in it.

Pictures and persons appear as numbers only; what names them (problems, suspects) goes to the
operator's terminal or file, never here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from benchmarks.metrics import GRID, Curve
from benchmarks.profile_file import chosen, rate, said
from benchmarks.tune_charts import Chart, det_chart, histogram_chart

if TYPE_CHECKING:
    from benchmarks.matching import Matching
    from benchmarks.metrics import Interval
    from benchmarks.presentation import LivenessStudy
    from benchmarks.tune import Tuning
    from verifier.pipeline.profile import ThresholdProfile

DIGITS: Final = 6
"""Significant digits of numbers in the JSON."""
BAR: Final = 20
"""Grid points of one bar of a histogram in the JSON: 0.02."""
WHY_LEFT_OUT: Final = ": "
"""Before it stands the kind of a problem, after it what would tell about the file."""


def as_json(tuning: Tuning, profile: ThresholdProfile) -> dict[str, Any]:
    """Give all numbers as plain JSON, without a name of a person or a file."""
    options = tuning.options
    return {
        "profile": profile.model_dump(mode="json", exclude_none=True),
        "dataset": {
            "name": tuning.dataset,
            "sha256": tuning.dataset_sha256,
            "pictures": tuning.pictures,
            "left_out": left_out(tuning),
        },
        "seed": options.seed,
        "replicates": options.replicates,
        "code": tuning.code,
        "packs": [
            {
                "pack": study.pack,
                "embedder": study.embedder,
                "models": dict(study.models),
                "acquisition": _plain(study.acquisition),
                "matching": _plain(study.matching),
                "iapar": _plain(study.iapar),
            }
            for study in tuning.packs
        ],
        "liveness": _plain(tuning.liveness),
    }


def write_report(tuning: Tuning, profile: ThresholdProfile, path: Path) -> None:
    """Write the HTML report."""
    environment = Environment(
        loader=PackageLoader("benchmarks"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {
        "rate": rate,
        "between": between,
        "count": lambda value: f"{value:,}".replace(",", "\u2009"),
    }
    page = environment.get_template("tune.html.j2").render(
        tuning=tuning,
        profile=profile,
        studies=[
            {
                "study": study,
                "matching": study.matching,
                "said": said(study.matching) if study.matching is not None else "",
                "chosen": chosen(study.matching) if study.matching is not None else "",
                "det": _det(study.matching) if study.matching is not None else None,
                "scores": _scores(study.matching) if study.matching is not None else None,
            }
            for study in tuning.packs
        ],
        liveness=tuning.liveness,
        liveness_chart=_liveness_chart(tuning.liveness) if tuning.liveness is not None else None,
        left_out=left_out(tuning),
    )
    path.write_text(page, encoding="utf-8")


def left_out(tuning: Tuning) -> dict[str, int]:
    """Count what was left out by kind, without saying which."""
    counts: dict[str, int] = {}
    for problem in tuning.problems:
        kind, _, detail = problem.why.partition(WHY_LEFT_OUT)
        kind = detail if kind == "left out" else kind
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def between(interval: Interval | None) -> str:
    """Write an interval: `0.12 % to 0.34 %`; nothing where there is none."""
    return "" if interval is None else f"{rate(interval.low)} to {rate(interval.high)}"


def _det(found: Matching) -> Chart:
    marks = [
        (
            level.report.fmr or 0.0,
            level.report.fnmr or 0.0,
            f"{level.report.threshold:.3f}: FMR {rate(level.report.fmr)},"
            f" FNMR {rate(level.report.fnmr)}",
        )
        for level in (*found.levels, found.at)
    ]
    return det_chart({"tuning": found.tuning.det, "report": found.report.det}, marks)


def _scores(found: Matching) -> Chart:
    return histogram_chart(
        {"impostor": found.report.impostor, "genuine": found.report.genuine},
        [(found.threshold, f"threshold {found.threshold:.3f}")],
        low=-0.4,
        x_label="cosine similarity",
    )


def _liveness_chart(found: LivenessStudy) -> Chart:
    attacks = [one for one in found.everybody.attacks.values() if one.count]
    weights = np.sum([one.weights for one in attacks], axis=0) if attacks else np.zeros(len(GRID))
    counts = np.sum([one.counts for one in attacks], axis=0) if attacks else np.zeros(len(GRID))
    every = Curve(weights=weights / max(len(attacks), 1), counts=counts.astype(np.int64))
    return histogram_chart(
        {"impostor": every, "genuine": found.everybody.bona_fide},
        [
            (found.live_from, f"live from {found.live_from:.3f}"),
            (found.spoof_below, f"spoof below {found.spoof_below:.3f}"),
        ],
        low=0.0,
        x_label="liveness score",
    )


def _plain(value: Any) -> Any:
    """Turn results into JSON values: curves into bars, numbers to six digits."""
    if is_dataclass(value) and not isinstance(value, type | Curve):
        value = {one.name: getattr(value, one.name) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, Curve):
        return _histogram(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    return value.value if isinstance(value, Enum) else value


def _histogram(one: Curve) -> list[tuple[float, float, int]]:
    """List the lower end, share of the weight and count of every bar of 0.02 that is not empty."""
    bars = []
    for start in range(0, len(GRID), BAR):
        count = int(one.counts[start : start + BAR].sum())
        if count:
            share = float(one.weights[start : start + BAR].sum())
            bars.append((float(GRID[start]), float(f"{share:.{DIGITS}g}"), count))
    return bars
