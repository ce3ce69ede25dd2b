"""The outermost layer of a service: request ids, access, body limits, and the last resort."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from verifier.edge.access import Gate, RouteRule
from verifier.edge.metrics import HttpMetrics
from verifier.edge.problems import Problem, problem_of, problem_response, unexpected_problem
from verifier.errors import (
    BadRequest,
    BenrenError,
    Overloaded,
    RequestTimeout,
    RequestTooLarge,
    UnsupportedMediaType,
)

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")
_log = logging.getLogger("benren.edge")


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeLimits:
    """What a service takes in at most."""

    max_body_bytes: int = 32 * 1024 * 1024
    """Of one request."""
    max_held_bytes: int = 512 * 1024 * 1024
    """Of the bodies of all requests that are being answered, together."""
    body_timeout_s: float = 30.0
    """For the whole body to arrive."""


class EdgeMiddleware:
    """Pure ASGI, so that limits hold before anything reads a body."""

    def __init__(
        self, app: ASGIApp, *, service: str, gate: Gate, limits: EdgeLimits, metrics: HttpMetrics
    ) -> None:
        self._app = app
        self._service = service
        self._gate = gate
        self._limits = limits
        self._metrics = metrics
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["request_id"] = _request_id(Headers(scope=scope))
        try:
            key = self._gate.admit(self._gate.rule(_path(scope)), scope)
        except BenrenError:
            # Closing before accepting makes the server answer 403 to the handshake.
            await send({"type": "websocket.close", "code": 1008})
            return
        scope["state"]["api_key"] = key
        await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        state = scope.setdefault("state", {})
        state["request_id"] = _request_id(Headers(scope=scope))
        answer = _Answer(send, state["request_id"])
        self._metrics.started(self._service)
        try:
            await self._guarded(scope, receive, answer)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.finished(
                self._service,
                method=scope["method"],
                route=route,
                status=answer.status,
                code=answer.code or state.get("problem_code", ""),
                seconds=loop.time() - started,
            )

    async def _guarded(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        body: _Body | None = None
        try:
            rule = self._gate.rule(_path(scope))
            scope["state"]["api_key"] = self._gate.admit(rule, scope)
            headers = Headers(scope=scope)
            _check_media_type(rule, headers)
            limit = rule.max_body_bytes or self._limits.max_body_bytes
            _check_announced_length(headers, limit)
            body = _Body(receive, limit=limit, edge=self)
            answer.body = body
            await self._app(scope, body.receive, answer.send)
            if body.refusal is not None:
                await answer.problem(scope, problem_of(body.refusal, answer.request_id))
        except BenrenError as error:
            await answer.problem(scope, problem_of(error, answer.request_id))
        except Exception:
            _log.exception("request %s: unexpected error", answer.request_id)
            if answer.started:
                raise  # too late for an answer: let the server cut the connection
            await answer.problem(scope, unexpected_problem(answer.request_id))
        finally:
            if body is not None:
                self._held_bytes -= body.length

    def hold(self, count: int) -> None:
        """Account for `count` more bytes in memory. Raises Overloaded where there are too many."""
        if self._held_bytes + count > self._limits.max_held_bytes:
            raise Overloaded(
                "The service holds as many request bodies as it may.", remedy="Try again shortly."
            )
        self._held_bytes += count

    @property
    def body_timeout_s(self) -> float:
        """Seconds for a whole body to arrive."""
        return self._limits.body_timeout_s


class _Body:
    """Counts and times the body while the app reads it; remembers why it had to stop."""

    def __init__(self, receive: Receive, *, limit: int, edge: EdgeMiddleware) -> None:
        self._receive = receive
        self._limit = limit
        self._edge = edge
        self._deadline = asyncio.get_running_loop().time() + edge.body_timeout_s
        self._complete = False
        self.length = 0
        self.refusal: BenrenError | None = None

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()  # waits for the disconnect, however long that takes
        if self.refusal is not None:
            raise self.refusal
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
            self._take(message)
        except TimeoutError as error:
            self.refusal = RequestTimeout(
                f"The body did not arrive within {self._edge.body_timeout_s:g} s.",
                remedy="Send less at once, or over a faster line.",
            )
            raise self.refusal from error
        except BenrenError as error:
            # The framework may turn it into something else: the edge answers in its stead.
            self.refusal = error
            raise
        return message

    def _take(self, message: Message) -> None:
        if message["type"] != "http.request":
            self._complete = True
            return
        count = len(message.get("body", b""))
        if self.length + count > self._limit:
            raise _too_large(self._limit)
        self._edge.hold(count)
        self.length += count
        self._complete = not message.get("more_body", False)


class _Answer:
    """Adds the edge's headers, and knows whether the answer has begun."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.body: _Body | None = None
        self.started = False
        self.status = 499  # the client was gone before there was an answer
        self.code = ""

    async def send(self, message: Message) -> None:
        if self.body is not None and self.body.refusal is not None and not self.started:
            return  # superseded by the refusal of the body
        await self._forward(message)

    async def _forward(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self.request_id
            headers["X-Content-Type-Options"] = "nosniff"
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)

    async def problem(self, scope: Scope, problem: Problem) -> None:
        self.code = problem.code
        headers = {"Connection": "close"} if problem.status in (408, 413) else {}
        response = problem_response(problem, headers)
        await response(scope, _no_receive, self._forward)


async def _no_receive() -> Message:
    return {"type": "http.disconnect"}


def _path(scope: Scope) -> str:
    """Give the path within the app: an app that is mounted sees the whole path in its scope."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(root) if path.startswith(f"{root}/") else path


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)


def _check_media_type(rule: RouteRule, headers: Headers) -> None:
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    for accepted in rule.accepts:
        prefix = accepted.removesuffix("*")
        if media_type == accepted or (accepted != prefix and media_type.startswith(prefix)):
            return
    raise UnsupportedMediaType(
        f"The content type {media_type[:80]!r} is not understood here."
        if media_type
        else "The request has a body but no content type.",
        remedy=f"Send {' or '.join(rule.accepts)}.",
    )


def _check_announced_length(headers: Headers, limit: int) -> None:
    announced = headers.get("content-length", "0")
    if not announced.isascii() or not announced.isdigit():
        raise BadRequest("The Content-Length is not a number.")
    if int(announced[:20]) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> RequestTooLarge:
    return RequestTooLarge(
        f"The body is larger than {limit} bytes.", remedy="Send fewer or smaller images."
    )
