"""`benren settle`: every course in one pass, derived from its facts, held against the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from benren.console import emit, err

app = typer.Typer()


@dataclass(slots=True)
class _Sums:
    """What all courses come to."""

    courses: int = 0
    seconds: int = 0
    reached: int = 0
    differing: int = 0
    unfinished: int = 0
    revoked: list[str] = field(default_factory=list)

    def add(self, found: dict[str, Any]) -> None:
        self.courses += 1
        self.seconds += found["credited_s"]
        self.reached += found["reached"]
        self.differing += found["differing"]
        self.unfinished += found["open_sessions"] > 0
        if found["revoked"]:
            self.revoked.append(found["revoked"])


@app.command()
def settle(
    *,
    write: Annotated[
        bool,
        typer.Option(
            "--write", help="Have the service that runs (--server) settle anew what differs."
        ),
    ] = False,
    server: Annotated[
        str, typer.Option(help="With --write: where the service answers.")
    ] = "http://127.0.0.1:8000",
    api_key: Annotated[
        str,
        typer.Option(
            envvar="BENREN_API_KEY",
            help="With --write, where keys are configured: one with the scope admin.",
        ),
    ] = "",
    db: Annotated[
        str | None,
        typer.Option("--db", metavar="URL", help="Database (default: that of the settings)."),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="Settings file (TOML).")] = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Database and keys.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print an object per course.")] = False,
) -> None:
    """Derive what every course comes to, a course at a time.

    Without --write nothing is written, and 1 says that a settlement in the ledger says something
    else than the facts. With it the running service does for every course what it does after a
    decision: settle anew, revoke a certificate whose hours are void, issue one that is due. Broken
    off, begin it anew: what is done is not done twice.
    """
    import asyncio  # noqa: PLC0415

    if write:
        if (db, config, data_dir) != (None, None, None):
            raise typer.BadParameter("--write asks a service that runs: name it with --server")
        _tell(asyncio.run(_sums(_written(server, api_key), as_json=json)), written=True)
        return
    from benren.config import Config, load_settings  # noqa: PLC0415

    url = db if db is not None else load_settings(Config, config, data_directory=data_dir).database
    sums = asyncio.run(_sums(_derived(url), as_json=json))
    _tell(sums, written=False)
    if sums.differing:
        raise typer.Exit(1)


async def _sums(found: AsyncIterator[dict[str, Any]], *, as_json: bool) -> _Sums:
    sums = _Sums()
    async for one in found:
        sums.add(one)
        if as_json:
            emit(one)
    return sums


def _tell(sums: _Sums, *, written: bool) -> None:
    err().print(
        f"{sums.courses} courses, {sums.seconds / 3_600:.1f} hours credited,"
        f" {sums.reached} at their target, {sums.unfinished} with a session that is not settled."
    )
    if sums.differing and written:
        err().print(f"{sums.differing} sessions were settled anew.")
    elif sums.differing:
        err().print(f"{sums.differing} settlements say something else than the facts.")
    for number in sums.revoked:
        err().print(f"The certificate {number} was revoked: too few of its hours are left.")


async def _written(server: str, api_key: str) -> AsyncIterator[dict[str, Any]]:
    from benren.client import BenrenClient  # noqa: PLC0415

    async with BenrenClient(server, api_key=api_key) as client:
        async for found in client.settle_courses():
            yield {name: value for name, value in found.items() if name != "type"}


async def _derived(url: str) -> AsyncIterator[dict[str, Any]]:
    from session_tracker.programmes import Programmes  # noqa: PLC0415
    from session_tracker.settle_all import settle_all  # noqa: PLC0415
    from session_tracker.settlement import Settlement  # noqa: PLC0415
    from session_tracker.store.database import Database  # noqa: PLC0415
    from verifier.clock import SystemClock  # noqa: PLC0415

    clock = SystemClock()
    database = Database(url)
    await database.open_to_read()
    try:
        programmes = Programmes(database, clock)
        await programmes.read()
        settlement = Settlement(database, programmes, clock, kept_facts=0)
        now_ms = clock.stamp().utc_ms
        async for outcome in settle_all(database, settlement, now_ms=now_ms):
            yield outcome.as_json()
    finally:
        await database.close()
