"""`benren serve`: both services, or one of them, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer()


@app.command()
def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes any free one [8000].")] = None,
    only: Annotated[
        Literal["verifier", "tracker"] | None, typer.Option(help="Run one service only.")
    ] = None,
    verifier_url: Annotated[
        str | None,
        typer.Option(
            help="Where the verifier answers, for --only tracker; key: BENREN_VERIFIER_KEY."
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Database and keys [benren-data].")
    ] = None,
    pack: Annotated[str | None, typer.Option(help="Model pack [open].")] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(help="Programme policy, a name or a path; several times [foshan-2021]."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file (TOML).")] = None,
) -> None:
    """Run the services: models proven, database migrated, keys read, then the port opens.

    Without API keys only this machine is served. Everything can be set in a TOML file, in the
    environment (BENREN_...) or by flags, the later before the earlier. SIGTERM ends it cleanly.
    """
    import asyncio  # noqa: PLC0415

    from benren.config import Config, load_settings  # noqa: PLC0415
    from benren.server import run  # noqa: PLC0415

    settings = load_settings(
        Config,
        config,
        host=host,
        port=port,
        only=only,
        verifier_url=verifier_url,
        data_directory=data_dir,
        pack=pack,
        policies=tuple(policy) if policy else None,
    )
    asyncio.run(run(settings))
