"""Receivers of events: who they are, how a message is signed, and where it may never go.

Targets come from the configuration only. The address is judged after its name was resolved, and
the connection goes to exactly that address: a name that points elsewhere a moment later (DNS
rebinding) gains nothing. There are no redirects and no proxies.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import urlsplit

import httpcore

from session_tracker.announcements import TYPES
from verifier.errors import ConfigurationError

_SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - Standard Webhooks' prefix, no secret
_SECRET_BYTES: Final = range(24, 65)
"""Standard Webhooks: 24 to 64 random bytes."""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_ANSWER_WITHIN_S: Final = 10.0
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A receiver of events."""

    name: str
    url: str
    secrets: tuple[bytes, ...]
    """One; two while they are changed over: then every message has both signatures."""
    types: tuple[str, ...] = ("*",)
    """Types it hears, ``*`` stands for anything: ``session.*``."""
    allow_private: bool = False
    """Whether it may be on loopback or in a private network."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(f"{self.name!r} is no name of a webhook (a-z, 0-9, hyphen).")
        schemes = ("https", "http") if self.allow_private else ("https",)
        if parts.scheme not in schemes or not parts.hostname or "@" in parts.netloc:
            raise ConfigurationError(
                f"The webhook {self.name} has no address that can be used.",
                remedy="Write https://HOST/PATH; http only with allow_private = true.",
            )
        if not 1 <= len(self.secrets) <= 2:
            raise ConfigurationError(
                f"The webhook {self.name} needs one secret, or two while they change over.",
                remedy="Make one with `benren outbox secret`, and give it in"
                " BENREN_WEBHOOK_SECRETS or in DATA/webhooks/NAME.",
            )
        for pattern in self.types:
            if not any(fnmatchcase(name, pattern) for name in TYPES):
                raise ConfigurationError(
                    f"The webhook {self.name} asks for {pattern!r}, which is no type of event.",
                    remedy=f"The types are: {', '.join(TYPES)}.",
                )

    def hears(self, event_type: str) -> bool:
        """Tell whether it wants events of this type."""
        return any(fnmatchcase(event_type, pattern) for pattern in self.types)


def read_secret(text: str) -> bytes:
    """Read a ``whsec_`` secret. Raises ConfigurationError, without showing it."""
    try:
        raw = base64.b64decode(text.removeprefix(_SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not text.startswith(_SECRET_PREFIX) or len(raw) not in _SECRET_BYTES:
        raise ConfigurationError(
            "A webhook secret does not read whsec_BASE64 of 24 to 64 bytes.",
            remedy="Make one with `benren outbox secret`.",
        )
    return raw


def write_secret(raw: bytes) -> str:
    """Write a secret the way receivers' libraries read it."""
    return _SECRET_PREFIX + base64.b64encode(raw).decode("ascii")


def headers_of(target: Target, *, event_id: str, body: bytes, at_s: int) -> dict[str, str]:
    """Give the headers of Standard Webhooks for one attempt at `at_s` (UTC seconds)."""
    signed = f"{event_id}.{at_s}.".encode() + body
    signatures = (
        base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode("ascii")
        for secret in target.secrets
    )
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
        "content-type": "application/cloudevents+json; charset=utf-8",
        "user-agent": "benren-webhooks/1",
    }


class Sender:
    """Posts to targets; says None where the receiver took it, else what was met."""

    def __init__(
        self, *, resolve: Resolve | None = None, answer_within_s: float = _ANSWER_WITHIN_S
    ) -> None:
        self._within_s = answer_within_s
        tls = ssl.create_default_context()
        self._pools = {
            private: httpcore.AsyncConnectionPool(
                ssl_context=tls,
                max_connections=32,
                max_keepalive_connections=8,
                keepalive_expiry=15,
                network_backend=_Guarded(resolve or _resolve, allow_private=private),
            )
            for private in (False, True)
        }

    async def post(self, target: Target, headers: dict[str, str], body: bytes) -> str | None:
        """Send one message. Nothing of the answer but its status is read."""
        given = [(name.encode(), value.encode("ascii")) for name, value in headers.items()]
        given.append((b"host", _host_of(target.url)))
        try:
            async with (
                asyncio.timeout(self._within_s),
                self._pools[target.allow_private].stream(
                    "POST", target.url, headers=given, content=body
                ) as response,
            ):
                status = response.status
        except TimeoutError:
            return "no answer in time"
        except _Forbidden as error:
            return str(error)
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            return f"{type(error).__name__}: {error}"[:200]
        except OSError as error:
            return f"{type(error).__name__}: {error.strerror or error}"[:200]
        return None if 200 <= status < 300 else f"status {status}"

    async def aclose(self) -> None:
        """Close what is open."""
        for pool in self._pools.values():
            await pool.aclose()


class _Forbidden(Exception):
    """The address may not be connected to."""


class _Guarded(httpcore.AsyncNetworkBackend):
    """Resolves names itself, and connects to addresses that are allowed only."""

    def __init__(self, resolve: Resolve, *, allow_private: bool) -> None:
        self._resolve = resolve
        self._allow_private = allow_private
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of `host`, where every one is allowed."""
        found = await self._resolve(host, port)
        for address in found:
            if not may_connect(address, allow_private=self._allow_private):
                raise _Forbidden(f"{host} is at an address that is not allowed")
        if not found:
            raise _Forbidden(f"{host} has no address")
        return await self._plain.connect_tcp(
            found[0],
            port,
            timeout=timeout,
            local_address=local_address,
            socket_options=socket_options,
        )

    async def sleep(self, seconds: float) -> None:
        """Sleep between httpcore's own retries, of which there are none."""
        await self._plain.sleep(seconds)


def may_connect(address: str, *, allow_private: bool) -> bool:
    """Tell whether an IP address may be connected to."""
    try:
        found: IpAddress = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    found = _inner(found)
    if found.is_multicast or found.is_unspecified or found.is_link_local:
        return False
    return found.is_global or (allow_private and (found.is_private or found.is_loopback))


def _inner(address: IpAddress) -> IpAddress:
    """Give the IPv4 address that an IPv6 address only wraps."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


async def _resolve(host: str, port: int) -> Sequence[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _host_of(url: str) -> bytes:
    return urlsplit(url).netloc.encode("idna" if not url.isascii() else "ascii")


__all__ = [
    "Sender",
    "Target",
    "headers_of",
    "may_connect",
    "read_secret",
    "write_secret",
]
