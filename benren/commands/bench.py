"""`benren bench`: how fast this machine verifies and how well, as JSON and as a report."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from benren.console import complain, emit, err, out
from verifier.errors import BadRequest, BenrenError
from verifier.models.backend import Provider

if TYPE_CHECKING:
    from benchmarks.compare_runs import Comparison, Row
    from benchmarks.sections import Watch

app = typer.Typer(
    help="Measure how fast this machine verifies, against peers, with its error rates."
)

PARTS: Final[Mapping[str, tuple[str, str]]] = {
    "latency": ("stages", "Milliseconds per stage on a drawn face; needs no photographs."),
    "accuracy": ("accuracy", "FMR and FNMR over photographs, pair by pair."),
    "liveness": ("liveness", "APCER and BPCER over samples and simulated presentations."),
    "sessions": ("sessions", "False and lost credit in thousands of simulated lessons."),
    "memory": ("memory", "Memory of a worker over many checks."),
    "streams": ("streams", "Learners over WebSockets, the cost of video, memory of streams."),
}
"""Command -> module of `benchmarks` with a `main`, and what it measures."""


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few rounds and small sets: a look, no claim.")
    ] = False,
    pack: Annotated[
        str | None, typer.Option(help="Model pack (default: that of the settings).")
    ] = None,
    provider: Annotated[
        Provider | None,
        typer.Option(help="What runs the networks (default: that of the settings)."),
    ] = None,
    against: Annotated[
        Provider | None,
        typer.Option(help="Compare results with this provider's, too (default: cpu, for cuda)."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for bench.json and bench.html.")
    ] = Path("var/bench"),
    section: Annotated[
        list[str] | None,
        typer.Option(help="Measure this part only; repeat it for several. See docs/benchmarks.md."),
    ] = None,
    faces: Annotated[
        Path | None,
        typer.Option(help="Folder of photographs [BENREN_FACES, else shared/faces beside]."),
    ] = None,
    kept: Annotated[
        Path | None,
        typer.Option(help="What python -m benchmarks.kept printed, for the table of targets."),
    ] = None,
    memory: Annotated[
        Path | None,
        typer.Option(help="What python -m benchmarks.memory printed, for that table."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file (TOML).")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the targets as JSON Lines.")] = False,
) -> None:
    """Measure everything and write bench.json and bench.html; exit code 1 where a part fails.

    Without a command: stages, throughput, HTTP service, peers, roofline, capacity, memory and error
    rates in one run, each in a process of its own. Leave the machine alone meanwhile.
    """
    if context.invoked_subcommand is not None:
        return
    from benchmarks.bench import chosen_sections, read_elsewhere, run  # noqa: PLC0415 - heavy
    from benchmarks.frames import find_faces  # noqa: PLC0415
    from benchmarks.job import Job  # noqa: PLC0415
    from benren.config import Config, load_settings  # noqa: PLC0415
    from verifier.models.installation import check_installation  # noqa: PLC0415

    check_installation()
    settings = load_settings(Config, config, pack=pack, provider=provider)
    if against == settings.provider:
        raise BadRequest(f"{against} is the provider of the run.", remedy="Name another one.")
    other = against or ("cpu" if settings.provider.startswith("cuda") else "")
    job = Job(
        pack=settings.pack,
        faces=find_faces(faces),
        quick=quick,
        provider=settings.provider,
        against=other,
    )
    names = chosen_sections(job, section or [])
    files = {"kept": kept, "long_memory": memory}
    found = {name: read_elsewhere(name, path) for name, path in files.items() if path is not None}
    with _progress(names, quiet=json) as watch:
        ran = run(job, output, sections=names, watch=watch, command=_command(), handed_in=found)
    for row in ran.record["targets"]:
        if json:
            emit(row)
        elif row["state"] != "not measured":
            out().print(_told_target(row), soft_wrap=True, markup=False)
    if json:
        emit({"json": str(ran.json_file), "html": str(ran.html_file), "failed": ran.failed})
    else:
        out().print(f"\nReport: {ran.html_file}", soft_wrap=True, markup=False)
    for why in ran.failed.values():
        complain(BenrenError(why), as_json=json)
    if ran.failed:
        raise typer.Exit(1)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="bench.json of the earlier run.")],
    after: Annotated[Path, typer.Argument(help="bench.json of the later run.")],
    *,
    threshold: Annotated[
        float, typer.Option(help="Relative change from which on it counts, beyond noise.")
    ] = 0.05,
    every: Annotated[bool, typer.Option("--all", help="Show what did not change, too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON Lines.")] = False,
) -> None:
    """Mark what became slower or worse between two runs; exit code 1 where something did.

    A change counts where it is beyond the threshold and beyond three standard errors of the rounds;
    of fewer than four rounds, as in quick runs, nothing is compared. Of different machines, packs
    or lengths only ratios and error rates are. A section that failed in the later run ends with
    exit code 1 too.
    """
    from benchmarks.compare_runs import compare as compare_runs  # noqa: PLC0415
    from benchmarks.compare_runs import read_run  # noqa: PLC0415

    comparison = compare_runs(read_run(before), read_run(after), threshold=threshold)
    if json:
        told = comparison.to_json()
        for row in told.pop("rows"):
            emit(row)
        emit(told)
    else:
        _tell_comparison(comparison, every=every)
    if comparison.regressions or comparison.failed:
        raise typer.Exit(1)


def _part(name: str, module: str, about: str) -> None:
    """Add a command that hands its options on to a module of `benchmarks`."""

    @app.command(
        name,
        help=f"{about} Its own options: benren bench {name} -- --help.",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )
    def part(context: typer.Context) -> None:
        from verifier.models.installation import check_installation  # noqa: PLC0415

        check_installation()
        raise typer.Exit(importlib.import_module(f"benchmarks.{module}").main(context.args))


for _name, (_module, _about) in PARTS.items():
    _part(_name, _module, _about)


@contextmanager
def _progress(names: list[str], *, quiet: bool) -> Iterator[Watch]:
    """Show how far each section is, on stderr; several may run at a time."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    from benchmarks.sections import SECTIONS  # noqa: PLC0415

    held = threading.Lock()
    with Progress(
        TextColumn("{task.fields[title]:<14}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.description}", style="dim"),
        console=err(),
        disable=quiet,
    ) as progress:
        tasks = {
            name: progress.add_task("waits", total=1.0, start=False, title=SECTIONS[name].title)
            for name in names
        }

        def watch(name: str, done: float, what: str) -> None:
            with held:
                progress.start_task(tasks[name])
                progress.update(tasks[name], completed=done, description=what)
                if done >= 1:
                    progress.stop_task(tasks[name])

        yield watch


def _command() -> str:
    """Give the command as it was called, without the path of the program."""
    return " ".join(["benren", *sys.argv[1:]])


def _told_target(row: Mapping[str, Any]) -> str:
    binds = f"\n        {row['binds']}" if row["binds"] else ""
    state = row["state"].upper() if row["state"] == "missed" else row["state"]
    return f"{state:<7} {row['what']}: {row['measured']} ({row['wanted']}){binds}"


def _tell_comparison(comparison: Comparison, *, every: bool) -> None:
    from benchmarks.compare_runs import Change  # noqa: PLC0415

    console = out()
    for difference in comparison.differences:
        console.print(f"Not the same: {difference}.", soft_wrap=True, markup=False)
    for name, why in comparison.failed.items():
        console.print(f"failed       {name}: {why}", soft_wrap=True, markup=False)
    loud = (Change.REGRESSION, Change.IMPROVEMENT, Change.GONE, Change.NEW)
    for row in comparison.rows:
        if every or row.change in loud:
            console.print(_told_row(row), soft_wrap=True, markup=False)
    without = (Change.NOT_COMPARED, Change.NEW, Change.GONE)
    compared = [row for row in comparison.rows if row.change not in without]
    unknown = sum(
        row.change is Change.NOT_COMPARED and row.noise is None for row in comparison.rows
    )
    console.print(
        f"{len(comparison.regressions)} regressions among {len(compared)} metrics compared;"
        f" {unknown} have too few rounds to compare.",
        markup=False,
    )


def _told_row(row: Row) -> str:
    before = "-" if row.before is None else f"{row.before:.4g}"
    after = "-" if row.after is None else f"{row.after:.4g}"
    moved = ""
    if row.worse_by is not None and row.noise is not None:
        sign = "worse by" if row.worse_by > 0 else "better by"
        moved = f", {sign} {abs(row.worse_by):.1%} (noise {row.noise:.1%})"
    return f"{row.change.value:<12} {row.name}: {before} -> {after} {row.unit}{moved}"
