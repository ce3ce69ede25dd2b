"""`benren enrol PHOTO -o FILE --subject REF`: a photograph becomes a sealed template."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benren.console import emit, out

app = typer.Typer()


@app.command()
def enrol(
    photo: Annotated[Path, typer.Argument(help="Photograph of one person.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the template goes.")],
    subject: Annotated[
        str, typer.Option(help="Your reference of the person; the template opens for it alone.")
    ],
    pack: Annotated[
        str | None, typer.Option(help="Model pack (default: that of the settings).")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file (TOML).")] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Where the keys are, or will be made.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON Lines.")] = False,
) -> None:
    """Make a template of a photograph: encrypted, bound to its subject and to the model.

    A photograph with no face, with several, or with one that is too small, blurred, dark, turned
    away or hidden is refused with the reasons (exit code 1).
    """
    from benren.compose import load_keys  # noqa: PLC0415
    from benren.config import Config, load_settings  # noqa: PLC0415
    from benren.inference import image_limits, load_engine, read_frame  # noqa: PLC0415
    from verifier.clock import SystemClock  # noqa: PLC0415
    from verifier.errors import ConfigurationError  # noqa: PLC0415
    from verifier.pipeline.templates import TemplateVault, embedding_of  # noqa: PLC0415

    settings = load_settings(Config, config, pack=pack, data_directory=data_dir)
    frame = read_frame(photo, image_limits(settings))
    engine = load_engine(settings)
    clock = SystemClock()
    enrolment = engine.enrol(frame)
    embedding = embedding_of(enrolment)
    quality = enrolment.quality.by_ofiq_name() if enrolment.quality is not None else {}
    vault = TemplateVault(
        load_keys(settings, clock), embedder=engine.models["embedder"], clock=clock
    )
    blob = vault.seal(subject=subject, embedding=embedding, quality=quality)
    try:
        output.write_bytes(blob)
    except OSError as error:
        raise ConfigurationError(
            f"The template cannot be written to {output}: {error.strerror}.",
            remedy="Name a file in a directory that this user may write.",
        ) from error
    if json:
        emit(
            {
                "photo": str(photo),
                "subject": subject,
                "template": str(output),
                "bytes": len(blob),
                "quality": quality,
                "models": dict(engine.models),
                "profile": engine.profile.version,
            }
        )
    else:
        out().print(f"{output}: template of {subject}, {len(blob)} bytes", markup=False)
