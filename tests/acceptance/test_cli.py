"""The commands as people and programs call them: own processes, real models, real faces."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from benren.config import Config, load_settings
from verifier.clock import SystemClock
from verifier.keys import KeyRing

pytestmark = pytest.mark.models

BENREN = [sys.executable, "-m", "benren.cli"]
START_S = 60
"""Bound, not expectation: how long a service may take to open its port on a loaded machine."""


def _environment(**more: str) -> dict[str, str]:
    """Give this process's environment without settings of Benren but where the models are."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("BENREN_") or name == "BENREN_MODELS"
    }
    return {**kept, **more}


def _run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*BENREN, *map(str, arguments)],
        env=_environment(),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.faces
def test_compare_tells_same_from_other(faces_dir: Path) -> None:
    """One JSON line per probe, in order, with exactly the agreed members."""
    families = faces_dir / "families"
    reference = families / "Family1-Dad1.jpg"
    probes = [families / f"Family1-{name}.jpg" for name in ("Dad2", "Mom1", "Dad3")]
    done = _run("compare", reference, *probes, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    lines = _lines(done.stdout)
    assert [line["probe"] for line in lines] == [str(probe) for probe in probes]
    assert [line["decision"] for line in lines] == ["match", "mismatch", "match"]
    for line in lines:
        assert list(line) == [
            "reference",
            "probe",
            "decision",
            "reasons",
            "similarity",
            "threshold",
            "fmr_at_threshold",
            "liveness",
            "quality",
        ]
        assert set(line["liveness"]) == {"score", "threshold", "decision"}
        assert line["quality"]["InterEyeDistance"] > 20
        assert (line["similarity"] >= line["threshold"]) is (line["decision"] == "match")


@pytest.mark.faces
def test_unreadable_probe_fails_alone(faces_dir: Path, tmp_path: Path) -> None:
    """A text file named .jpg is an error with its name and exit code 1; the others are judged."""
    families = faces_dir / "families"
    broken = tmp_path / "broken.jpg"
    broken.write_text("this is text")
    reference = families / "Family1-Dad1.jpg"
    done = _run("compare", reference, broken, families / "Family1-Dad2.jpg", "--json")
    assert done.returncode == 1
    assert [line["decision"] for line in _lines(done.stdout)] == ["match"]
    (problem,) = _lines(done.stderr)
    assert problem["instance"] == str(broken)
    assert problem["code"] == "image_unreadable"
    assert problem["remedy"]


@pytest.mark.faces
def test_liveness_decides_only_where_it_is_asked_to(faces_dir: Path) -> None:
    """A screen shows its own photograph: the same person, and with --require-live a spoof."""
    attack = faces_dir / "spoof_samples" / "attack" / "minivision_F1.jpg"
    (told,) = _lines(_run("compare", attack, attack, "--json").stdout)
    assert (told["decision"], told["liveness"]["decision"]) == ("match", "spoof")
    (strict,) = _lines(_run("compare", attack, attack, "--require-live", "--json").stdout)
    assert (strict["decision"], strict["reasons"]) == ("spoof", ["not_live"])


@pytest.mark.faces
def test_reference_without_a_face_is_refused_with_reasons(faces_dir: Path, tmp_path: Path) -> None:
    """Nothing can be compared with a picture of nobody: reasons, exit code 1, no line."""
    import cv2
    import numpy as np

    nobody = tmp_path / "nobody.png"
    cv2.imwrite(str(nobody), np.full((200, 200, 3), 128, np.uint8))
    done = _run("compare", nobody, faces_dir / "families" / "Family1-Dad1.jpg", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    (problem,) = _lines(done.stderr)
    assert problem["reasons"] == ["no_face"]


@pytest.mark.faces
def test_liveness_is_right_on_at_least_8_of_9_samples(faces_dir: Path) -> None:
    """Real faces are live, prints and screens are not."""
    samples = sorted((faces_dir / "spoof_samples").glob("*/*"))
    done = _run("liveness", *samples, "--json")
    assert done.returncode == 0, done.stderr
    lines = _lines(done.stdout)
    assert len(lines) == 9
    for line in lines:
        assert list(line) == ["image", "decision", "score", "threshold", "reasons"]
    right = sum(
        line["decision"] == ("live" if Path(line["image"]).parent.name == "real" else "spoof")
        for line in lines
    )
    assert right >= 8


@pytest.mark.faces
def test_enrolled_template_opens_for_its_subject(faces_dir: Path, tmp_path: Path) -> None:
    """The template opens with the keys of the data directory, for its subject."""
    import numpy as np

    from verifier.pipeline.templates import TemplateVault

    photo = faces_dir / "families" / "Family1-Dad1.jpg"
    file = tmp_path / "tom.bnt"
    done = _run(
        "enrol", photo, "-o", file, "--subject", "tom", "--data-dir", tmp_path / "data", "--json"
    )
    assert done.returncode == 0, done.stderr
    (line,) = _lines(done.stdout)
    keyring = KeyRing.load(load_settings(Config, data_directory=tmp_path / "data").keys)
    vault = TemplateVault(keyring, embedder=line["models"]["embedder"], clock=SystemClock())
    template = vault.open(file.read_bytes(), subject="tom")
    assert abs(float(np.linalg.norm(template.embedding)) - 1) < 1e-3


@pytest.mark.faces
def test_face_that_is_cut_is_no_template(faces_dir: Path, tmp_path: Path) -> None:
    """A photograph cut through the face is refused with the reason, and no file is written."""
    photo = faces_dir / "people" / "obama" / "partial_1.jpg"
    file = tmp_path / "cut.bnt"
    done = _run("enrol", photo, "-o", file, "--subject", "x", "--data-dir", tmp_path, "--json")
    assert done.returncode == 1
    (problem,) = _lines(done.stderr)
    assert "face_cut_off" in problem["reasons"]
    assert not file.exists()


Serve = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def serve(tmp_path: Path, pack_dir: Path) -> Iterator[Serve]:
    """Start `benren serve` on a free port; gives the process and its address."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **environment: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [*BENREN, "serve", "--port", "0", "--data-dir", str(tmp_path / "data"), *arguments],
            env=_environment(**environment),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"serving on (http://\S+)", line):
                return process, found[1]
        pytest.fail(f"benren serve ended with {process.wait(START_S)} before its port opened")

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


@pytest.mark.slow
def test_serve_is_ready_when_its_port_opens_and_ends_on_sigterm(serve: Serve) -> None:
    """The first request already finds a service that can infer; SIGTERM ends it with 0."""
    process, address = serve()
    assert httpx.get(f"{address}/readyz", trust_env=False, timeout=30).json() == {"status": "ok"}
    process.send_signal(signal.SIGTERM)
    assert process.wait(START_S) == 0


@pytest.mark.slow
def test_serve_tracker_alone_uses_the_verifier_elsewhere(serve: Serve, tmp_path: Path) -> None:
    """Two processes, one per service, answer for their own part and end cleanly."""
    verifier, verifier_address = serve("--only", "verifier")
    tracker, tracker_address = serve("--only", "tracker", "--verifier-url", verifier_address)
    with httpx.Client(trust_env=False, timeout=30) as client:
        assert client.get(f"{tracker_address}/readyz").status_code == 200
        assert client.get(f"{tracker_address}/v1/programmes").status_code == 200
        assert client.get(f"{verifier_address}/v1/programmes").status_code == 404
        models = client.get(f"{verifier_address}/version").json()["models"]
        assert client.get(f"{tracker_address}/version").json()["models"] == models
    for process in (tracker, verifier):
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_S) == 0


def test_serve_refuses_strangers_without_keys(tmp_path: Path) -> None:
    """Beyond loopback and without API keys it does not start, and says how to mend that."""
    done = _run("serve", "--host", "0.0.0.0", "--port", "0", "--data-dir", tmp_path)  # noqa: S104
    assert done.returncode == 1
    assert "benren keys new" in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_says_which_model_is_missing(tmp_path: Path) -> None:
    """An empty model folder ends the start before the port opens, with file and remedy."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "yunet_n_dynamic.onnx").write_bytes(b"not a network")
    done = subprocess.run(
        [*BENREN, "serve", "--port", "0", "--data-dir", str(tmp_path / "data")],
        env=_environment(BENREN_MODELS=str(tmp_path / "models")),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "yunet_n_dynamic" in done.stderr
    assert "serving on" not in done.stderr
    assert "Traceback" not in done.stderr
