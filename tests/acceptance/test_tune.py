"""`benren tune` as an operator calls it: files, refusals, and real faces measured."""

from __future__ import annotations

import csv
import json
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.testing import PaintedEngine, nobody, paint, save, save_identities
from benchmarks.tune import Candidate
from benren import cli
from benren.commands import tune as command
from verifier.models.store import Store
from verifier.pipeline.profile import ThresholdProfile, load_profile


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Painted people, one with a single picture, one with a broken one, and attacks on them."""
    root = tmp_path / "data"
    save_identities(root, 90, spread=60.0)
    save(paint(500), root / "identities/single/0.png")
    save(nobody(), root / "identities/person-0001/nobody.png")
    (root / "identities/person-0002/broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    for n in range(8):
        save(paint(n, 9, live=0.95), root / f"bonafide/person-{n:04}/a.png")
        save(paint(n, 8, live=0.05), root / f"attack/print/person-{n:04}/a.png")
    return root


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the engine that reads painted pictures in the place of the real packs."""

    def candidates(packs: Sequence[str], base: ThresholdProfile, provider: str) -> list[Candidate]:
        return [
            Candidate(
                pack=one, engine=PaintedEngine(base, embedder=f"{one}-net", provider=provider)
            )
            for one in packs
        ]

    monkeypatch.setattr(command, "open_candidates", candidates)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Run `benren tune` in this process; give the exit code."""
    monkeypatch.setattr(sys, "argv", ["benren", "tune", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.usefixtures("painted")
def test_a_run_writes_profile_report_evidence_and_suspects(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All files agree with each other, and only the one for the operator's eyes names pictures."""
    out = tmp_path / "out"
    out.mkdir()
    code = call(
        monkeypatch,
        data,
        *("-o", out / "office-1.toml", "--report", out / "r.html", "--evidence", out / "e.json"),
        *("--suspects", out / "s.csv", "--target-fmr", "0.03", "--pack", "open", "--pack", "other"),
        *("--cache", tmp_path / "cache", "--json", "--provider", "openvino-bf16"),
    )
    assert code == 0
    printed = capsys.readouterr()
    numbers = json.loads(printed.out)
    assert numbers == json.loads((out / "e.json").read_text(encoding="utf-8"))
    profile = load_profile(out / "office-1.toml")
    assert profile.version == "office-1"
    assert profile.provenance is not None
    assert profile.provenance.provider == "openvino-bf16"
    assert "--provider openvino-bf16" in profile.provenance.command
    for pack, study in zip(("open", "other"), numbers["packs"], strict=True):
        assert study["pack"] == pack
        own = profile.for_embedder(f"{pack}-net")
        assert own.threshold == study["matching"]["threshold"]
        assert own.evidence is not None
        assert own.evidence.choice == "located"
    (acquired,) = numbers["packs"][0]["acquisition"]
    assert (acquired["pictures"], acquired["persons"], acquired["unreadable"]) == (183, 91, 1)
    assert acquired["fta"] == pytest.approx(2 / 183, rel=1e-4)
    sides = [numbers["packs"][0]["matching"][side]["size"] for side in ("tuning", "report")]
    assert sum(side["persons"] for side in sides) == 91
    assert sum(side["persons_genuine"] for side in sides) == 90
    assert "broken.jpg: unreadable" in printed.err.replace("\n", " ")
    with (out / "s.csv").open(encoding="utf-8", newline="") as stream:
        kinds = {row["kind"] for row in csv.DictReader(stream)}
    assert kinds == {"left out", "impostor", "genuine"}
    for name in ("office-1.toml", "e.json", "r.html"):
        assert "person-0" not in (out / name).read_text(encoding="utf-8")
        assert str(tmp_path) not in (out / name).read_text(encoding="utf-8")


@pytest.mark.usefixtures("painted")
def test_the_same_command_gives_the_same_numbers(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With and without the cache, a run can be repeated to the last digit; another seed differs."""
    texts = []
    for number, extra in enumerate(
        (("--cache", tmp_path / "c"), ("--cache", tmp_path / "c"), ("--no-cache",), ("--seed", "7"))
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        more = (*extra, "--no-cache") if "--seed" in extra else extra
        wanted = ("--target-fmr", "0.03", "--evidence", folder / "e.json")
        assert call(monkeypatch, data, "-o", folder / "p.toml", *wanted, *more) == 0
        texts.append((folder / "e.json").read_text(encoding="utf-8"))
    assert texts[0] == texts[1] == texts[2]
    assert texts[3] != texts[0]


@pytest.mark.usefixtures("painted")
def test_a_claim_beyond_the_data_is_refused_in_words(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The operator reads that his target is not carried, and what is claimed instead."""
    code = call(monkeypatch, data, "-o", tmp_path / "p.toml", "--target-fmr", "0.03", "--no-cache")
    told = capsys.readouterr().out.replace("\u00a0", " ")
    assert code == 0
    assert "An FMR of 3 % cannot be claimed" in told
    assert "Claimed is at most" in told
    assert "not among those reported on" in told


@pytest.mark.usefixtures("painted")
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("nowhere", "-o", "p.toml"), "There is no data set"),
        (("data", "-o", "Big Name.toml"), "cannot name a profile"),
        (("data", "-o", "p.json"), "cannot name a profile"),
        (("data", "-o", "no/such/p.toml"), "no such folder"),
        (("data", "-o", "there.toml"), "is there already"),
        (("data", "-o", "p.toml", "--report", "p.toml"), "same file"),
        (("data", "-o", "p.toml", "--report", "data"), "is a folder"),
        (("data", "-o", "p.toml", "--target-fmr", "0"), "--target-fmr is 0"),
        (("data", "-o", "p.toml", "--target-fmr", "nan"), "--target-fmr is nan"),
        (("data", "-o", "p.toml", "--target-bpcer", "2"), "--target-bpcer is 2"),
        (
            ("data", "-o", "p.toml", "--target-bpcer", "0.1", "--target-apcer", "0.1"),
            "--target-bpcer or --target-apcer",
        ),
        (("data", "-o", "p.toml", "--base", "no-such-profile"), "no built-in threshold profile"),
        (("data", "-o", "p.toml"), "too few to find the threshold"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    arguments: tuple[str, ...],
    why: str,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every mistake has its sentence and exit code 1, and leaves no file behind."""
    tmp_path = data.parent
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.toml").write_text("mine", encoding="utf-8")
    files = set(tmp_path.iterdir())
    assert call(monkeypatch, *arguments, "--no-cache") == 1
    assert why in capsys.readouterr().err
    assert set(tmp_path.iterdir()) == files
    assert (tmp_path / "there.toml").read_text(encoding="utf-8") == "mine"


def test_a_network_that_no_profile_knows_can_be_tuned() -> None:
    """An engine opens under a profile that has no threshold for its network yet."""
    base = load_profile("provisional-2026-11")
    made = command.with_embedder(base, "brand_new")
    assert made.for_embedder("brand_new").threshold == 1.0
    assert command.with_embedder(base, "edgeface_xs") is base


@pytest.mark.models
@pytest.mark.faces
@pytest.mark.slow
def test_real_faces_with_the_real_pack(
    model_store: Store, faces_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On families, ten people and some hundred small crops the numbers are what they should be."""
    monkeypatch.setattr(Store, "default", classmethod(lambda _cls, **_kwargs: model_store))
    with (
        zipfile.ZipFile(faces_dir / "lfw90.zip") as whole,
        zipfile.ZipFile(tmp_path / "crops.zip", "w") as part,
    ):
        names = [name for name in sorted(whole.namelist()) if name.endswith("_0001.jpg")]
        for name in names[::40]:
            part.writestr(name, whole.read(name))
    dataset = tmp_path / "dataset.toml"
    dataset.write_text(
        f"""
        name = "some real faces"
        [[identities]]
        zip = "{tmp_path / "crops.zip"}"
        genuine = false
        [[identities]]
        folder = "families"
        person = "stem"
        prefix = "families/"
        exclude = ["*.md"]
        [[identities]]
        folder = "lfw10"
        [[bonafide]]
        folder = "spoof_samples/real"
        [[attack]]
        type = "print or screen"
        folder = "spoof_samples/attack"
        """,
        encoding="utf-8",
    )
    code = call(
        monkeypatch,
        dataset,
        *("--root", faces_dir, "-o", tmp_path / "real.toml", "--evidence", tmp_path / "e.json"),
        *("--base", "provisional-2026-11", "--target-fmr", "0.01", "--no-cache"),
    )
    assert code == 0
    numbers = json.loads((tmp_path / "e.json").read_text(encoding="utf-8"))
    found = numbers["packs"][0]["matching"]
    assert found["choice"] == "located"
    assert 0.2 < found["threshold"] < 0.45
    assert found["report"]["size"]["persons"] + found["tuning"]["size"]["persons"] > 140
    assert found["at"]["report"]["fmr"] < 0.03
    assert found["at"]["report"]["fnmr"] < 0.05
    assert found["at"]["claim"]["claimed"] > 0.01
    assert numbers["liveness"]["everybody"]["bpcer"]["presentations"] == 4
    assert numbers["liveness"]["everybody"]["apcer"]["print or screen"]["presentations"] == 5
    assert load_profile(tmp_path / "real.toml").version == "real"
