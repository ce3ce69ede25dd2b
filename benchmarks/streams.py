"""Streams: how many learners two cores hold, and what a frame costs on its way in.

``python -m benchmarks.streams capacity`` runs `benren serve` as operators do (both services,
SQLite) and lets learners study over WebSockets, one VGA frame per 5 s each, at the rates of the
credit model: identity samples, checks and their ledger entries as the tracker asks for them. The
load generator (`stream_load`) shares the processors; its share is told, not taken off.
``python -m benchmarks.streams webrtc`` measures the way of video, ``memory`` idle streams.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.frames import find_faces
from benchmarks.job import Job
from benchmarks.service import serving
from benchmarks.stream_load import Orders, Report, resident_mb
from benchmarks.stream_video import idle_memory, measure
from benchmarks.timing import Json, percentiles
from benren.demo.cameras import VGA, Camera, Handheld, Lens, read_photograph
from verifier.errors import InferenceFailed
from verifier.models.processors import available_processors

ENTRY_S: Final = 300.0
"""Pictures are painted for so long before anything counts: none is shown twice, since a learner who
shows what he has shown before gives no evidence."""
PEOPLE: Final = 8
"""Learners share them: 25 kB a picture, and one for every 5 s."""
LENS: Final = Lens(exposure=0.12, blur_px=0.9, noise=1.5, jpeg_quality=66)
"""As the page encodes: some 27 kB a frame."""
POLICY: Final = "capacity"
MOST_WAIT_MS: Final = 2_000.0
MOST_OFFER_MS: Final = 350.0
MOST_CORE_SHARE: Final = 0.015
MOST_MEMORY_MB: Final = 3.0


def capacity(
    faces: Path, *, learners: int, seconds: float, warm_up_s: float, pack: str, provider: str
) -> Json:
    """Let `learners` study for `seconds`; gives what was measured."""
    with tempfile.TemporaryDirectory(prefix="benren-streams-") as scratch:
        folder = Path(scratch)
        count = round((ENTRY_S + warm_up_s + seconds) / 5.0)
        people = pictures_of(faces, folder, count=count)
        policy = folder / f"{POLICY}.toml"
        policy.write_text(_without_challenges(), encoding="utf-8")
        job = Job(pack=pack, faces=faces, provider=provider)
        data = folder / "data"
        with serving(job, only="both", data=data, policies=(str(policy),)) as server:
            orders = Orders(
                host=server.host,
                port=server.port,
                people=people,
                learners=learners,
                warm_up_s=warm_up_s,
                seconds=seconds,
                programme=POLICY,
                pid=server.pid,
            )
            memory_mb = [resident_mb(server.pid)]
            report = _run(orders)
        checks = _checks(data / "benren.sqlite3", report.began_utc_ms)
        due = _looked_at(data / "benren.sqlite3")
    return _told(orders, report, checks, due=due, memory_mb=[*memory_mb, *report.memory_mb])


def pictures_of(faces: Path, folder: Path, *, count: int) -> list[list[str]]:
    """Paint a few people before their cameras, a picture every 5 s, as JPEG files."""
    people = []
    photographs = [*_of_persons(faces / "people"), *sorted((faces / "families").glob("*.jpg"))]
    for seed, photograph in enumerate(photographs[:PEOPLE]):
        scene = Handheld([read_photograph(photograph)], VGA, seed)
        camera = Camera(scene, seed=seed, lens=LENS)
        paths = []
        for number in range(count):
            path = folder / f"{seed}-{number}.jpg"
            path.write_bytes(camera.frame(number, number * 5.0))
            paths.append(str(path))
        people.append(paths)
    return people


def _of_persons(folder: Path) -> list[Path]:
    """Give the first photograph of each person."""
    pictures = [sorted(one for one in person.iterdir()) for person in sorted(folder.iterdir())]
    return [some[0] for some in pictures if some and some[0].suffix in (".jpg", ".png")]


def _without_challenges() -> str:
    """Give the rules of Foshan without challenges: who answers them is no part of this load."""
    text = (
        Path(__file__).resolve().parents[1] / "session_tracker/policies/foshan-2021.toml"
    ).read_text(encoding="utf-8")
    lines = []
    for line in text.splitlines():
        key = line.partition("=")[0].strip()
        changed = {
            "name": f'name = "{POLICY}"',
            "challenge_at_start": "challenge_at_start = false",
            "challenge_share": "challenge_share = 0.0",
        }.get(key)
        lines.append(changed if changed is not None else line)
    return "\n".join(lines) + "\n"


def _run(orders: Orders) -> Report:
    """Run the generator in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.stream_load"],
        input=json.dumps(asdict(orders)),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise InferenceFailed("The load generator failed.")
    return Report(**json.loads(done.stdout))


def _checks(database: Path, since_ms: int) -> list[dict[str, Any]]:
    """Read from the ledger when each check was asked for and when its decision was recorded."""
    asked: dict[str, int] = {}
    found = []
    with sqlite3.connect(database) as connection:
        rows = connection.execute(
            "SELECT kind, body FROM ledger_entries WHERE kind IN ('check_asked', 'check')"
        )
        for kind, body in rows:
            entry = json.loads(body)
            data = entry["data"]
            if kind == "check_asked":
                asked[data["check_id"]] = entry["at_ms"]
                continue
            check_id = str(entry["key"]).removeprefix("check:")
            if asked.get(check_id, 0) >= since_ms:
                late_ms = data["heard"] - asked[check_id]
                found.append({"cause": data["cause"], "late_ms": late_ms, "data": data["outcome"]})
    return found


def _looked_at(database: Path) -> set[tuple[str, int]]:
    """Read from the ledger which frames became identity samples, or the newest of a check."""
    with sqlite3.connect(database) as connection:
        rows = connection.execute(
            "SELECT body FROM ledger_entries WHERE kind IN ('identity', 'check')"
        )
        evidence = [json.loads(body)["data"].get("evidence") or {} for (body,) in rows]
    return {(one["stream"], one["frame_seq"]) for one in evidence if "frame_seq" in one}


def _separated(report: Report, due: set[tuple[str, int]]) -> Json:
    """Tell how well the time of an answer tells whether its frame was looked at.

    `auc` is the probability that a frame that was looked at waited longer than one that was not:
    0.5 tells nothing. Its standard error is that of chance (Mann, Whitney 1947).
    """
    known = [tuple(one) in due for one in report.frames]
    n, m = sum(known), len(known) - sum(known)
    if not n or not m:
        return {"looked_at": n, "others": m, "auc": None}
    waits = np.asarray(report.waits_ms)
    _, place, count = np.unique(waits, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    auc = (float(ranks[np.asarray(known)].sum()) - n * (n + 1) / 2) / (n * m)
    return {
        "looked_at": n,
        "others": m,
        "auc": auc,
        "auc_by_chance": ((n + m + 1) / (12 * n * m)) ** 0.5,
        "looked_at_ms": percentiles([w for w, k in zip(report.waits_ms, known, strict=True) if k]),
        "others_ms": percentiles([w for w, k in zip(report.waits_ms, known, strict=True) if not k]),
    }


def _told(
    orders: Orders,
    report: Report,
    checks: Sequence[dict[str, Any]],
    *,
    due: set[tuple[str, int]],
    memory_mb: Sequence[float],
) -> Json:
    cores = available_processors()
    waits, probes = report.waits_ms, report.probes_ms
    late = [float(check["late_ms"]) for check in checks]
    frames = len(waits)
    outcomes: dict[str, int] = {}
    for check in checks:
        outcomes[str(check["data"])] = outcomes.get(str(check["data"]), 0) + 1
    return {
        "learners": orders.learners,
        "seconds": report.elapsed_s,
        "cores": cores,
        "frames": frames,
        "frames_per_s": frames / report.elapsed_s,
        "frame_bytes": report.sent_bytes / max(frames, 1),
        "lesson_45_min_mb": report.sent_bytes / max(frames, 1) * 540 / 1e6,
        "wait_ms": {**percentiles(waits), "max": max(waits)} if waits else None,
        "waits_beyond_2_s": sum(wait > MOST_WAIT_MS for wait in waits),
        "loop_ms": {**percentiles(probes), "max": max(probes)} if probes else None,
        "checks": len(checks),
        "check_late_ms": {**percentiles(late), "max": max(late)} if late else None,
        "checks_beyond_2_s": sum(one > MOST_WAIT_MS for one in late),
        "check_outcomes": outcomes,
        "advice": report.advice,
        "states": report.states,
        "unanswered": report.unanswered,
        "lost_connections": report.lost,
        "generator_cores": report.cpu_s / report.elapsed_s,
        "generator_share": report.cpu_s / report.elapsed_s / cores,
        "service_cores": report.service_cpu_s / report.elapsed_s,
        "service_ms_per_frame": report.service_cpu_s * 1_000 / max(frames, 1),
        "put_off": report.put_off,
        "answers_tell": _separated(report, due),
        "service_memory_mb": list(memory_mb),
        "memory_mb_per_learner": (memory_mb[-1] - memory_mb[0]) / orders.learners,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run one measurement and print it as JSON; the exit code is 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__)
    what = parser.add_subparsers(dest="what", required=True)
    hold = what.add_parser("capacity", help="learners over WebSockets on this machine")
    hold.add_argument("--learners", type=int, default=600)
    hold.add_argument("--seconds", type=float, default=1_800.0)
    hold.add_argument("--warm-up", type=float, default=60.0)
    video = what.add_parser("webrtc", help="offer to first frame, and the cost of video")
    video.add_argument("--offers", type=int, default=20)
    video.add_argument("--learners", type=int, default=20)
    video.add_argument("--seconds", type=float, default=60.0)
    memory = what.add_parser("memory", help="memory of streams over hours of compressed time")
    memory.add_argument("--streams", type=int, default=100)
    memory.add_argument("--hours", type=float, default=1.0)
    for one in (hold, video):
        one.add_argument("--faces", type=Path, default=None, help="folder of the photographs")
    hold.add_argument("--pack", default="open")
    hold.add_argument("--provider", default="cpu")
    given = parser.parse_args(argv)
    found, held = _measured(given)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0 if held else 1


def _measured(given: argparse.Namespace) -> tuple[Json, bool]:
    """Do what was asked for; tells whether its targets were held."""
    if given.what == "memory":
        found = idle_memory(streams=given.streams, hours=given.hours)
        return found, found["memory_mb_each"][-1] <= MOST_MEMORY_MB
    faces = find_faces(given.faces)
    if given.what == "webrtc":
        with tempfile.TemporaryDirectory(prefix="benren-streams-") as scratch:
            person = pictures_of(faces, Path(scratch), count=24)[0]
            found = measure(
                person, offers=given.offers, seconds=given.seconds, learners=given.learners
            )
        fast = found["offer_to_first_frame_ms"]["p50"] <= MOST_OFFER_MS
        return found, fast and found["core_share_each"] <= MOST_CORE_SHARE
    found = capacity(
        faces,
        learners=given.learners,
        seconds=given.seconds,
        warm_up_s=given.warm_up,
        pack=given.pack,
        provider=given.provider,
    )
    late = found["waits_beyond_2_s"] or found["checks_beyond_2_s"]
    return found, not (late or found["unanswered"] or found["lost_connections"])


if __name__ == "__main__":
    sys.exit(main())
