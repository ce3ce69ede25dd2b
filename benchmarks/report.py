"""The benchmark's report: one HTML file with everything inside, drawn from the run's record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from benchmarks.sections import SECTIONS
from benchmarks.targets import values_of
from benchmarks.timing import FEW, Json

CHART_WIDTH, CHART_HEIGHT = 960, 220
CHART_LEFT, CHART_BOTTOM = 64, 28
STAGE_COLOURS: Final = ("blue", "good", "amber", "violet", "bad", "grey")


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A number that is read first."""

    value: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line chart in SVG units."""

    points: str
    """Of a polyline."""
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]


def render(record: Json) -> str:
    """Give the report of a run as HTML that needs nothing from outside."""
    environment = Environment(
        loader=PackageLoader("benchmarks", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["number"] = number
    sections: Mapping[str, Json] = record["sections"]
    memory = sections.get("memory")
    return environment.get_template("bench.html.j2").render(
        run=record,
        detail={name: found["detail"] for name, found in sections.items()},
        values={
            name: value for found in sections.values() for name, value in values_of(found).items()
        },
        titles={name: section.title for name, section in SECTIONS.items()},
        cards=cards(sections),
        memory_curve=curve(memory["detail"]["curve"]) if memory else None,
        chart={"width": CHART_WIDTH, "height": CHART_HEIGHT, "left": CHART_LEFT},
        colours=STAGE_COLOURS,
        FEW=FEW,
    )


def cards(sections: Mapping[str, Json]) -> list[Card]:
    """Pick the numbers that are read first, of the sections that ran."""
    found = []
    values = {name: v for part in sections.values() for name, v in values_of(part).items()}
    if "stages" in sections:
        detail = sections["stages"]["detail"]
        found.append(
            Card(
                value=f"{number(values['check.single.ms'])} ms",
                words=f"a whole check on one core, pack {detail['pack']}",
            )
        )
    if "throughput" in sections:
        best = max(sections["throughput"]["detail"]["grid"], key=lambda row: float(row["per_s"]))
        found.append(
            Card(
                value=f"{number(best['per_s'])} /s",
                words=f"whole checks by {best['workers']} {best['kind']},"
                f" {best['batch']} at a time",
            )
        )
    if "speedup.edgeface_over_insightface" in values:
        found.append(
            Card(
                value=f"{values['speedup.edgeface_over_insightface']:.1f} ×",
                words="as fast as insightface with the same embedder",
            )
        )
    if "speedup.open_over_opencv" in values:
        found.append(
            Card(
                value=f"{values['speedup.open_over_opencv']:.1f} ×",
                words="as fast as OpenCV with the same embedder",
            )
        )
    if "capacity" in sections:
        detail = sections["capacity"]["detail"]
        found.append(
            Card(
                value=f"{detail['learners_credit_model']:.0f}",
                words="learners' pictures judged at full load, inference only",
            )
        )
    return found


def curve(points: Sequence[Sequence[float]]) -> Curve:
    """Scale points (x, y) into the chart; y from a little below the least to the greatest."""
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    x_end = max(xs)
    step = _step(max(ys) - min(ys))
    low = math.floor(min(ys) / step) * step
    high = max(math.ceil(max(ys) / step) * step, low + step)
    ground = CHART_HEIGHT - CHART_BOTTOM

    def x_of(value: float) -> float:
        return round(CHART_LEFT + value / x_end * (CHART_WIDTH - CHART_LEFT - 12), 1)

    def y_of(value: float) -> float:
        return round(ground - (value - low) / (high - low) * (ground - 12), 1)

    levels = [low + step * i for i in range(round((high - low) / step) + 1)]
    return Curve(
        points=" ".join(f"{x_of(x)},{y_of(y)}" for x, y in points),
        x_ticks=[(x_of(x_end * i / 4), f"{x_end * i / 4:,.0f}") for i in range(5)],
        y_ticks=[(y_of(level), f"{level:g}") for level in levels],
    )


def _step(span: float) -> float:
    """Choose 1, 2 or 5 times a power of ten, for about four ticks; for no span at all 10."""
    if span <= 0:
        return 10.0
    rough = span / 4
    power = 10 ** math.floor(math.log10(rough))
    return float(next((m * power for m in (1, 2, 5) if m * power >= rough), 10 * power))


def percent(value: float | None, digits: int = 0) -> str:
    """Write a share as people read it; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}%}"


def number(value: Any) -> str:
    """Write three significant digits, without an exponent; a dash where there is no number."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
