"""The pages for people: static files out of ``session_tracker/web``, under a strict policy.

Everything is read once, when the service starts: a request looks its path up in a table, so that
no path leads out of the folder. Pages name their files relatively (``../web/shared/base.css``),
which works below any prefix.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from fastapi import APIRouter, Request, Response

from verifier.edge import Entry, RouteRule
from verifier.errors import ConfigurationError, NotFound

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".mp4": "video/mp4",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".vtt": "text/vtt; charset=utf-8",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_HEADERS: Final = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PAGE_HEADERS: Final = {
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=(), "
    "payment=(), usb=(), fullscreen=(self), screen-wake-lock=(self)",
    "X-Frame-Options": "DENY",
}
_POLICY: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' blob: data:",
    "media-src": "'self' blob:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "manifest-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
_PLACES: Final = (
    "/",
    "/learn",
    "/learn/",
    "/review",
    "/review/",
    "/check",
    "/check/",
    "/check/{number}",
    "/favicon.ico",
    "/web/{name:path}",
)

RULES: Final = tuple(RouteRule(path=path, by=Entry.ANYONE, max_body_bytes=1) for path in _PLACES)
"""Pages are for anybody: what they show they ask of the API, with the reader's own token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file as it is sent."""

    content: bytes
    media_type: str
    etag: str

    @property
    def is_page(self) -> bool:
        """Whether a browser shows it as a document."""
        return self.media_type.startswith("text/html")

    @property
    def is_media(self) -> bool:
        """Whether it is a lesson, which is large and does not change under its name."""
        return self.media_type.startswith("video/")


def load_assets() -> Mapping[str, Asset]:
    """Read every file of the package's ``web`` folder, by its path within (``learn/index.html``).

    Raises ConfigurationError for a file of a type that is not served.
    """
    return dict(_walk(resources.files("session_tracker") / "web", ""))


def pages_router(
    assets: Mapping[str, Asset] | None = None, *, media_origins: tuple[str, ...] = ()
) -> APIRouter:
    """Make the routes of the pages; `media_origins` are other hosts that lessons come from."""
    known = load_assets() if assets is None else assets
    policy = _content_security_policy(media_origins)
    router = APIRouter(include_in_schema=False)

    def serve(path: str, name: str) -> None:
        @router.api_route(path, methods=["GET", "HEAD"])
        async def page(request: Request) -> Response:
            return _answer(request, _find(known, name), policy)

    serve("/learn/", "learn/index.html")
    serve("/review/", "review/index.html")
    serve("/check/", "check/index.html")
    serve("/check/{number}", "check/index.html")
    serve("/favicon.ico", "shared/favicon.svg")

    def lead(path: str, to: str) -> None:
        @router.api_route(path, methods=["GET", "HEAD"])
        async def redirect() -> Response:
            return Response(status_code=307, headers={"Location": to})

    lead("/", "learn/")  # relative, so that it holds below a prefix
    lead("/learn", "learn/")
    lead("/review", "review/")
    lead("/check", "check/")

    @router.api_route("/web/{name:path}", methods=["GET", "HEAD"])
    async def asset(request: Request, name: str) -> Response:
        return _answer(request, _find(known, name), policy)

    return router


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Asset]]:
    for entry in folder.iterdir():
        name = f"{prefix}{entry.name}"
        if entry.name.startswith((".", "__")) or entry.name.endswith(".py"):
            continue
        if entry.is_dir():
            yield from _walk(entry, f"{name}/")
            continue
        media_type = _TYPES.get(entry.name[entry.name.rfind(".") :])
        if media_type is None:
            raise ConfigurationError(
                f"The web folder holds {name}, and files of that type are not served.",
                remedy="Remove it, or add its type to session_tracker/api/pages.py.",
            )
        content = entry.read_bytes()
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        yield name, Asset(content=content, media_type=media_type, etag=etag)


def _find(known: Mapping[str, Asset], name: str) -> Asset:
    found = known.get(name)
    if found is None:
        raise NotFound("There is no such page.", remedy="Learners begin at /learn/.")
    return found


def _content_security_policy(media_origins: tuple[str, ...]) -> str:
    policy = dict(_POLICY)
    if media_origins:
        policy["media-src"] = " ".join((policy["media-src"], *media_origins))
    return "; ".join(f"{name} {value}" for name, value in policy.items())


def _answer(request: Request, asset: Asset, policy: str) -> Response:
    headers = {
        **_HEADERS,
        "Content-Security-Policy": policy,
        "Content-Type": asset.media_type,
        "ETag": asset.etag,
        "Cache-Control": "public, max-age=86400" if asset.is_media else "no-cache",
        "Accept-Ranges": "bytes",
    }
    if asset.is_page:
        headers |= _PAGE_HEADERS
    if _unchanged(request, asset):
        return Response(status_code=304, headers=headers)
    status, start, stop = _part(request, asset)
    total = len(asset.content)
    if status == 416:
        headers |= {"Content-Range": f"bytes */{total}", "Content-Length": "0"}
        return Response(status_code=416, headers=headers)
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{total}"
    headers["Content-Length"] = str(stop - start)
    body = b"" if request.method == "HEAD" else asset.content[start:stop]
    return Response(body, status_code=status, headers=headers)


def _unchanged(request: Request, asset: Asset) -> bool:
    given = request.headers.get("if-none-match", "")
    tags = {tag.strip().removeprefix("W/") for tag in given.split(",")}
    return asset.etag in tags or given.strip() == "*"


def _part(request: Request, asset: Asset) -> tuple[int, int, int]:
    """Tell the status and which bytes are asked for: players seek with ``Range`` (RFC 9110, 14).

    Several ranges at once, or a form that is not understood, get the whole.
    """
    total = len(asset.content)
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    if asked is None or asked[1] == asked[2] == "":
        return 200, 0, total
    if request.headers.get("if-range", asset.etag) != asset.etag:
        return 200, 0, total
    if asked[1] == "":
        count = int(asked[2])
        return (206, max(total - count, 0), total) if count else (416, 0, 0)
    start = int(asked[1])
    stop = min(int(asked[2]) + 1, total) if asked[2] else total
    if start >= total:
        return 416, 0, 0
    if stop <= start:
        return 200, 0, total
    return 206, start, stop
