"""`benren approve LEARNER`: staff approve a registration and the face that was enrolled."""

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
        str,
        typer.Option(
            envvar="BENREN_API_KEY", help="Where keys are configured: one with the scope staff."
        ),
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Approve a learner whose face you compared with the person or the identity card.

    Hours that waited for it count then, and a certificate that is due comes.
    """
    import asyncio  # noqa: PLC0415

    from benren.client import BenrenClient  # noqa: PLC0415

    async def done() -> dict[str, object]:
        async with BenrenClient(server, api_key=api_key) as client:
            return await client.approve(learner, reason=reason, face_compared=True)

    made = asyncio.run(done())
    if json:
        emit(made)
    else:
        typer.echo(f"{learner}: {made['state']}")
