"""`benren invite`: registers a learner, or names one, and prints the link to the learner's page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from benren.console import emit, err

app = typer.Typer()


@app.command()
def invite(
    *,
    learner: Annotated[
        str | None, typer.Option(help="Whom to invite [a new learner is registered].")
    ] = None,
    category: Annotated[str, typer.Option(help="Of a new learner.")] = "principal",
    track: Annotated[
        Literal["initial", "refresher"],
        typer.Option(help="Of a new learner; refresher may begin with a selfie."),
    ] = "refresher",
    industry: Annotated[str, typer.Option(help="Of a new learner's business.")] = "general",
    business: Annotated[str, typer.Option(help="Your reference of the business.")] = "try-out",
    photo: Annotated[
        Path | None,
        typer.Option(help="Identity photograph that you have checked: enrols and approves it."),
    ] = None,
    server: Annotated[
        str, typer.Option(help="Where the service answers; links begin with it.")
    ] = "http://127.0.0.1:8000",
    api_key: Annotated[
        str,
        typer.Option(
            envvar="BENREN_API_KEY",
            help="Where keys are configured: scope tracker; with --photo verifier and staff too.",
        ),
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print a link and a code with which a learner signs in, once, on his telephone or here.

    Works on a service that runs. An earlier link of the same learner is void then.
    """
    import asyncio  # noqa: PLC0415

    from benren.client import BenrenClient, Invited  # noqa: PLC0415
    from verifier.errors import BadRequest  # noqa: PLC0415

    try:
        picture = None if photo is None else photo.read_bytes()
    except OSError as error:
        raise BadRequest(f"{photo} cannot be read: {error.strerror}.") from error

    async def made() -> tuple[str, Invited]:
        async with BenrenClient(server, api_key=api_key) as client:
            learner_id = learner or await client.register(
                category=category, track=track, industry=industry, business_ref=business
            )
            if picture is not None:
                face = await client.enrol(learner_id, picture)
                await client.put_template(learner_id, face.template)
                await client.approve(
                    learner_id, reason="enrolled by staff with `benren invite`", face_compared=True
                )
            return learner_id, await client.invite(learner_id)

    learner_id, invited = asyncio.run(made())
    link = f"{server.rstrip('/')}/learn/#t={invited.link_token}"
    if json:
        emit(
            {
                "learner_id": learner_id,
                "link": link,
                "code": invited.code,
                "code_expires_utc_ms": invited.code_expires_utc_ms,
                "expires_utc_ms": invited.expires_utc_ms,
            }
        )
        return
    told = (
        f"Learner {learner_id}. The link below works once, for three days; or type the code\n"
        f"{invited.code} at {server.rstrip('/')}/learn/ within half an hour."
    )
    err().print(told, soft_wrap=True)
    typer.echo(link)
