"""How the command line speaks: results on stdout, everything else on stderr, errors in one way."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from verifier.errors import BenrenError

if TYPE_CHECKING:
    from rich.console import Console


def emit(line: Mapping[str, Any]) -> None:
    """Print one object of JSON Lines to stdout, at once."""
    print(json.dumps(line, ensure_ascii=False), flush=True)  # noqa: T201 - the result itself


def out() -> Console:
    """Give the console for results that people read."""
    from rich.console import Console  # noqa: PLC0415 - `benren --help` needs none of it

    return Console(highlight=False)


def err() -> Console:
    """Give the console for progress and notes."""
    from rich.console import Console  # noqa: PLC0415

    return Console(stderr=True, highlight=False)


def complain(error: BenrenError, *, as_json: bool, about: str = "") -> None:
    """Say on stderr what is wrong and what to do; with --json as problem details (RFC 9457)."""
    if as_json:
        problem: dict[str, Any] = {
            "type": f"urn:benren:problem:{error.code}",
            "title": (type(error).__doc__ or "").strip().splitlines()[0],
            "status": error.status,
            "detail": error.detail,
            "code": error.code,
            "remedy": error.remedy,
            **error.members,
        }
        if about:
            problem["instance"] = about
        print(json.dumps(problem, ensure_ascii=False), file=sys.stderr)  # noqa: T201
        return
    subject = f"{about}: " if about else ""
    print(f"benren: {subject}{error.detail}", file=sys.stderr)  # noqa: T201
    if error.remedy:
        print(f"  {error.remedy}", file=sys.stderr)  # noqa: T201


def rounded(value: float | None) -> float | None:
    """Give a score with six digits: more of them say nothing."""
    return None if value is None else round(float(value), 6)
