"""`benren ledger verify | export`: has anything been altered, and a copy for others to check."""

from __future__ import annotations

import asyncio
import json as jsonlib
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from benren.console import emit, err

if TYPE_CHECKING:
    from session_tracker.audit import Audit
    from session_tracker.ledger import Head
    from session_tracker.store.database import Database
    from verifier.keys import KeyRing


class Kind(StrEnum):
    """What an export holds."""

    LEDGER = "ledger"
    HOURS_CSV = "hours-csv"
    HOURS_JSONL = "hours-jsonl"
    XAPI = "xapi"
    SCORES = "scores"
    SAMPLE = "sample"


app = typer.Typer(help="Verify and export the ledger.", no_args_is_help=True)

Db = Annotated[
    str | None,
    typer.Option("--db", metavar="URL", help="Database (default: that of the settings)."),
]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="Settings file (TOML).")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Database and keys.")]


@app.command()
def verify(
    *,
    db: Db = None,
    export: Annotated[
        Path | None, typer.Option("--export", help="Check this export, not the database.")
    ] = None,
    head: Annotated[
        list[Path] | None,
        typer.Option("--head", help="A head kept from GET /v1/ledger/head; several times."),
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option("--public-key", help="Public keys as `benren keys show` prints them."),
    ] = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check every entry, the tree over them and every signed head; 1 where something is wrong.

    What was cut off after the last head that somebody holds cannot be proven: keep heads, and
    give them with --head.
    """
    if db is not None and export is not None:
        raise typer.BadParameter("--db and --export exclude each other")
    held = [_read_head(path) for path in head or []]
    ring = _ring(public_key, held, config, data_dir)
    if export is not None:
        from session_tracker.ledger_file import audit_export  # noqa: PLC0415

        audit = audit_export(export, ring, held=held)
    else:
        audit = asyncio.run(_audit(_url(db, config, data_dir), ring, held))
    _tell(audit, as_json=json)
    if not audit.intact:
        raise typer.Exit(1)


@app.command(name="export")
def export_command(
    *,
    db: Db = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write [standard output].")
    ] = None,
    what: Annotated[
        Kind, typer.Option("--what", help="The whole ledger, or hours of a period for others.")
    ] = Kind.LEDGER,
    since: Annotated[
        str, typer.Option("--since", help="Settled from this instant: 2026-11-01T00:00:00+08:00.")
    ] = "",
    until: Annotated[str, typer.Option("--until", help="Settled before this instant.")] = "",
    seed: Annotated[
        str, typer.Option("--seed", help="Of the sample: whoever has it draws it.")
    ] = "",
    count: Annotated[int, typer.Option("--count", min=1, max=1_000, help="Sessions drawn.")] = 10,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Write the ledger with its signed heads as JSON Lines: `verify --export` checks it.

    With --what: settled hours as CSV or JSON Lines, xAPI statements, LTI scores, or a sample for
    a spot check, up to the newest signed head.
    """
    if what is Kind.SAMPLE and not seed:
        raise typer.BadParameter("a sample needs a --seed", param_hint="--seed")
    begin, end = _instant(since, 0), _instant(until, 2**53 - 1)

    async def write(database: Database, out: TextIO) -> int:
        from session_tracker.ledger_file import export_ledger  # noqa: PLC0415

        if what is Kind.LEDGER:
            return await export_ledger(database, out)
        written = 0
        async for line in _hours(database, what, (begin, end), seed=seed, count=count):
            out.write(line)
            written += 1
        return written

    written = asyncio.run(_export(_url(db, config, data_dir), output, write))
    err().print(f"{written} {'entries' if what is Kind.LEDGER else 'lines'} exported.")


def _instant(text: str, default: int) -> int:
    from datetime import datetime  # noqa: PLC0415

    if not text:
        return default
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no instant such as 2026-11-24T08:00:00Z") from error
    if at.tzinfo is None:
        raise typer.BadParameter(f"{text!r} names no time zone: add Z or +08:00")
    return round(at.timestamp() * 1_000)


async def _hours(
    database: Database, what: Kind, period: tuple[int, int], *, seed: str, count: int
) -> AsyncIterator[str]:
    from session_tracker.exports import Exports, Period  # noqa: PLC0415
    from session_tracker.ledger import Ledger  # noqa: PLC0415
    from session_tracker.programmes import Programmes  # noqa: PLC0415
    from verifier.clock import SystemClock  # noqa: PLC0415
    from verifier.errors import Conflict  # noqa: PLC0415
    from verifier.keys import KeyRing  # noqa: PLC0415

    clock = SystemClock()
    book = Ledger(database, KeyRing.generate(clock), clock)  # signs nothing here
    head = await book.newest_head()
    if head is None:
        raise Conflict("No head was signed yet.", remedy="Start the service once: it signs one.")
    programmes = Programmes(database, clock)
    await programmes.read()
    exports = Exports(database, book, programmes)
    asked = Period(since_ms=period[0], until_ms=period[1])
    lines = {
        Kind.HOURS_CSV: lambda: exports.hours_csv(asked, head),
        Kind.HOURS_JSONL: lambda: exports.hours_jsonl(asked, head),
        Kind.XAPI: lambda: exports.xapi(asked, head),
        Kind.SCORES: lambda: exports.scores(head),
        Kind.SAMPLE: lambda: exports.sample(asked, head, seed=seed, count=count),
    }
    async for line in lines[what]():
        yield line


async def _audit(url: str, ring: KeyRing, held: list[Head]) -> Audit:
    from session_tracker.audit import audit_database  # noqa: PLC0415
    from session_tracker.store.database import Database  # noqa: PLC0415

    database = Database(url)
    await database.open_to_read()
    try:
        return await audit_database(database, ring, held=held)
    finally:
        await database.close()


async def _export(
    url: str, output: Path | None, write: Callable[[Database, TextIO], Awaitable[int]]
) -> int:
    import sys  # noqa: PLC0415

    from session_tracker.store.database import Database  # noqa: PLC0415
    from verifier.errors import BadRequest  # noqa: PLC0415

    database = Database(url)
    await database.open_to_read()
    try:
        if output is None:
            return await write(database, sys.stdout)
        with output.open("w", encoding="utf-8", newline="") as out:
            return await write(database, out)
    except OSError as error:
        raise BadRequest(f"{output} cannot be written: {error.strerror}.") from error
    finally:
        await database.close()


def _tell(audit: Audit, *, as_json: bool) -> None:
    if as_json:
        emit(
            {
                "intact": audit.intact,
                "entries": audit.entries,
                "root": audit.root,
                "heads": audit.heads,
                "last_head_size": audit.last_head_size,
                "findings": [
                    {"what": f.what, "index": f.index, "detail": f.detail} for f in audit.findings
                ],
            }
        )
        return
    for finding in audit.findings:
        typer.echo(f"{finding.what}, entry {finding.index}: {finding.detail}")
    state = "intact" if audit.intact else "NOT intact"
    typer.echo(f"The ledger is {state}: {audit.entries} entries, {audit.heads} signed heads.")
    typer.echo(f"root {audit.root}")
    loose = audit.entries - audit.last_head_size
    if loose > 0:
        typer.echo(f"The last {loose} entries are under no signed head yet.")


def _read_head(path: Path) -> Head:
    from session_tracker.ledger import read_head  # noqa: PLC0415
    from verifier.errors import BadRequest  # noqa: PLC0415

    try:
        return read_head(jsonlib.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadRequest(
            f"{path} is not a signed head.", remedy="Keep what GET /v1/ledger/head answers."
        ) from error


def _url(db: str | None, config: Path | None, data_dir: Path | None) -> str:
    from benren.config import Config, load_settings  # noqa: PLC0415

    if db is not None:
        return db
    return load_settings(Config, config, data_directory=data_dir).database


def _ring(
    public_key: Path | None, held: list[Head], config: Path | None, data_dir: Path | None
) -> KeyRing:
    import os  # noqa: PLC0415

    from benren.config import Config, load_settings  # noqa: PLC0415
    from session_tracker.public_keys import read_public_keys  # noqa: PLC0415
    from verifier.errors import BadRequest  # noqa: PLC0415
    from verifier.keys import KeyRing  # noqa: PLC0415

    if public_key is None:
        keys = load_settings(Config, config, data_directory=data_dir).keys
        return KeyRing.load(keys if keys.is_dir() else None, os.environ)
    try:
        content = public_key.read_bytes()
    except OSError as error:
        raise BadRequest(f"{public_key} cannot be read: {error.strerror}.") from error
    return read_public_keys(content, key_ids={h.signature.partition(".")[0] for h in held})
