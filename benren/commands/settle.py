"""`benren settle`: every course in one pass, derived from its facts, held against the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from benren.console import emit, err

app = typer.Typer()


@app.command()
def settle(
    *,
    db: Annotated[
        str | None,
        typer.Option("--db", metavar="URL", help="Database (default: that of the settings)."),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="Settings file (TOML).")] = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Database and keys.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print an object per course.")] = False,
) -> None:
    """Derive what every course comes to, a course at a time; nothing is written.

    1 where a settlement in the ledger says something else than the facts. A service that runs
    settles anew by itself whatever changes.
    """
    import asyncio  # noqa: PLC0415

    from benren.config import Config, load_settings  # noqa: PLC0415

    url = db if db is not None else load_settings(Config, config, data_directory=data_dir).database
    count, seconds, reached, differing, unfinished = asyncio.run(_pass(url, as_json=json))
    err().print(
        f"{count} courses, {seconds / 3_600:.1f} hours credited, {reached} at their target, "
        f"{unfinished} with a session that is not settled."
    )
    if differing:
        err().print(f"{differing} settlements say something else than the facts.")
        raise typer.Exit(1)


async def _pass(url: str, *, as_json: bool) -> tuple[int, int, int, int, int]:
    from session_tracker.programmes import Programmes  # noqa: PLC0415
    from session_tracker.settle_all import settle_all  # noqa: PLC0415
    from session_tracker.settlement import Settlement  # noqa: PLC0415
    from session_tracker.store.database import Database  # noqa: PLC0415
    from verifier.clock import SystemClock  # noqa: PLC0415

    clock = SystemClock()
    database = Database(url)
    await database.open_to_read()
    count = seconds = reached = differing = unfinished = 0
    try:
        programmes = Programmes(database, clock)
        await programmes.read()
        settlement = Settlement(database, programmes, clock, kept_facts=0)
        now_ms = clock.stamp().utc_ms
        async for outcome in settle_all(database, settlement, now_ms=now_ms):
            count += 1
            seconds += outcome.credited_s
            reached += outcome.reached
            differing += outcome.regraded
            unfinished += outcome.open_sessions > 0
            if as_json:
                emit(_as_json(outcome))
    finally:
        await database.close()
    return count, seconds, reached, differing, unfinished


def _as_json(outcome: Any) -> dict[str, Any]:
    course = outcome.course
    return {
        "learner_id": course.learner_id,
        "programme": course.programme,
        "course": course.course,
        "policy_version": course.policy_version,
        "track": str(course.track),
        "sessions": outcome.sessions,
        "open_sessions": outcome.open_sessions,
        "credited_s": outcome.credited_s,
        "provisional_s": outcome.provisional_s,
        "pending_s": outcome.pending_ms // 1_000,
        "target_s": outcome.target_s,
        "reached": outcome.reached,
        "certificate": outcome.certificate,
        "differing": outcome.regraded,
    }
