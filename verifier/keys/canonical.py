"""The one byte string of a JSON value (RFC 8785): what is hashed and signed."""

from __future__ import annotations

from collections.abc import Mapping

import rfc8785


def canonical_json(value: object, *, floats: bool = False) -> bytes:
    """Give the one byte string of a JSON value (RFC 8785).

    Floating-point numbers are refused unless `floats`: what is hashed for years (the ledger)
    holds integers only. Raises ValueError for what JSON cannot hold.
    """
    if not floats:
        _refuse_floats(value)
    return rfc8785.dumps(value)  # type: ignore[arg-type]  # it checks the types itself


def _refuse_floats(value: object) -> None:
    if isinstance(value, float):
        raise ValueError(f"{value!r} is not an integer: state it in a smaller unit")
    if isinstance(value, Mapping):
        for item in value.values():
            _refuse_floats(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_floats(item)
