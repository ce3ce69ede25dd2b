"""The command line: one command per file of `benren/commands`, imported when it is called.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage. With --json results are JSON Lines on
stdout and errors are JSON on stderr. `benren --help` imports no command, and so answers at once.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from benren.console import complain
from verifier.errors import BenrenError

COMMANDS: Final[Mapping[str, str]] = {
    "demo": "Play whole lessons with simulated cameras, and judge what was credited.",
    "serve": "Run the services over HTTP.",
    "invite": "Invite a learner: print a link to the learner's page.",
    "approve": "Confirm a learner's enrolment.",
    "models": "List, pull and verify model packs.",
    "enrol": "Make a template of a photograph.",
    "compare": "Compare a reference with probes, photograph by photograph.",
    "liveness": "Tell living faces from prints and screens, photograph by photograph.",
    "bench": "Measure how fast this machine verifies.",
    "tune": "Recommend thresholds for your own population, with their evidence.",
    "ledger": "Verify and export the ledger.",
    "outbox": "Secrets, standing and replay of webhooks.",
    "settle": "Derive every course anew and compare it with the ledger's settlements.",
    "certificate": "Verify a certificate of study hours.",
    "keys": "Make API keys; rotate the keys that seal and sign.",
}
"""Name -> help; the command itself is `app` of the module of that name in `benren.commands`."""


class LazyGroup(TyperGroup):
    """Knows its commands by name and help, and imports the one that is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Give the names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Give what the help needs of a command: its name and its line."""
        if cmd_name not in COMMANDS:
            return None
        return TyperCommand(name=cmd_name, help=COMMANDS[cmd_name])

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Import the command that is called."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            module = importlib.import_module(f"benren.commands.{name}")
            command = typer.main.get_command(module.app)
            command.name = name
        return name, command, rest


app = typer.Typer(
    name="benren",
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from benren import __version__  # noqa: PLC0415

        typer.echo(f"benren {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Benren (本人) proves that the learner who studies is the learner who registered."""


def main() -> None:
    """Run the command line of this process; every known error becomes a message and exit code 1."""
    try:
        app()
    except BenrenError as error:
        complain(error, as_json="--json" in sys.argv)
        sys.exit(1)
    except BrokenPipeError:
        # `benren ... | head`: the reader has what it wanted. Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
