"""The report stands alone, tells the numbers, and names nobody."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from benchmarks.dataset import Partition, partition_of
from benchmarks.metrics import curve
from benchmarks.profile_file import profile_of
from benchmarks.sources import load_dataset
from benchmarks.testing import PaintedEngine, paint, save, save_identities
from benchmarks.tune import Candidate, Options, Tuning, tune
from benchmarks.tune_charts import HEIGHT, LEFT, RIGHT, TOP, WIDTH, det_chart, histogram_chart
from benchmarks.tune_report import as_json, left_out, write_report
from verifier.pipeline.profile import load_profile


@pytest.fixture(scope="module")
def tuning(tmp_path_factory: pytest.TempPathFactory) -> Tuning:
    """Tune two packs on painted people, with attacks on known persons and a broken file."""
    root = tmp_path_factory.mktemp("data")
    save_identities(root, 80, spread=60.0)
    (root / "identities/person-0003/broken.jpg").write_bytes(b"no picture")
    for n in range(6):
        save(paint(n, 9, live=0.9), root / f"bonafide/person-{n:04}/live.png")
        save(paint(n, 8, live=0.8 * n / 5), root / f"attack/print/person-{n:04}/print.png")
    options = Options(
        version="ours",
        base=load_profile("provisional-2026-11"),
        command="benren tune data -o ours.toml",
        made_on="2026-11-24",
        target_fmr=0.05,
        replicates=40,
        note="<script>alert('an operator')</script>",
    )
    packs = [
        Candidate(pack=name, engine=PaintedEngine(embedder=name)) for name in ("first", "second")
    ]
    return tune(load_dataset(root), packs, options)


@pytest.fixture(scope="module")
def page(tuning: Tuning, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write the report and read it."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(tuning, profile_of(tuning), path)
    return path.read_text(encoding="utf-8")


def test_the_report_loads_nothing_from_elsewhere(page: str) -> None:
    """No script, style sheet, font or picture comes from outside the file."""
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", page)
    assert "url(" not in page.replace("url(#", "")
    assert "@import" not in page
    assert "<script" not in page


def test_the_report_names_nobody(page: str, tuning: Tuning) -> None:
    """Neither persons nor files appear, in HTML or JSON, although they are in the problems."""
    numbers = json.dumps(as_json(tuning, profile_of(tuning)))
    assert any("person-0003" in one.place for one in tuning.problems)
    for text in (page, numbers):
        assert "person-0" not in text
        assert ".jpg" not in text
        assert ".png" not in text


def test_the_report_tells_every_number_that_matters(page: str, tuning: Tuning) -> None:
    """Thresholds of both packs, the refusal, standard names, digests and the command are there."""
    for study in tuning.packs:
        assert study.matching is not None
        assert f"{study.matching.threshold:.3f}" in page
        assert study.models["embedder"] in page
    for words in ("cannot be claimed", "APCER", "BPCER", "IAPAR", "FTA", "FTE", "DET", "rule of 3"):
        assert words in page
    assert tuning.dataset_sha256 in page
    assert "benren tune data -o ours.toml" in page
    assert "1 × unreadable" in page


class Balance(HTMLParser):
    """Checks that every element that is opened is closed, in order."""

    VOID = frozenset({"meta", "link", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember an element."""
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Pass over an element that is its own end."""

    def handle_endtag(self, tag: str) -> None:
        """Close the last one."""
        assert self.open.pop() == tag


def test_the_report_is_well_formed(page: str) -> None:
    """Every element is closed, whatever was measured."""
    balance = Balance()
    balance.feed(page)
    assert balance.open == []


def test_json_holds_what_the_page_shows(tuning: Tuning) -> None:
    """The numbers survive JSON, with profile, split, table, curve and rates per attack type."""
    profile = profile_of(tuning)
    numbers = json.loads(json.dumps(as_json(tuning, profile)))
    assert numbers["profile"]["version"] == "ours"
    first = numbers["packs"][0]["matching"]
    assert first["threshold"] == profile.embedders["first"].threshold
    assert first["tuning"]["size"]["persons"] + first["report"]["size"]["persons"] == 80
    assert first["levels"][0]["report"]["fmr_interval"]["high"] > 0
    assert first["report"]["det"][0][1:] == [1.0, 0.0]
    assert numbers["liveness"]["everybody"]["apcer"]["print"]["presentations"] == 6
    # A threshold was located: of attacks on persons of the report side only.
    attacked = [f"person-{n:04}" for n in range(6)]
    report = [one for one in attacked if partition_of(one, 0) is Partition.REPORT]
    assert first["choice"] == "located"
    assert numbers["packs"][0]["iapar"]["print"]["presentations"] == len(report)
    assert 0 < len(report) < 6
    assert numbers["dataset"]["left_out"] == {"unreadable": 1}
    assert (
        sum(count for _, _, count in first["report"]["genuine"])
        == (first["report"]["size"]["genuine"])
    )


def test_left_out_is_counted_by_kind(tuning: Tuning) -> None:
    """Kinds are told, places are not."""
    assert left_out(tuning) == {"unreadable": 1}


def test_det_points_lie_in_the_frame_and_in_order() -> None:
    """More false matches lie further right, more false non-matches further up."""
    chart = det_chart({"report": [(0.1, 0.3, 0.01), (0.5, 1e-9, 0.9)]}, [(1e-3, 0.05, "here")])
    (line,) = chart.lines
    (x0, y0), (x1, y1) = (map(float, p.split()) for p in line.path[1:].split("L"))
    assert LEFT <= x1 < x0 <= WIDTH - RIGHT
    assert TOP <= y1 < y0 <= HEIGHT
    assert x1 == LEFT
    assert chart.marks[0].title == "here"


def test_a_histogram_has_the_area_that_it_should() -> None:
    """Scores beyond the left end join the first bar; the highest bar touches the top."""
    chart = histogram_chart(
        {"genuine": curve(np.array([-0.9, 0.5, 0.5, 1.0]))}, [(0.5, "t")], low=0.0, x_label="x"
    )
    heights = {y for _, y in (map(float, p.split()) for p in chart.lines[0].path[1:-1].split("L"))}
    base = max(heights)
    assert min(heights) == TOP
    assert (base - sorted(heights)[1]) / (base - TOP) == pytest.approx(0.5, abs=0.01)
    assert chart.marks[0].x == pytest.approx((LEFT + WIDTH - RIGHT) / 2)
