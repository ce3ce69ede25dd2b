"""Reading people's data: who reads is recorded first, under the name of the API key."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Header, Request

from session_tracker.service import SessionService
from verifier.edge import Actor, actor_of

Purpose = Annotated[
    str,
    Header(
        alias="X-Purpose",
        max_length=200,
        description="What for, in your words; kept in the trail of who looked at what.",
    ),
]
NOBODY: Final = "-"
"""The subject of a look at a list or at somebody who was not found."""


async def look(
    service: SessionService, request: Request, subject: str, purpose: str, *, scope: str = ""
) -> Actor:
    """Record that the caller reads data of `subject`, and name the caller. Raises StorageError.

    `scope` says which part of a list was asked for; it stands behind the route.
    """
    actor = actor_of(request)
    route = getattr(request.scope.get("route"), "path", request.url.path)
    asked = f"{request.method} {route}" + (f"?{scope}" if scope else "")
    await service.trail.note(actor=actor.name, route=asked, subject=subject, purpose=purpose)
    return actor
