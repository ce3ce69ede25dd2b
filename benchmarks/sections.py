"""The sections of the benchmark, each run in a process of its own.

``python -m benchmarks.sections NAME`` takes a job as JSON on stdin and gives JSON Lines on stdout:
how far it is, and at the end what it found. A process of its own keeps affinity, thread pools and
memory of one section out of the next, and a section that dies takes nothing with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeAlias

from benchmarks.job import Found, Job, Tell
from benchmarks.timing import Json
from verifier.errors import BenrenError, InferenceFailed

Watch: TypeAlias = Callable[[str, float, str], None]
"""Takes the section's name, the share that is done, and a word on what is being done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the benchmark."""

    title: str
    where: str
    """Module of `benchmarks` and function, with a colon between."""
    weight: int
    """Seconds on two cores of 2025, for the progress bar."""
    timeout_s: float = 480.0
    of_a_core: bool = False
    """Whether it is about one core of the CPU, and says nothing of another device."""

    def run(self, job: Job, tell: Tell) -> Found:
        """Measure, in this process."""
        module, _, function = self.where.partition(":")
        work: Callable[[Job, Tell], Found] = getattr(
            import_module(f"benchmarks.{module}"), function
        )
        return work(job, tell)


SECTIONS: Final[Mapping[str, Section]] = {
    "peers": Section(title="Peers", where="peers:run", weight=75, of_a_core=True),
    "stages": Section(title="Stages", where="latency:stages", weight=15),
    "throughput": Section(title="Throughput", where="throughput:throughput", weight=105),
    "providers": Section(title="Providers", where="throughput:providers", weight=20),
    "savings": Section(title="Savings", where="savings:run", weight=20, of_a_core=True),
    "roofline": Section(title="Roofline", where="roofline:run", weight=12, of_a_core=True),
    "service": Section(title="HTTP service", where="service:run", weight=80),
    "agreement": Section(title="Agreement", where="agreement:run", weight=15),
    "half_load": Section(title="Half load", where="half_load:run", weight=30),
    "capacity": Section(title="Capacity", where="capacity:run", weight=35),
    "memory": Section(title="Memory", where="memory:run", weight=60),
    "matching": Section(title="Accuracy", where="error_rates:matching", weight=150),
    "liveness": Section(title="Liveness", where="error_rates:passive_liveness", weight=30),
}
"""In the order of the report; `agreement` only where two providers are asked for. Those of
`TOGETHER` run at the same time, the others alone."""
TOGETHER: Final = ("memory", "matching", "liveness")
"""No clock decides about what these find."""
ONE_THREAD: Final = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "BLIS_NUM_THREADS": "1",
}
"""Environment of every section: one thread per worker everywhere, for peers and for us."""


def run_apart(name: str, job: Job, watch: Watch) -> Json:
    """Run a section in a process of its own; gives metrics, detail and warnings as JSON.

    Raises InferenceFailed where it fails or takes longer than its limit, with what it said.
    """
    section = SECTIONS[name]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said,
        subprocess.Popen(  # noqa: S603 - this very Python, a module of this project
            [sys.executable, "-m", "benchmarks.sections", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env=os.environ | ONE_THREAD,
            start_new_session=True,  # so that what it starts ends with it
        ) as process,
    ):
        limit = threading.Timer(section.timeout_s, _end, [process])
        limit.start()
        try:
            last = _listen(process, name, job, watch)
            process.wait()
        finally:
            limit.cancel()
            _end(process)
            process.wait()
        if "found" in last:
            found: Json = last["found"]
            return found
        said.seek(0)
        why = last.get("problem") or said.read()[-2_000:].strip() or f"exit {process.returncode}"
        if process.returncode == -signal.SIGKILL:
            why = f"it took longer than {section.timeout_s:.0f} s, or was killed for memory"
        raise InferenceFailed(f"{section.title}: {why}")


def _end(process: subprocess.Popen[str]) -> None:
    """Kill what is left of a section, and of what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _listen(process: subprocess.Popen[str], name: str, job: Job, watch: Watch) -> Json:
    """Hand over the job, pass on how far it is, and give its last word."""
    assert process.stdin is not None  # noqa: S101 - both were asked for
    assert process.stdout is not None  # noqa: S101
    with contextlib.suppress(BrokenPipeError):  # it died at once: its exit code tells
        json.dump(_job_to_json(job), process.stdin)
        process.stdin.close()
    last: Json = {}
    for line in process.stdout:
        message: Json = json.loads(line)
        if "done" in message:
            watch(name, message["done"], message["what"])
        else:
            last = message
    return last


def _job_to_json(job: Job) -> Json:
    return asdict(job) | {"faces": str(job.faces)}


def _job_of_json(given: dict[str, Any]) -> Job:
    return Job(**(given | {"faces": Path(given["faces"])}))


def main(argv: list[str] | None = None) -> int:
    """Run one section for the parent process."""
    (name,) = sys.argv[1:] if argv is None else argv
    job = _job_of_json(json.load(sys.stdin))
    # Libraries that print must not come between the lines of JSON.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(message: Json) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    try:
        found = SECTIONS[name].run(job, lambda done, what: say({"done": done, "what": what}))
    except BenrenError as error:
        say({"problem": str(error)})
        return 1
    say(
        {
            "found": {
                "metrics": [metric.to_json() for metric in found.metrics],
                "detail": found.detail,
                "warnings": list(found.warnings),
            }
        }
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
