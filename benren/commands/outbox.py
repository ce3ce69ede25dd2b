"""`benren outbox secret | status | replay`: what receivers of events have heard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from benren.console import emit, err

if TYPE_CHECKING:
    from session_tracker.outbox import Outbox

app = typer.Typer(help="Receivers of events: secrets, standing, replay.", no_args_is_help=True)
T = TypeVar("T")

ConfigFile = Annotated[Path | None, typer.Option("--config", help="Settings file (TOML).")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Database and secrets.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON Lines.")]


@app.command()
def secret() -> None:
    """Make a secret for a receiver: it goes into DATA/webhooks/NAME and to the receiver.

    To change it over, put the new one on a second line, restart, give it to the receiver, and
    take the old line away: in between every message has both signatures.
    """
    import secrets  # noqa: PLC0415

    from session_tracker.webhooks import write_secret  # noqa: PLC0415

    typer.echo(write_secret(secrets.token_bytes(32)))


@app.command()
def status(*, config: ConfigFile = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Tell of every receiver what it has heard; 1 where something is parked."""
    found = asyncio.run(_with_outbox(config, data_dir, lambda outbox: outbox.standing()))
    for s in found:
        if json:
            emit(
                {
                    "target": s.target,
                    "pending": s.pending,
                    "parked": s.parked,
                    "delivered": s.delivered,
                    "oldest_pending_ms": s.oldest_pending_ms,
                    "last_failure": s.last_failure,
                }
            )
        else:
            failure = f", last failure: {s.last_failure}" if s.last_failure else ""
            typer.echo(
                f"{s.target}: {s.delivered} delivered, {s.pending} pending,"
                f" {s.parked} parked{failure}"
            )
    if any(s.parked for s in found):
        raise typer.Exit(1)


@app.command()
def replay(
    target: Annotated[str, typer.Argument(metavar="NAME", help="A configured receiver.")],
    *,
    since: Annotated[str, typer.Option("--since", help="Instant such as 2026-11-24T08:00:00Z.")],
    until: Annotated[str, typer.Option("--until", help="The same; default: now.")] = "",
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Have events of that time delivered again, in order. The running service sends them."""
    since_ms, until_ms = _instant(since), _instant(until) if until else 2**53 - 1
    count = asyncio.run(
        _with_outbox(
            config,
            data_dir,
            lambda outbox: outbox.replay(target, since_ms=since_ms, until_ms=until_ms),
        )
    )
    err().print(f"{count} events will be sent to {target} again.")


def _instant(text: str) -> int:
    from datetime import datetime  # noqa: PLC0415

    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no instant such as 2026-11-24T08:00:00Z") from error
    if at.tzinfo is None:
        raise typer.BadParameter(f"{text!r} names no time zone: add Z or +08:00")
    return round(at.timestamp() * 1_000)


async def _with_outbox(
    config: Path | None, data_dir: Path | None, work: Callable[[Outbox], Awaitable[T]]
) -> T:
    import os  # noqa: PLC0415

    from benren.config import Config, load_settings  # noqa: PLC0415
    from benren.receivers import targets_of  # noqa: PLC0415
    from session_tracker.outbox import Outbox  # noqa: PLC0415
    from session_tracker.store.database import Database  # noqa: PLC0415
    from verifier.clock import SystemClock  # noqa: PLC0415

    settings = load_settings(Config, config, data_directory=data_dir)
    database = Database(settings.database)
    outbox = Outbox(database, targets_of(settings, os.environ), SystemClock())
    await database.open_beside()
    try:
        return await work(outbox)
    finally:
        await database.close()
