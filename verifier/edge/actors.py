"""Who acts: the name of the API key a request came with, for records of who did what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.requests import HTTPConnection

from verifier.edge.access import ApiKey, KeyScope
from verifier.errors import Refused

LOCAL_ACTOR: Final = "local"
"""The name of whoever calls from this very machine while no API keys are configured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Somebody who calls a route of ours."""

    name: str
    """The id of the API key; what audit trail and decisions are signed with."""
    scopes: frozenset[KeyScope]

    def may(self, *scopes: KeyScope) -> bool:
        """Whether the actor holds one of these scopes."""
        return KeyScope.ADMIN in self.scopes or bool(self.scopes & set(scopes))

    def require(self, *scopes: KeyScope) -> None:
        """Raise Refused where the actor holds none of these scopes."""
        if not self.may(*scopes):
            raise Refused(
                f"The API key {self.name} lacks the scope {' or '.join(scopes)}.",
                remedy="Use a key with that scope, or make one with `benren keys new`.",
            )


def actor_of(connection: HTTPConnection) -> Actor:
    """Name who sent this request; without configured keys that is this machine, as `admin`."""
    key: ApiKey | None = getattr(connection.state, "api_key", None)
    if key is None:
        return Actor(name=LOCAL_ACTOR, scopes=frozenset({KeyScope.ADMIN}))
    return Actor(name=key.id, scopes=key.scopes)
