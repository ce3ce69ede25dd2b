"""Charts of the tuning report as plain SVG numbers: DET curves and score distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.metrics import GRID, STEPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.metrics import Curve

WIDTH: Final = 520
HEIGHT: Final = 340
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 14, 44
"""Margins around the plot, in SVG units."""
FMR_TICKS: Final = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 0.4)
FNMR_TICKS: Final = (1e-3, 5e-3, 2e-2, 5e-2, 0.1, 0.2, 0.4, 0.6)
HISTOGRAM_STEP: Final = 20
"""Grid points of one bar: 0.02."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A curve or the outline of an area."""

    path: str
    """SVG path data."""
    css: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A point of interest: in a DET chart a dot, in a histogram a vertical line."""

    x: float
    y: float
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Everything that the template draws."""

    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


Det = Sequence[tuple[float, float, float]]
"""Threshold, FMR, FNMR."""


def det_chart(curves: Mapping[str, Det], marks: Sequence[tuple[float, float, str]]) -> Chart:
    """Draw DET curves on normal deviate axes: normal scores make straight lines there.

    Martin et al., Eurospeech 1997. `curves`: css class -> points; `marks`: FMR, FNMR and
    title of operating points.
    """
    x, y = _Deviate(FMR_TICKS, LEFT, WIDTH - RIGHT), _Deviate(FNMR_TICKS, HEIGHT - BOTTOM, TOP)
    lines = [
        Line(
            path=_path(
                [(x.at(fmr), y.at(fnmr)) for _, fmr, fnmr in points if fmr > 0 and fnmr > 0]
            ),
            css=css,
            title=css,
        )
        for css, points in curves.items()
    ]
    return Chart(
        x_ticks=tuple(Tick(at=x.at(one), label=_share(one)) for one in FMR_TICKS),
        y_ticks=tuple(Tick(at=y.at(one), label=_share(one)) for one in FNMR_TICKS),
        x_label="false match rate",
        y_label="false non-match rate",
        lines=tuple(lines),
        marks=tuple(Mark(x=x.at(fmr), y=y.at(fnmr), title=title) for fmr, fnmr, title in marks),
    )


def histogram_chart(
    curves: Mapping[str, Curve], marks: Sequence[tuple[float, str]], *, low: float, x_label: str
) -> Chart:
    """Draw score distributions as steps, each of area 1 of its own; `low` is the left end."""
    start = round((low + 1) * STEPS)
    bars = {css: _bars(one, start) for css, one in curves.items() if one.count}
    top = max((float(values.max()) for values in bars.values()), default=1.0) or 1.0
    right, base = WIDTH - RIGHT, HEIGHT - BOTTOM

    def place_x(value: float) -> float:
        return LEFT + (value - low) / (1 - low) * (right - LEFT)

    lines = []
    for css, values in bars.items():
        points = [(place_x(low), float(base))]
        for number, value in enumerate(values):
            y = base - float(value) / top * (base - TOP)
            left = low + number * HISTOGRAM_STEP / STEPS
            right_edge = min(left + HISTOGRAM_STEP / STEPS, 1.0)
            points += [(place_x(left), y), (place_x(right_edge), y)]
        points.append((place_x(1.0), float(base)))
        lines.append(Line(path=_path(points) + "Z", css=css, title=css))
    span = 0.2 if low < 0 else 0.1
    ticks = np.arange(low, 1.0001, span)
    return Chart(
        x_ticks=tuple(
            Tick(at=place_x(float(v)), label=f"{v + 0.0:.1f}") for v in np.round(ticks, 3)
        ),
        y_ticks=(),
        x_label=x_label,
        y_label="share of scores",
        lines=tuple(lines),
        marks=tuple(Mark(x=place_x(value), y=TOP, title=title) for value, title in marks),
    )


def _bars(one: Curve, start: int) -> NDArray[np.float64]:
    """Add up shares from grid index `start` on, 0.02 at a time; what lies below joins the first."""
    weights = one.weights[start:].copy()
    weights[0] += one.weights[:start].sum()
    count = -(-(len(GRID) - 1 - start) // HISTOGRAM_STEP)
    last = weights[count * HISTOGRAM_STEP :].sum()
    bars = weights[: count * HISTOGRAM_STEP].reshape(count, HISTOGRAM_STEP).sum(axis=1)
    bars[-1] += last
    return np.asarray(bars, dtype=np.float64)


class _Deviate:
    """A normal deviate axis from the first tick to the last; what lies beyond stays at the end."""

    def __init__(self, ticks: Sequence[float], first: float, last: float) -> None:
        self._normal = NormalDist()
        self._low, self._high = ticks[0], ticks[-1]
        self._from, self._to = self._normal.inv_cdf(ticks[0]), self._normal.inv_cdf(ticks[-1])
        self._first, self._last = first, last

    def at(self, share: float) -> float:
        z = self._normal.inv_cdf(min(max(share, self._low), self._high))
        part = (z - self._from) / (self._to - self._from)
        return round(self._first + part * (self._last - self._first), 2)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in points) if points else ""


def _share(value: float) -> str:
    return f"{value * 100:g} %" if value >= 1e-3 else f"{value:.0e}".replace("e-0", "e-")
