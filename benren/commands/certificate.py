"""`benren certificate verify FILE`: does a certificate of study hours hold? Needs no service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benren.console import complain, emit

if TYPE_CHECKING:
    from verifier.keys import KeyRing

app = typer.Typer(help="Verify a certificate of study hours.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Verify a certificate of study hours."""


@app.command()
def verify(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The certificate as issued, JSON or PDF.")
    ],
    *,
    public_key: Annotated[
        Path | None,
        typer.Option("--public-key", help="Keys from `benren keys show`, or a PEM [our own keys]."),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="Settings file (TOML).")] = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Where our keys are.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check signatures, check code, ledger proofs and sums, offline; 1 where it does not hold.

    A PDF is checked byte for byte, then the record inside it.

    A revocation, or a later decision on the hours, cannot be seen offline: ask the public check,
    GET /v1/certificates/NUMBER.
    """
    from session_tracker.certificate import OFFLINE_LIMITS, CertificateInvalid  # noqa: PLC0415
    from session_tracker.signed_pdf import verify_file  # noqa: PLC0415
    from verifier.errors import BadRequest, UnknownKey  # noqa: PLC0415

    try:
        document = file.read_bytes()
    except OSError as error:
        raise BadRequest(f"{file} cannot be read: {error.strerror}.") from error
    try:
        ring = _ring(document, public_key, config, data_dir)
        checked = verify_file(document, ring)
    except (CertificateInvalid, UnknownKey) as error:
        if json:
            emit({"valid": False, "code": error.code, "detail": error.detail})
        else:
            complain(error, as_json=False, about=str(file))
        raise typer.Exit(1) from error
    if json:
        found = {name: getattr(checked, name) for name in checked.__slots__}
        emit({"valid": True, **found, "note": OFFLINE_LIMITS})
        return
    typer.echo(f"The certificate {checked.number} holds (check code {checked.check_code}).")
    typer.echo(f"holder     {checked.holder}")
    typer.echo(f"programme  {checked.policy}, {checked.track}")
    typer.echo(
        f"credited   {checked.class_hours} class hours ({checked.credited_s} s) "
        f"in {checked.sessions} sessions"
    )
    typer.echo(f"issued     {checked.issued}, signed with {checked.key_id}")
    typer.echo(OFFLINE_LIMITS)


def _ring(
    document: bytes, public_key: Path | None, config: Path | None, data_dir: Path | None
) -> KeyRing:
    import os  # noqa: PLC0415

    from benren.config import Config, load_settings  # noqa: PLC0415
    from session_tracker.public_keys import read_public_keys  # noqa: PLC0415
    from session_tracker.signed_pdf import file_key_ids  # noqa: PLC0415
    from verifier.errors import BadRequest  # noqa: PLC0415
    from verifier.keys import KeyRing  # noqa: PLC0415

    if public_key is None:
        keys = load_settings(Config, config, data_directory=data_dir).keys
        return KeyRing.load(keys if keys.is_dir() else None, os.environ)
    try:
        content = public_key.read_bytes()
    except OSError as error:
        raise BadRequest(f"{public_key} cannot be read: {error.strerror}.") from error
    return read_public_keys(content, key_ids=file_key_ids(document))
