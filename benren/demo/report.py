"""The demo's report: one HTML file with everything inside, for people who were not there."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from benren.demo.album import Album
from benren.demo.cast import LESSON_S, Sitter
from benren.demo.outcome import PASS, Finding, Outcome, lesson_axis
from benren.words import CHECK_CAUSES, OUTCOMES, VOID_REASONS

WIDTH, LEFT, RIGHT = 1000, 108, 16
"""Of a timeline, in SVG units: the whole, the labels' column, the right margin."""

SITTERS: Mapping[Sitter, str] = {
    Sitter.LEARNER: "the learner",
    Sitter.OTHER: "somebody else",
    Sitter.BOTH: "the learner and somebody else",
    Sitter.PRINT: "a printed photograph of the learner",
    Sitter.SCREEN: "a photograph of the learner on a screen",
    Sitter.NOBODY: "nobody",
    Sitter.COVERED: "a hand on the lens",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One thing that was tried out in front of the reader."""

    title: str
    command: str
    output: str
    expected: str
    """What had to happen, in words."""
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """Everything that the report tells."""

    outcomes: Sequence[Outcome]
    findings: Sequence[Finding]
    proofs: Sequence[Proof]
    album: Album
    models: Mapping[str, str]
    profile: str
    policy: str
    version: str
    date: str
    """Of the lessons, by the demo's own clock."""
    wall_s: float

    @property
    def holds(self) -> bool:
        """Whether everything came as the script demands; mechanics alone are not judged."""
        judged = self.album.mechanics_only or all(finding.holds for finding in self.findings)
        return judged and all(proof.holds for proof in self.proofs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A rectangle of a timeline."""

    x: float
    width: float
    css: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A mark of a timeline."""

    x: float
    css: str
    shape: str
    """`dot` for an identity sample, `diamond` for a check."""
    title: str


def write_report(play: Play, path: Path) -> None:
    """Render the report to `path`."""
    environment = Environment(
        loader=PackageLoader("benren.demo", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    environment.filters["clock"] = clock
    page = environment.get_template("report.html.j2").render(
        play=play,
        lessons=[
            {
                "outcome": outcome,
                "finding": finding,
                "truth": _truth(outcome),
                "evidence": _evidence(outcome),
                "credit": _credit(outcome),
            }
            for outcome, finding in zip(play.outcomes, play.findings, strict=True)
        ],
        axis=[(second, _x(second)) for second in lesson_axis()],
        width=WIDTH,
        left=LEFT,
        lesson_s=LESSON_S,
        reasons=VOID_REASONS,
        outcome_words=OUTCOMES,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _x(second: float) -> float:
    """Where a second of the lesson lies on the timeline."""
    share = min(max(second / LESSON_S, 0.0), 1.0)
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 2)


def _bar(start_s: float, end_s: float, css: str, words: str) -> Bar:
    title = f"{clock(start_s)} to {clock(end_s)}: {words}"
    return Bar(x=_x(start_s), width=round(_x(end_s) - _x(start_s), 2), css=css, title=title)


def _truth(outcome: Outcome) -> list[Bar]:
    return [
        _bar(stay.start_s, stay.end_s, f"sit-{stay.sitter}", SITTERS[stay.sitter])
        for stay in outcome.role.stays
    ]


def _credit(outcome: Outcome) -> list[Bar]:
    credited = [_bar(start, end, "credited", "credited") for start, end in outcome.credited]
    void = [
        _bar(span.start_s, span.end_s, "void", VOID_REASONS.get(span.reason, span.reason))
        for span in outcome.void
    ]
    return sorted(credited + void, key=lambda bar: bar.x)


def _evidence(outcome: Outcome) -> list[Dot]:
    dots = []
    for mark in outcome.marks:
        words = OUTCOMES.get(mark.outcome, mark.outcome)
        cause = f" ({CHECK_CAUSES.get(mark.cause, mark.cause)})" if mark.cause else ""
        kind = "identity sample" if mark.kind == "identity" else mark.kind
        dots.append(
            Dot(
                x=_x(mark.at_s),
                css=f"out-{'pass' if mark.outcome == PASS else mark.outcome}",
                shape="dot" if mark.kind == "identity" else "diamond",
                title=f"{clock(mark.at_s)} {kind}{cause}: {words}",
            )
        )
    return dots


def clock(seconds: float) -> str:
    """Write seconds as minutes and seconds: 75 -> 1:15."""
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
