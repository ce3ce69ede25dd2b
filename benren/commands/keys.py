"""`benren keys new | rotate | show`: API keys for callers, sealing and signing keys for us."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benren.console import emit, err

app = typer.Typer(
    help="Make API keys, and rotate the keys that seal and sign.", no_args_is_help=True
)

Directory = Annotated[
    Path | None,
    typer.Option(
        "--directory", help="Key directory (default: that of the settings).", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON Lines.")]


@app.command()
def new(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Name of the caller, for logs.")],
    scope: Annotated[
        list[str],
        typer.Option(
            "--scope",
            help="verifier, tracker, staff, reviewer, institution, inspector or admin; "
            "may be given several times.",
        ),
    ],
    json: Json = False,
) -> None:
    """Make an API key: the secret for the caller, and the line for the service's settings."""
    from verifier.edge import KeyScope, new_api_key  # noqa: PLC0415

    unknown = sorted(set(scope) - {known.value for known in KeyScope})
    if unknown:
        known = ", ".join(KeyScope)
        raise typer.BadParameter(f"there is no scope {', '.join(unknown)}; choose of {known}")
    secret, line = new_api_key(key_id, [KeyScope(name) for name in scope])
    if json:
        emit({"id": key_id, "secret": secret, "line": line})
        return
    err().print("Give the first line to the caller: it is shown only now. The second goes into")
    err().print("api_keys of the settings (or BENREN_API_KEYS); it holds no secret.")
    typer.echo(secret)
    typer.echo(line)


@app.command()
def rotate(directory: Directory = None, json: Json = False) -> None:
    """Add a sealing and a signing key; they are current from the next start on.

    Older keys stay and go on opening and verifying. On the first call the directory is made.
    """
    from verifier.clock import SystemClock  # noqa: PLC0415
    from verifier.keys import add_keys, create_key_directory  # noqa: PLC0415

    place = _place(directory)
    if place.is_dir() and any(place.iterdir()):
        name = add_keys(place, SystemClock())
    else:
        name = create_key_directory(place, SystemClock()).current_signing_id
    if json:
        emit({"id": name, "directory": str(place)})
    else:
        typer.echo(f"{name} in {place}")


@app.command()
def show(directory: Directory = None) -> None:
    """Print the public keys as a JSON Web Key Set: what others verify our signatures with."""
    import os  # noqa: PLC0415

    from verifier.keys import KeyRing  # noqa: PLC0415

    place = _place(directory)
    ring = KeyRing.load(place if place.is_dir() else None, os.environ)
    emit(ring.public_jwks())


def _place(directory: Path | None) -> Path:
    from benren.config import Config, load_settings  # noqa: PLC0415

    return directory if directory is not None else load_settings(Config).keys
