"""`benren demo`: whole lessons with simulated cameras, judged against their script."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benren.console import emit, err, out

if TYPE_CHECKING:
    from benren.config import Config
    from benren.demo.album import Album
    from benren.demo.report import Play

app = typer.Typer()


@app.command()
def demo(
    *,
    output: Annotated[Path, typer.Option("--out", help="Where report and certificate go.")] = Path(
        "var/demo"
    ),
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", help="Keep database and keys here (default: temporary)."),
    ] = None,
    faces: Annotated[
        Path | None, typer.Option(help="Folder with the photographs (default: ../shared/faces).")
    ] = None,
    pack: Annotated[str | None, typer.Option(help="Model pack [open].")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON Lines, one per learner.")
    ] = False,
) -> None:
    """Play whole lessons through the HTTP API with compressed time: the learner, and impostors.

    Prints what each was credited and why the rest is void, writes a report, has the learner's
    certificate checked, and shows that one changed byte of the ledger is found. Exit code 1 where
    anything comes otherwise than the script of who sat there demands.
    """
    from tempfile import TemporaryDirectory  # noqa: PLC0415

    from benren.config import Config, load_settings  # noqa: PLC0415
    from benren.demo.album import open_album  # noqa: PLC0415
    from benren.demo.report import write_report  # noqa: PLC0415

    album = open_album(faces)
    _make(output)
    with contextlib.ExitStack() as stack:
        place = data_dir or Path(stack.enter_context(TemporaryDirectory(prefix="benren-demo-")))
        config = load_settings(
            Config,
            data_directory=place,
            key_directory=place / "keys",
            database_url="",
            host="127.0.0.1",
            only="both",
            policies=("demo",),
            api_keys=(),
            pack=pack,
        )
        play = _play(config, album, output, quiet=json)
    report = output / "report.html"
    write_report(play, report)
    if json:
        for outcome in play.outcomes:
            emit(outcome.as_json())
        err().print(f"report: {report}", markup=False)
    else:
        _tell(play, report)
    if not play.holds:
        _complain(play)
        raise typer.Exit(1)


def _play(config: Config, album: Album, output: Path, *, quiet: bool) -> Play:
    import asyncio  # noqa: PLC0415
    import logging  # noqa: PLC0415

    from benren.demo.show import run  # noqa: PLC0415

    logging.basicConfig(level=logging.ERROR)  # made-up keys in a temporary place need no warning
    if album.mechanics_only:
        err().print(
            f"Faces: {album.source}. This shows the mechanics only: enrolment and camera show the "
            "same picture, and nothing is judged."
        )
    with _progress(shown=not quiet) as progress:
        return asyncio.run(run(config, album, output, progress=progress))


def _make(output: Path) -> None:
    from tempfile import TemporaryFile  # noqa: PLC0415

    from verifier.errors import ConfigurationError  # noqa: PLC0415

    try:
        output.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=output):  # told now, not after the lessons were played
            pass
    except OSError as error:
        raise ConfigurationError(
            f"The directory {output} cannot be written: {error.strerror}.",
            remedy="Name another with --out.",
        ) from error


@contextlib.contextmanager
def _progress(*, shown: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr while the lessons run."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    from benren.demo.cast import LESSON_S  # noqa: PLC0415
    from benren.demo.report import clock  # noqa: PLC0415

    columns = (
        TextColumn("Lesson"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[at]} of " + clock(LESSON_S)),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err(), disable=not shown, transient=True) as bar:
        task = bar.add_task("", total=LESSON_S, at=clock(0))
        yield lambda second: bar.update(task, completed=second, at=clock(second))


def _tell(play: Play, report: Path) -> None:
    """Print the table and what was proven."""
    from rich.table import Table  # noqa: PLC0415

    from benren.words import DECISIONS_SHORT, VOID_REASONS_SHORT  # noqa: PLC0415

    console = out()
    table = Table(title="Who studied, and what was credited", title_justify="left", expand=True)
    table.add_column("Lesson", ratio=4, min_width=16)
    table.add_column("Watched", justify="right", no_wrap=True)
    table.add_column("Credited", justify="right", no_wrap=True, style="bold")
    table.add_column("Void, because", ratio=4, min_width=22)
    table.add_column("Decisions", ratio=3, min_width=15)
    table.add_column("OK", justify="center", no_wrap=True)
    for outcome, finding in zip(play.outcomes, play.findings, strict=True):
        void = [f"{VOID_REASONS_SHORT.get(r, r)}: {s} s" for r, s in outcome.void_s.items()]
        checks = [f"{n} × {DECISIONS_SHORT.get(d, d)}" for d, n in outcome.checks.items()]
        table.add_row(
            outcome.role.title,
            f"{outcome.watched_s} s",
            f"{outcome.credited_s} s",
            "\n".join(void) or "-",
            "\n".join(checks) or "-",
            _mark(holds=finding.holds, judged=not play.album.mechanics_only),
            end_section=True,
        )
    console.print(table)
    console.print("OK: as the script of who sat there demands.\n", style="dim")
    for proof in play.proofs:
        console.print(f"{_mark(holds=proof.holds)} {proof.title}")
        console.print(f"  $ {proof.command}", style="dim", markup=False, soft_wrap=True)
    console.print(f"\nReport: {report}", markup=False, soft_wrap=True)


def _mark(*, holds: bool, judged: bool = True) -> str:
    if not judged:
        return "[dim]-[/dim]"
    return "[green]yes[/green]" if holds else "[red]NO[/red]"


def _complain(play: Play) -> None:
    console = err()
    if not play.album.mechanics_only:
        for outcome, finding in zip(play.outcomes, play.findings, strict=True):
            if not finding.holds:
                console.print(
                    f"{outcome.role.title}: demanded {finding.demand}; found {finding.found}",
                    markup=False,
                )
    for proof in play.proofs:
        if not proof.holds:
            console.print(f"{proof.title}: {proof.output}", markup=False)
