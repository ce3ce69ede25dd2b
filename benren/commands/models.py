"""`benren models`: which weights there are, where they lie, if they work; graphs for a provider."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from verifier.models.backend import Provider

app = typer.Typer(
    help="Which weights there are, where they lie, and if they work.", no_args_is_help=True
)

_HELP = "A pack (open, edgeface, insightface:<name or folder>), or one file of the manifest."
PackArgument = Annotated[str, typer.Argument(metavar="[PACK]", help=_HELP)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON Lines.")]
UpstreamOption = Annotated[
    str,
    typer.Option(
        help="Folder or base address with the upstream files of the open pack;"
        " default: BENREN_UPSTREAM, else the public address."
    ),
]


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
    upstream: UpstreamOption = "",
    as_json: JsonOption = False,
) -> None:
    """Fetch or prepare what is missing of a pack; every file is proven by its digest."""
    from benren.model_files import ModelFiles  # noqa: PLC0415

    files = ModelFiles(as_json=as_json)
    _end(files.pull(pack, accept_licence=accept_licence, upstream=upstream or None))


@app.command()
def prepare(
    pack: PackArgument = "open",
    upstream: UpstreamOption = "",
    provider: Annotated[Provider, typer.Option(help="What will run the networks.")] = "cpu",
    faces: Annotated[
        Path | None,
        typer.Option(
            help="Folder of portraits to prove the graphs on; default: BENREN_FACES, else"
            " shared/faces beside the checkout, else a drawn face.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch what is missing of a pack, rewrite its graphs for a provider, and prove each."""
    from benren.model_files import ModelFiles  # noqa: PLC0415

    files = ModelFiles(as_json=as_json)
    _end(files.prepare(pack, upstream=upstream or None, provider=provider, faces=faces))


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
