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
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.frames import find_faces
from benchmarks.job import Job
from benchmarks.memory import slope_of
from benchmarks.service import serving
from benchmarks.stream_load import Orders, Report, resident_mb
from benchmarks.stream_video import idle_memory, measure
from benchmarks.timing import Json, percentiles
from benren.demo.cameras import VGA, Camera, Handheld, Lens, read_photograph
from session_tracker.events import CheckCause
from session_tracker.policy import load_policy
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
FORCED: Final = CheckCause.MAX_GAP.value
MOST_WAIT_MS: Final = 2_000.0
MOST_OFFER_MS: Final = 350.0
MOST_CORE_SHARE: Final = 0.015
MOST_MEMORY_MB: Final = 3.0
MOST_GROWTH_MB: Final = 0.1
"""In an hour, of a stream that has settled: fingerprints of its own frames are 0.05, for less than
three hours."""
SETTLED_MIN: Final = 25
"""Until then windows and memories fill."""


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
        until_ms = report.began_utc_ms + round(report.elapsed_s * 1_000)
        force_after_ms = load_policy(policy).checks.force_after_s * 1_000
        checks = checks_asked(
            _entries(data / "benren.sqlite3"),
            since_ms=report.began_utc_ms,
            until_ms=until_ms,
            force_after_ms=force_after_ms,
        )
        due = _looked_at(data / "benren.sqlite3")
    return told(orders, report, checks, due=due, memory_mb=[*memory_mb, *report.memory_mb])


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


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedCheck:
    """A check as the ledger tells of it."""

    cause: str
    outcome: str | None
    """None: never decided."""
    late_ms: int | None
    """From when it was due, where that is known, else from when it was asked for, until its
    decision was recorded; None: never."""
    after_due_ms: int | None
    """When it was asked for, after it was due; None where the ledger cannot tell."""

    @property
    def is_late(self) -> bool:
        """Whether it was decided too late, or never."""
        return self.late_ms is None or self.late_ms > MOST_WAIT_MS


def checks_asked(
    entries: Sequence[Json], *, since_ms: int, until_ms: int, force_after_ms: int
) -> list[AskedCheck]:
    """Tell of every check that was asked for while it counted, decided or not.

    Only for a check that a missing pass forces can the ledger tell when it was due: the longest
    allowed time after the last pass. Random moments are written down nowhere; the same timer wakes
    them, so that the forced ones stand for them.
    """
    passes: dict[str, list[int]] = {}
    decided: dict[str, Json] = {}
    for entry in entries:
        data = entry["data"]
        if entry["kind"] == "check":
            decided[str(entry["key"]).removeprefix("check:")] = data
        if entry["kind"] in ("check", "identity") and data["outcome"] == "pass":
            at_ms = data["since"] if entry["kind"] == "check" else data["t"]
            passes.setdefault(entry["subject"], []).append(at_ms)
    found = []
    for entry in entries:
        asked_ms = entry["at_ms"]
        if entry["kind"] != "check_asked" or not since_ms <= asked_ms <= until_ms:
            continue
        after_due_ms = None
        if entry["reason"] == FORCED:
            due = [one + force_after_ms for one in passes.get(entry["subject"], [])]
            after_due_ms = min((asked_ms - one for one in due if one <= asked_ms), default=None)
        data = decided.get(entry["data"]["check_id"])
        found.append(
            AskedCheck(
                cause=entry["reason"],
                outcome=None if data is None else str(data["outcome"]),
                late_ms=None if data is None else data["heard"] - asked_ms + (after_due_ms or 0),
                after_due_ms=after_due_ms,
            )
        )
    return found


def _entries(database: Path) -> list[Json]:
    with sqlite3.connect(database) as connection:
        rows = connection.execute(
            "SELECT body FROM ledger_entries WHERE kind IN ('check_asked', 'check', 'identity')"
            " ORDER BY idx"
        )
        return [json.loads(body) for (body,) in rows]


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


def told(
    orders: Orders,
    report: Report,
    checks: Sequence[AskedCheck],
    *,
    due: set[tuple[str, int]],
    memory_mb: Sequence[float],
) -> Json:
    """Put into one object what was measured."""
    cores = available_processors()
    waits, probes = report.waits_ms, report.probes_ms
    late = [float(check.late_ms) for check in checks if check.late_ms is not None]
    after_due = [float(check.after_due_ms) for check in checks if check.after_due_ms is not None]
    frames = len(waits)
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
        "check_asked_after_due_ms": (
            {**percentiles(after_due), "max": max(after_due), "known": len(after_due)}
            if after_due
            else None
        ),
        "checks_undecided": sum(check.late_ms is None for check in checks),
        "checks_beyond_2_s": sum(check.is_late for check in checks),
        "check_outcomes": Counter(check.outcome or "undecided" for check in checks),
        "looks": report.looks,
        "looks_beyond_2_s": report.looks["taken"] - report.looks["within_2_s"],
        "looks_passed_over": report.looks["passed_over"],
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
        curve = idle_memory(streams=given.streams, hours=given.hours)
        found = {**curve, **grown(curve["memory_mb_each"])}
        return found, holds_memory(found)
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
    return found, holds(found)


MISSES: Final = (
    "waits_beyond_2_s",
    "checks_beyond_2_s",
    "looks_beyond_2_s",
    "looks_passed_over",
    "unanswered",
    "lost_connections",
)
"""Of what is counted, what has to be none."""


def holds(found: Json) -> bool:
    """Tell whether a service that was under load held its targets."""
    return found["checks"] > 0 and found["looks"]["taken"] > 0 and not any(map(found.get, MISSES))


def grown(curve: Sequence[float]) -> Json:
    """Tell how a stream's memory grows once it has settled; `curve` in MB, every five minutes."""
    minutes = [(5 * (number + 1), value) for number, value in enumerate(curve)]
    slope = slope_of([point for point in minutes if point[0] > SETTLED_MIN])
    mb_a_minute = slope.kb_per_1000 / (1_000 * 1_024)
    return {"growth_mb_an_hour": 60 * mb_a_minute}


def holds_memory(found: Json) -> bool:
    """Tell whether idle streams are small enough, and stay so."""
    small = max(found["memory_mb_each"]) <= MOST_MEMORY_MB
    return bool(small and found["growth_mb_an_hour"] <= MOST_GROWTH_MB)


if __name__ == "__main__":
    sys.exit(main())
