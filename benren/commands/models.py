"""`benren models list|pull|verify`: which weights there are, where they lie, and if they work."""

from __future__ import annotations

from typing import Annotated

import typer

from verifier.models.backend import Provider

app = typer.Typer(
    help="Which weights there are, where they lie, and if they work.", no_args_is_help=True
)

_HELP = "A pack (open, edgeface, insightface:<name or folder>), or one file of the manifest."
PackArgument = Annotated[str, typer.Argument(metavar="[PACK]", help=_HELP)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON Lines.")]


@app.command("list")
def list_models(pack: PackArgument = "", as_json: JsonOption = False) -> None:
    """Show packs with their files, licences, measured error rates and milliseconds."""
    from benren.model_files import ModelFiles  # noqa: PLC0415 - heavy

    _end(ModelFiles(as_json=as_json).tell(pack))


@app.command()
def pull(
    pack: PackArgument = "open",
    accept_licence: Annotated[
        bool,
        typer.Option("--accept-licence", help="Accept the terms of InsightFace's weights, once."),
    ] = False,
    upstream: Annotated[
        str,
        typer.Option(
            help="Folder or base address with the upstream files of the open pack;"
            " default: BENREN_UPSTREAM, else the public address."
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Fetch or prepare what is missing of a pack; every file is proven by its digest."""
    from benren.model_files import ModelFiles  # noqa: PLC0415

    files = ModelFiles(as_json=as_json)
    _end(files.pull(pack, accept_licence=accept_licence, upstream=upstream or None))


@app.command()
def verify(
    pack: PackArgument = "open",
    provider: Annotated[Provider, typer.Option(help="What runs the networks.")] = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Hash every file of a pack and run each network once."""
    from benren.model_files import ModelFiles  # noqa: PLC0415

    _end(ModelFiles(as_json=as_json).verify(pack, provider=provider))


def _end(succeeded: bool) -> None:
    if not succeeded:
        raise typer.Exit(1)
