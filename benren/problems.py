"""Errors of the services as exceptions again: problem details (RFC 9457) in, `BenrenError` out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx

from session_tracker import refusals
from verifier import errors
from verifier.errors import BenrenError


class ServiceUnreachable(BenrenError):
    """The service does not answer."""

    status = 503
    retry_after_s = 5


class UnexpectedAnswer(BenrenError):
    """The service answered with something else than its contract."""

    status = 502


class ServiceProblem(BenrenError):
    """The service reported a problem for which this release has no name."""

    def __init__(self, code: str, status: int, detail: str, *, remedy: str = "") -> None:
        super().__init__(detail, remedy=remedy)
        self._code = code
        self.reported_status = status
        """HTTP status of the answer."""

    @property
    def code(self) -> str:
        """The code that the service gave."""
        return self._code


def error_of(response: httpx.Response) -> BenrenError:
    """Give the error that an answer with a status of 400 or more stands for.

    The body must have been read.
    """
    body = _json_object(response)
    detail = str(body.get("detail", "")) or f"The service answered {response.status_code}."
    remedy = str(body.get("remedy", ""))
    code = str(body.get("code", ""))
    named = _BY_CODE.get(code)
    if named is None:
        return ServiceProblem(code or "unknown", response.status_code, detail, remedy=remedy)
    retry_after_s = body.get("retry_after_s")
    return named(
        detail,
        remedy=remedy,
        retry_after_s=retry_after_s if isinstance(retry_after_s, int) else None,
    )


def raise_for_problem(response: httpx.Response) -> None:
    """Raise what an answer with a status of 400 or more stands for."""
    if response.status_code >= httpx.codes.BAD_REQUEST:
        raise error_of(response)
    if not response.is_success:
        raise UnexpectedAnswer(
            f"The service answered {response.status_code}.",
            remedy="Give the address of the service itself, without a redirection.",
        )


def json_object(response: httpx.Response) -> dict[str, Any]:
    """Give the JSON object of a good answer, or raise what the answer stands for."""
    raise_for_problem(response)
    body = _json_object(response)
    if not body:
        raise UnexpectedAnswer(
            "The service did not answer with a JSON object.",
            remedy="See whether the address is that of a Benren service of this release.",
        )
    return body


def unreachable(url: str, error: httpx.TransportError) -> ServiceUnreachable:
    """Shape a failure of the connection."""
    what = str(error) or type(error).__name__
    return ServiceUnreachable(
        f"The service at {url} does not answer: {what}.",
        remedy="See whether it runs, and whether the address is right.",
    )


def _json_object(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _descendants(of: type[BenrenError]) -> Iterator[type[BenrenError]]:
    for child in of.__subclasses__():
        yield child
        yield from _descendants(child)


_BY_CODE = {
    child("").code: child
    for child in _descendants(BenrenError)
    if child.__module__ in {errors.__name__, refusals.__name__}
}
