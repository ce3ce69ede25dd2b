"""Receivers of events, with their secrets: from the environment, or from the data directory.

A file is called ``webhooks/NAME`` and holds one ``whsec_`` secret a line; two while they change
over. The environment wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benren.config import WEBHOOK_SECRETS
from verifier.errors import ConfigurationError

if TYPE_CHECKING:
    from benren.config import Config
    from session_tracker.webhooks import Target


def targets_of(config: Config, environ: Mapping[str, str]) -> tuple[Target, ...]:
    """Give the configured receivers. Raises ConfigurationError, and shows no secret."""
    from session_tracker.webhooks import Target, read_secret  # noqa: PLC0415

    given = _from_environment(environ.get(WEBHOOK_SECRETS, ""))
    targets = tuple(
        Target(
            name=hook.name,
            url=hook.url,
            types=hook.types,
            allow_private=hook.allow_private,
            secrets=tuple(
                read_secret(text)
                for text in given.get(hook.name)
                or _from_file(config.data_directory / "webhooks" / hook.name)
            ),
        )
        for hook in config.webhooks
    )
    if len({target.name for target in targets}) < len(targets):
        raise ConfigurationError("Two webhooks have one name.", remedy="Give each its own.")
    return targets


def _from_environment(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for word in text.split():
        name, _, secret = word.partition("=")
        found.setdefault(name, []).append(secret)
    return found


def _from_file(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split() if path.is_file() else []
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The webhook secrets in {path} cannot be read.") from error
