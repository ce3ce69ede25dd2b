"""Facts as ledger data and back: the stored entries are what a session is rebuilt from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Any, Final, cast, get_type_hints

from session_tracker.events import (
    Challenged,
    Check,
    Closed,
    Disputed,
    Fact,
    Granted,
    Identity,
    Looking,
    Opened,
    Paused,
    Playback,
    Presence,
    Resumed,
    Settled,
    Supervised,
    Suspended,
    SystemFault,
    Upheld,
)
from verifier.errors import StorageError

_KINDS: Final[dict[str, type]] = {
    "opened": Opened,
    "identity": Identity,
    "check": Check,
    "challenged": Challenged,
    "looking": Looking,
    "playback": Playback,
    "paused": Paused,
    "resumed": Resumed,
    "system_fault": SystemFault,
    "granted": Granted,
    "disputed": Disputed,
    "upheld": Upheld,
    "supervised": Supervised,
    "suspended": Suspended,
    "closed": Closed,
    "settled": Settled,
}
"""Presence runs lie in a table of their own, outside the ledger."""
_NAMES: Final = {cls: kind for kind, cls in _KINDS.items()}
_HINTS: Final = {cls: get_type_hints(cls) for cls in _KINDS.values()}


def kind_of(fact: Fact) -> str:
    """Name the kind of entry that holds this fact."""
    if isinstance(fact, Presence):
        raise TypeError("presence runs are not entries of the ledger")
    return _NAMES[type(fact)]


def is_fact(kind: str) -> bool:
    """Tell whether entries of this kind hold a fact (others hold decisions and requests)."""
    return kind in _KINDS


def reason_of(fact: Fact) -> str:
    """Give the reason that an entry states: why it paused, what a check found."""
    for name in ("reason", "outcome"):
        value = getattr(fact, name, None)
        if value is not None:
            return str(value)
    return ""


def encode(fact: Fact) -> dict[str, Any]:
    """Give the fact's fields as whole numbers, strings and booleans (without its key)."""
    return {
        item.name: str(value) if isinstance(value, StrEnum) else value
        for item in fields(fact)
        if item.name != "key"
        for value in (getattr(fact, item.name),)
    }


def decode(kind: str, key: str, data: Mapping[str, Any]) -> Fact:
    """Read a fact from an entry's data; fields it does not know (evidence) are left aside.

    Raises StorageError where the data is not a fact: the ledger was damaged.
    """
    cls = _KINDS[kind]
    hints = _HINTS[cls]
    try:
        values = {
            item.name: _read(hints[item.name], data[item.name])
            for item in fields(cls)
            if item.name != "key" and item.name in data
        }
        return cast("Fact", cls(key=key, **values))
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(
            f"The ledger entry {key!r} of kind {kind!r} cannot be read: {error}.",
            remedy="Check it with `benren ledger verify`.",
        ) from error


def _read(hint: Any, value: Any) -> Any:
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint(value)
    return value
