"""The benchmark of this machine: every section, one JSON file, one HTML report.

Sections that take time run alone, one after the other; what no clock decides about (error rates,
memory) runs together at the end. A section that fails is named in the report and in the exit code;
the others stand.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.job import Job
from benchmarks.machine import describe_machine, describe_versions, today
from benchmarks.report import render
from benchmarks.sections import SECTIONS, TOGETHER, run_apart
from benchmarks.targets import targets
from benchmarks.timing import Json
from verifier.clock import work_time_ms
from verifier.errors import BadRequest, BenrenError, ConfigurationError
from verifier.models.backend import GPU
from verifier.models.processors import available_processors

if TYPE_CHECKING:
    from benchmarks.sections import Watch

SCHEMA: Final = 1
"""Of the JSON file."""
ELSEWHERE: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    "kept": (
        "kept",
        frozenset(
            {"pack", "provider", "persons", "worse", "needed_persons", "failed_alone", "fnmr"}
            | {"difference_pp", "interval_pp"}
        ),
    ),
    "long_memory": (
        "memory",
        frozenset({"pack", "checks", "after_mb", "slope_kb_per_1000", "slope_error_kb_per_1000"}),
    ),
}
"""Runs too long for this one: name -> module of `benchmarks`, and what of its JSON is needed."""
BUSY: Final = 0.3
"""Load per processor from which on a run begins on a machine that is not quiet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A run and its files."""

    record: Json
    json_file: Path
    html_file: Path

    @property
    def failed(self) -> Mapping[str, str]:
        """Sections that failed, and why."""
        failures: Mapping[str, str] = self.record["failed"]
        return failures


def run(
    job: Job,
    folder: Path,
    *,
    sections: Sequence[str] = (),
    watch: Watch,
    command: str = "",
    handed_in: Mapping[str, Json] | None = None,
) -> Ran:
    """Run the sections asked for (all, where none is named) and write ``bench.json`` and ``.html``.

    `handed_in` is what longer runs found, by `ELSEWHERE`, for the rows of the targets that no
    section measures, or none well enough.
    Raises BadRequest for a section that does not exist, ConfigurationError where `folder` cannot be
    written.
    """
    chosen = chosen_sections(job, sections)
    _make(folder)
    machine = describe_machine()
    start_ms = work_time_ms()
    done, failed = _run_all(chosen, job, watch)
    record: Json = {
        "schema": SCHEMA,
        "made": today(),
        "command": command,
        "quick": job.quick,
        "pack": job.pack,
        "provider": job.provider,
        "against": job.against,
        "wall_s": (work_time_ms() - start_ms) / 1_000,
        "machine": machine | {"load_after": _load()},
        "versions": describe_versions(),
        "warnings": [*_of_machine(machine), *_of_job(job), *_of_sections(done)],
        "failed": failed,
        "handed_in": dict(handed_in or {}),
        "targets": targets(
            done | {name: {"detail": found} for name, found in (handed_in or {}).items()}
        ),
        "sections": done,
    }
    written = Ran(record=record, json_file=folder / "bench.json", html_file=folder / "bench.html")
    written.json_file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    written.html_file.write_text(render(record), encoding="utf-8")
    return written


def read_elsewhere(name: str, path: Path) -> Json:
    """Read what the longer run `name` of `ELSEWHERE` printed. Raises BadRequest for others."""
    module, keys = ELSEWHERE[name]
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        missing = keys - set(found)
    except (OSError, ValueError, TypeError) as error:
        raise BadRequest(f"{path} cannot be read: {error}.") from error
    if missing:
        raise BadRequest(
            f"{path} lacks {', '.join(sorted(missing))}.",
            remedy=f"Name a file that python -m benchmarks.{module} wrote.",
        )
    result: Json = found
    return result


def chosen_sections(job: Job, names: Sequence[str]) -> list[str]:
    """Give the sections of a run, in order; those that its providers cannot have are left out.

    Raises BadRequest for a section that does not exist, or that wants a second provider.
    """
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        raise BadRequest(
            f"There is no section {unknown[0]}.", remedy=f"There are {', '.join(SECTIONS)}."
        )
    if "agreement" in names and not job.against:
        raise BadRequest(
            "The section agreement compares two providers.", remedy="Name the other by --against."
        )
    return [
        name
        for name, section in SECTIONS.items()
        if (not names or name in names)
        and not (section.of_a_core and job.provider in GPU)
        and not (name == "agreement" and not job.against)
    ]


def _run_all(
    names: Sequence[str], job: Job, watch: Watch
) -> tuple[dict[str, Json], dict[str, str]]:
    """Run the sections; gives what they found, in the order of the report, and what failed."""
    done: dict[str, Json] = {}
    failed: dict[str, str] = {}
    held = threading.Lock()

    def one(name: str) -> None:
        watch(name, 0.0, "starting")
        try:
            found = run_apart(name, job, watch)
        except BenrenError as error:
            with held:
                failed[name] = str(error)
        else:
            with held:
                done[name] = found
        watch(name, 1.0, "failed" if name in failed else "done")

    for name in names:
        if name not in TOGETHER:
            one(name)
    with ThreadPoolExecutor(max(1, min(available_processors(), len(TOGETHER)))) as pool:
        list(pool.map(one, [name for name in TOGETHER if name in names]))
    return {name: done[name] for name in names if name in done}, failed


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bench.json").touch()
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be written: {error.strerror}.", remedy="Name another with -o."
        ) from error


def _load() -> list[float]:
    return list(os.getloadavg()) if hasattr(os, "getloadavg") else []


def _of_machine(machine: Json) -> list[str]:
    load = machine["load_before"]
    if load and load[0] > BUSY * machine["granted_processors"]:
        return [
            f"The machine was not quiet: its load was {load[0]:.1f} before the run. Times are too"
            " long and too uneven; ratios of systems that took turns suffer least."
        ]
    return []


def _of_job(job: Job) -> list[str]:
    return (
        ["A quick run: few rounds, small sets. Good for a look, not for a claim."]
        if job.quick
        else []
    )


def _of_sections(done: Mapping[str, Json]) -> list[str]:
    return [
        f"{SECTIONS[name].title}: {warning}"
        for name, found in done.items()
        for warning in found["warnings"]
    ]
