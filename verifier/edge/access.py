"""Who may call what: API keys (hashed at rest), scopes, and loopback only where there are none."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from starlette.datastructures import Headers
from starlette.routing import compile_path
from starlette.types import Scope

from verifier.errors import ConfigurationError, Refused, Unauthorised

_KEY_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_SECRET: Final = re.compile(r"benren_([a-z0-9-]{1,32})_[A-Za-z0-9_-]{43}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MAX_KEYS: Final = 1_000
_READING: Final = frozenset({"GET", "HEAD"})
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


class KeyScope(StrEnum):
    """What an API key opens; `admin` opens everything."""

    VERIFIER = "verifier"
    TRACKER = "tracker"
    STAFF = "staff"
    """Approves and refuses enrolments, confirms learners, enters supervised sessions."""
    REVIEWER = "reviewer"
    """Decides reviews and appeals."""
    INSTITUTION = "institution"
    """A training institution: enters offline class hours."""
    INSPECTOR = "inspector"
    """Reads reviews and the trail of who looked at what; changes nothing."""
    ADMIN = "admin"


class Entry(StrEnum):
    """Ways into a path without a scope."""

    ANYONE = "anyone"
    """Always open: liveness probes."""
    LOCAL = "local"
    """Any API key, or none from this very machine: metrics and version."""
    TOKEN = "token"  # noqa: S105 - the name of a way in, no secret
    """The route itself checks a bearer token (of HTTP requests the edge asks that there is one);
    without API keys still this machine only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRule:
    """What one path asks for. The first rule whose path fits counts."""

    path: str
    """As routes are written: ``/v1/streams/{stream_id}/frames``."""
    by: KeyScope | Entry | tuple[KeyScope, ...]
    """Several scopes: any one of them will do."""
    readers: tuple[KeyScope, ...] = ()
    """Scopes that are let in too, but only to read (GET and HEAD)."""
    accepts: tuple[str, ...] = ("application/json",)
    """Media types of bodies; a wildcard such as ``image/*`` is understood."""
    max_body_bytes: int | None = None
    """None: the limit of the service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """One key as the configuration holds it: never the secret."""

    id: str
    sha256: str
    """SHA-256 of the secret, 64 hex digits. The secret holds 256 random bits, so that neither
    salt nor a slow hash would add anything (those are for passwords)."""
    scopes: frozenset[KeyScope]

    def opens(self, scope: KeyScope) -> bool:
        """Whether this key opens what asks for `scope`."""
        return scope in self.scopes or KeyScope.ADMIN in self.scopes


def scopes_of(rule: RouteRule, method: str) -> tuple[KeyScope, ...]:
    """Name the scopes of which a request needs one; none where the way in is no scope."""
    if isinstance(rule.by, Entry):
        return ()
    writers = (rule.by,) if isinstance(rule.by, KeyScope) else rule.by
    return (*writers, *rule.readers) if method in _READING else writers


class ApiKeys:
    """The API keys of a service; false where there are none."""

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._by_id: dict[str, ApiKey] = {}
        for key in keys:
            if key.id in self._by_id:
                raise ConfigurationError(f"There are two API keys with the id {key.id}.")
            self._by_id[key.id] = key
        if len(self._by_id) > _MAX_KEYS:
            raise ConfigurationError(f"There are more than {_MAX_KEYS} API keys.")

    @classmethod
    def parse(cls, lines: Iterable[str]) -> ApiKeys:
        """Read ``id:sha256:HEX:scope+scope`` lines. Raises ConfigurationError."""
        return cls(_parse_line(number, line) for number, line in enumerate(lines, start=1))

    def __bool__(self) -> bool:
        return bool(self._by_id)

    def authenticate(self, secret: str) -> ApiKey | None:
        """Give the key whose secret this is, or None."""
        match = _SECRET.fullmatch(secret)
        key = self._by_id.get(match[1]) if match else None
        digest = hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
        fits = hmac.compare_digest(digest, key.sha256 if key else "0" * 64)
        return key if fits else None


def new_api_key(key_id: str, scopes: Iterable[KeyScope]) -> tuple[str, str]:
    """Make a key: the secret for the caller, and the line for the service's configuration."""
    chosen = sorted(set(scopes))
    if not _KEY_ID.fullmatch(key_id) or not chosen:
        raise ConfigurationError(
            "An API key needs an id of small letters, digits and hyphens (32 at most), and a scope."
        )
    secret = f"benren_{key_id}_{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return secret, f"{key_id}:sha256:{digest}:{'+'.join(chosen)}"


def require_loopback_without_keys(host: str, api_keys: ApiKeys) -> None:
    """Refuse to listen where strangers can reach a service that asks for no key."""
    if not api_keys and not is_loopback(host):
        raise ConfigurationError(
            f"Without API keys the service listens on loopback only, not on {host or '*'}.",
            remedy="Make a key with `benren keys new`, or bind to 127.0.0.1.",
        )


def is_loopback(host: str) -> bool:
    """Whether this address (or ``localhost``) is this very machine."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


class Gate:
    """Applies the rules of a service's paths to a connection."""

    def __init__(
        self, api_keys: ApiKeys, default: KeyScope | Entry, rules: Sequence[RouteRule]
    ) -> None:
        self._keys = api_keys
        self._default = RouteRule(path="/", by=default)
        self._rules = [(compile_path(rule.path)[0], rule) for rule in rules]

    def rule(self, path: str) -> RouteRule:
        """Give the first rule that fits the path within the app, else the service's default."""
        for pattern, rule in self._rules:
            if pattern.match(path):
                return rule
        return self._default

    def admit(self, rule: RouteRule, connection: Scope) -> ApiKey | None:
        """Let an ASGI connection in, or raise Unauthorised or Refused; returns its API key."""
        if rule.by is Entry.ANYONE:
            return None
        headers = Headers(scope=connection)
        secret = _presented(headers)
        if not self._keys:
            _require_this_machine(connection, headers)
        if rule.by is Entry.TOKEN and secret is None and connection["type"] == "http":
            raise Unauthorised(
                "A client token is needed.", remedy="Send it as `Authorization: Bearer TOKEN`."
            )
        if rule.by is Entry.TOKEN or not self._keys:
            return None
        if secret is None and rule.by is Entry.LOCAL and _from_here(connection, headers):
            return None
        key = self._keys.authenticate(secret) if secret else None
        if key is None:
            raise Unauthorised(
                "A valid API key is needed.",
                remedy="Send it as `Authorization: Bearer KEY` or as `X-API-Key: KEY`.",
            )
        wanted = scopes_of(rule, str(connection.get("method", "GET")))
        if wanted and not any(key.opens(scope) for scope in wanted):
            raise Refused(
                f"The API key {key.id} lacks the scope {' or '.join(wanted)}.",
                remedy="Use a key with that scope, or make one with `benren keys new`.",
            )
        return key


def _parse_line(number: int, line: str) -> ApiKey:
    parts = line.strip().split(":")
    valid = (
        len(parts) == 4
        and _KEY_ID.fullmatch(parts[0])
        and parts[1] == "sha256"
        and _SHA256.fullmatch(parts[2])
        and set(parts[3].split("+")) <= set(KeyScope)
    )
    if not valid:
        raise ConfigurationError(
            f"API key {number} does not read ID:sha256:HEX:SCOPE+SCOPE.",
            remedy="Copy the line that `benren keys new` printed; the secret goes to the caller.",
        )
    scopes = frozenset(KeyScope(scope) for scope in parts[3].split("+"))
    return ApiKey(id=parts[0], sha256=parts[2], scopes=scopes)


def _presented(headers: Headers) -> str | None:
    direct = headers.get("x-api-key")
    if direct:
        return direct
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" and credentials.strip() else None


def _from_here(connection: Scope, headers: Headers) -> bool:
    client = connection.get("client")
    forwarded = any(name in headers for name in _FORWARDED)
    return client is not None and is_loopback(client[0]) and not forwarded


def _require_this_machine(connection: Scope, headers: Headers) -> None:
    remedy = "Make a key with `benren keys new` and configure it to serve other machines."
    if not _from_here(connection, headers):
        raise Refused("Without API keys only this very machine is served.", remedy=remedy)
    # A web page that points its own name at 127.0.0.1 (DNS rebinding) gives itself away here.
    host = headers.get("host", "localhost")
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if not is_loopback(name):
        raise Refused(
            "Without API keys only requests to localhost or 127.0.0.1 are served.", remedy=remedy
        )
