"""`benren bench [WHAT]`: measurements through the same engine as production."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Annotated, Final

import typer

app = typer.Typer()

BENCHMARKS: Final[Mapping[str, str]] = {
    "latency": "milliseconds per stage and frames per second on this machine",
    "accuracy": "FMR and FNMR over photographs: --faces DIR",
    "liveness": "APCER and BPCER over photographs: --faces DIR",
    "sessions": "share of an impostor's seconds credited, over thousands of simulated lessons",
}
"""Module of `benchmarks` -> what it measures; each takes options of its own."""


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(
    context: typer.Context,
    what: Annotated[
        str, typer.Argument(help="; ".join(f"{k}: {v}" for k, v in BENCHMARKS.items()))
    ] = "latency",
) -> None:
    """Measure this machine, or the error rates of a pack. Options after WHAT go to it (--json)."""
    if what not in BENCHMARKS:
        raise typer.BadParameter(f"there is no benchmark {what}; choose of {', '.join(BENCHMARKS)}")
    from verifier.models.installation import check_installation  # noqa: PLC0415

    check_installation()
    module = importlib.import_module(f"benchmarks.{what}")
    raise typer.Exit(module.main(context.args))
