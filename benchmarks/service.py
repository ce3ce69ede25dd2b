"""The HTTP service against the bare engine: what is lost between a request and the networks.

The service is `benren serve --only verifier` as operators run it: uvicorn, access rules, JSON,
templates opened, verdicts signed, micro-batches. Beside it, on the same cores, runs the load
generator (`load`), in a process of its own; its share of the processors is told, and is not taken
off the service's result. Bare engine and service take turns.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final
from urllib.parse import urlsplit

import httpx

from benchmarks.job import Found, Job, Tell
from benchmarks.latency import Bench, bench_of
from benchmarks.load import Orders, Report
from benchmarks.throughput import Cell, Filled, fill_threads
from benchmarks.timing import Json, Metric, percentiles
from verifier.errors import InferenceFailed
from verifier.models.processors import available_processors

CLIENTS: Final = 32
START_TIMEOUT_S: Final = 120.0
STOP_TIMEOUT_S: Final = 30.0
MAX_LINES: Final = 200
SUBJECT: Final = "benchmark"
BARE: Final = (1, 4, 8)
"""Batches of the bare engine; the best of them is what the service is held against."""
KEPT: Final = frozenset({"BENREN_MODELS", "BENREN_FACES", "BENREN_MODEL_MIRROR", "BENREN_PREPARED"})
"""Settings from outside that the service under test keeps; all others are at their defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A service that runs."""

    pid: int
    host: str
    port: int

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{self.host}:{self.port}"

    def cpu_s(self) -> float | None:
        """Give the processor time of the service so far; None where the system does not tell."""
        path = Path(f"/proc/{self.pid}/stat")
        if not path.is_file():
            return None
        words = path.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def run(job: Job, tell: Tell) -> Found:
    """Let 32 clients ask the service, and the bare engine do the same work, in turns."""
    tell(0.0, "loading")
    bench = bench_of(job)
    workers = available_processors()
    rounds, seconds = job.count(1, 4), job.pick(4.0, 8.0)
    bare: dict[Cell, Filled] = {Cell(workers=workers, batch=n): Filled([], []) for n in BARE}
    reports: list[Report] = []
    service_cpu_s: list[float] = []
    with serving(job) as server, tempfile.TemporaryDirectory(prefix="benren-load-") as folder:
        tell(0.1, "service is up")
        orders = orders_for(server, bodies_for(server, bench.jpegs, Path(folder)), seconds)
        for number in range(rounds):
            for cell, found in bare.items():
                fill_threads(bench, cell, seconds / 4, found)
            before = server.cpu_s()
            reports.append(load(orders))
            after = server.cpu_s()
            if before is not None and after is not None:
                service_cpu_s.append(after - before)
            tell(0.1 + 0.9 * (number + 1) / rounds, f"{CLIENTS} clients")
    return _found(job, bench, bare, reports, service_cpu_s, warm_up_s=orders.warm_up_s)


@contextmanager
def serving(
    job: Job,
    *,
    only: str = "verifier",
    data: Path | None = None,
    policies: Sequence[str] = (),
) -> Iterator[Server]:
    """Start `benren serve` on a free port of loopback; end it with SIGTERM, as operators do."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("BENREN_") or k in KEPT}
    environ["BENREN_PROVIDER"] = job.provider
    with tempfile.TemporaryDirectory(prefix="benren-serve-") as folder:
        command = [sys.executable, "-m", "benren.cli", "serve", "--port", "0", "--pack", job.pack]
        command += [] if only == "both" else ["--only", only]
        command += ["--data-dir", str(data or folder)]
        if policies:
            environ["BENREN_POLICIES"] = ",".join(policies)
        with subprocess.Popen(  # noqa: S603 - this very Python, a module of this project
            command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            log = _Log(process)
            try:
                yield log.address()
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(STOP_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                log.end()


class _Log:
    """Reads what the service says, so that its pipe never fills, and finds its address there."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: list[str] = []
        self._found: list[str] = []
        self._told = threading.Event()
        self._thread = threading.Thread(target=self._read, name="service log", daemon=True)
        self._thread.start()

    def address(self) -> Server:
        """Wait until it says where it listens. Raises InferenceFailed where it does not."""
        self._told.wait(START_TIMEOUT_S)
        if not self._found:
            said = "".join(self._lines)[-2_000:] or "it says nothing"
            raise InferenceFailed(f"The service did not start: {said}")
        parts = urlsplit(self._found[0])
        return Server(pid=self._process.pid, host=str(parts.hostname), port=int(parts.port or 0))

    def end(self) -> None:
        """Read to the end, once the service has ended."""
        self._thread.join(STOP_TIMEOUT_S)

    def _read(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - it was asked for
        for line in self._process.stderr:
            if len(self._lines) < MAX_LINES:
                self._lines.append(line)
            match = re.search(r"serving on (http://\S+)", line)
            if match:
                self._found.append(match[1])
                self._told.set()
        self._told.set()


def bodies_for(server: Server, jpegs: Sequence[bytes], folder: Path) -> list[str]:
    """Enrol the first frame that will do, and write a verify request for each frame."""
    texts = [base64.b64encode(jpeg).decode("ascii") for jpeg in jpegs]
    with httpx.Client(base_url=server.url, timeout=30.0, trust_env=False) as client:
        template = _template(client, texts)
        paths = []
        for number, text in enumerate(texts):
            body = {"subject": SUBJECT, "template": template, "frames": [text]}
            path = folder / f"{number}.json"
            path.write_text(json.dumps(body), encoding="ascii")
            paths.append(str(path))
        answer = client.post("/v1/verify", content=Path(paths[0]).read_bytes(), headers=_JSON)
        if answer.status_code != httpx.codes.OK:
            raise InferenceFailed(f"The service refuses to verify: {answer.text[:500]}")
    return paths


_JSON: Final = {"Content-Type": "application/json"}


def _template(client: httpx.Client, texts: Sequence[str]) -> str:
    refusal = ""
    for text in texts:
        answer = client.post("/v1/templates", json={"subject": SUBJECT, "photo": text})
        if answer.is_success:
            return str(answer.json()["template"])
        refusal = answer.text[:500]
    raise InferenceFailed(f"The service makes a template of none of the frames: {refusal}")


def orders_for(server: Server, bodies: list[str], seconds: float) -> Orders:
    """Order `CLIENTS` clients for `seconds`, after a warm-up."""
    return Orders(
        host=server.host,
        port=server.port,
        path="/v1/verify",
        bodies=bodies,
        clients=CLIENTS,
        seconds=seconds,
        warm_up_s=min(2.0, seconds / 3),
    )


def load(orders: Orders) -> Report:
    """Run the load generator in a process of its own. Raises where an answer is not 200."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=json.dumps(asdict(orders)),
        capture_output=True,
        text=True,
        timeout=orders.seconds + orders.warm_up_s + 120,
        check=False,
    )
    if done.returncode != 0:
        raise InferenceFailed(f"The load generator failed: {done.stderr[-2_000:]}")
    report = Report(**json.loads(done.stdout))
    if set(report.statuses) != {"200"}:
        raise InferenceFailed(f"The service did not answer all requests: {report.statuses}")
    return report


def _found(
    job: Job,
    bench: Bench,
    bare: dict[Cell, Filled],
    reports: Sequence[Report],
    service_cpu_s: Sequence[float],
    *,
    warm_up_s: float,
) -> Found:
    best = max(bare, key=lambda cell: median(bare[cell].per_s))
    per_s = tuple(len(report.latencies_ms) / report.elapsed_s for report in reports)
    ratios = tuple(ours / engine for ours, engine in zip(per_s, bare[best].per_s, strict=True))
    latencies = [ms for report in reports for ms in report.latencies_ms]
    spread = percentiles(latencies)
    spreads = [percentiles(report.latencies_ms) for report in reports]
    cores = available_processors()
    generator = [report.cpu_s / report.elapsed_s / cores for report in reports]
    words = f"pack {job.pack}, {CLIENTS} clients"
    metrics = [
        Metric(
            name="service.per_s",
            value=median(per_s),
            unit="/s",
            better="higher",
            about=f"verifications over HTTP, {words}",
            rounds=per_s,
        ),
        Metric(
            name="service.over_bare",
            value=median(ratios),
            unit="of bare",
            better="higher",
            about=f"HTTP service over bare engine, {words}",
            rounds=ratios,
            relative=True,
        ),
        Metric(
            name="service.p50_ms",
            value=spread["p50"],
            unit="ms",
            better="lower",
            about=f"median answer over HTTP, {words}",
            rounds=tuple(one["p50"] for one in spreads),
        ),
        Metric(
            name="service.p99_over_p50",
            value=spread["p99"] / spread["p50"],
            unit="×",
            better="lower",
            about=f"99th percentile over the median, {words}",
            rounds=tuple(one["p99"] / one["p50"] for one in spreads),
            relative=True,
        ),
    ]
    return Found(
        metrics=metrics,
        detail={
            "pack": job.pack,
            "clients": CLIENTS,
            "request_bytes": round(sum(map(len, bench.jpegs)) / len(bench.jpegs) * 4 / 3),
            "bare": [_bare_row(cell, found) for cell, found in bare.items()],
            "best_bare": best.name,
            "per_s": median(per_s),
            "latency_ms": spread,
            "generator_share": median(generator),
            "service_cores": _cores(service_cpu_s, reports, warm_up_s),
            "over_bare_without_generator": median(
                ratio / (1 - share) for ratio, share in zip(ratios, generator, strict=True)
            ),
        },
    )


def _bare_row(cell: Cell, found: Filled) -> Json:
    return {"workers": cell.workers, "batch": cell.batch, "per_s": median(found.per_s)}


def _cores(
    service_cpu_s: Sequence[float], reports: Sequence[Report], warm_up_s: float
) -> float | None:
    """Give how many processors the service kept busy; it also works in the warm-up."""
    if not service_cpu_s:
        return None
    pairs = zip(service_cpu_s, reports, strict=True)
    return median(cpu_s / (report.elapsed_s + warm_up_s) for cpu_s, report in pairs)
