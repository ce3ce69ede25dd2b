"""`benren bench [WHAT]`: measurements through the same engine as production."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Annotated, Final

import typer

app = typer.Typer()

BENCHMARKS: Final[Mapping[str, tuple[str, str]]] = {
    "latency": ("stages", "milliseconds per stage and frames per second on this machine"),
    "accuracy": ("accuracy", "FMR and FNMR over photographs: --faces DIR"),
    "liveness": ("liveness", "APCER and BPCER over photographs: --faces DIR"),
    "sessions": ("sessions", "share of an impostor's seconds credited, in simulated lessons"),
}
"""Name -> module of `benchmarks` with a `main`, and what it measures."""


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            help="; ".join(f"{name}: {about}" for name, (_, about) in BENCHMARKS.items())
        ),
    ] = "latency",
) -> None:
    """Measure this machine, or the error rates of a pack. Options after WHAT go to it (--json)."""
    if what not in BENCHMARKS:
        raise typer.BadParameter(f"there is no benchmark {what}; choose of {', '.join(BENCHMARKS)}")
    from verifier.models.installation import check_installation  # noqa: PLC0415

    check_installation()
    module = importlib.import_module(f"benchmarks.{BENCHMARKS[what][0]}")
    raise typer.Exit(module.main(context.args))
