"""`benren approve LEARNER`: staff say that an enrolled face is the learner's."""

from __future__ import annotations

from typing import Annotated

import typer

from benren.console import emit

app = typer.Typer()


@app.command()
def approve(
    learner: Annotated[str, typer.Argument(metavar="LEARNER", help="As `benren invite` named it.")],
    *,
    reason: Annotated[str, typer.Option(help="Why: it is written into the ledger.")],
    server: Annotated[
        str, typer.Option(help="Where the service answers.")
    ] = "http://127.0.0.1:8000",
    api_key: Annotated[
        str, typer.Option(envvar="BENREN_API_KEY", help="Needed where keys are configured.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Confirm an enrolment: hours that waited for it count, and a certificate that is due comes."""
    import asyncio  # noqa: PLC0415

    from benren.client import BenrenClient  # noqa: PLC0415

    async def done() -> dict[str, object]:
        async with BenrenClient(server, api_key=api_key) as client:
            return await client.confirm_template(learner, reason=reason)

    confirmed = asyncio.run(done())
    if json:
        emit(confirmed)
    else:
        typer.echo(f"{learner}: enrolment {confirmed['version']} confirmed")
