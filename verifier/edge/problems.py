"""Every error as problem details (RFC 9457), with a request id, a code and a remedy."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from verifier.errors import BadRequest, BenrenError

MEDIA_TYPE: Final = "application/problem+json"
_MAX_FIELD_ERRORS: Final = 20
_MAX_TEXT: Final = 300
_log = logging.getLogger("benren.edge")


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    where: str = Field(examples=["body/frames"])
    detail: str = Field(examples=["List should have at most 8 items"])


class Problem(BaseModel):
    """An error: RFC 9457 problem details. Neither *no face* nor *mismatch* is one."""

    type: str = Field(examples=["urn:benren:problem:image_unreadable"])
    title: str = Field(examples=["The bytes are not a whole JPEG, PNG or WebP image."])
    status: int = Field(ge=400, le=599, examples=[422])
    detail: str = Field(description="What is wrong with this request.")
    code: str = Field(
        description="The machine-readable name of the error.", examples=["image_unreadable"]
    )
    remedy: str = Field(description="What to do about it; may be empty.")
    request_id: str = Field(description="Name this when you report the error.")
    retry_after_s: int | None = Field(default=None, description="When a retry makes sense.")
    reasons: list[str] | None = Field(default=None, description="Why a photograph was refused.")
    errors: list[FieldError] | None = Field(
        default=None, description="The fields that are wrong, 20 at most."
    )


class InvalidRequest(BenrenError):
    """The request does not have the documented form."""

    status = 422


def problem_of(error: BenrenError, request_id: str) -> Problem:
    """Shape an error of the project; `request_id` may be empty within a batch."""
    members: Mapping[str, Any] = error.members
    return Problem(
        type=f"urn:benren:problem:{error.code}",
        title=(type(error).__doc__ or "").strip().splitlines()[0],
        status=error.status,
        detail=error.detail,
        code=error.code,
        remedy=error.remedy,
        request_id=request_id,
        retry_after_s=error.retry_after_s,
        reasons=members.get("reasons"),
    )


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Shape the HTTP answer, with ``Retry-After`` and ``WWW-Authenticate`` where they belong."""
    all_headers = dict(headers or {})
    if problem.retry_after_s is not None:
        all_headers["Retry-After"] = str(problem.retry_after_s)
    if problem.status == HTTPStatus.UNAUTHORIZED:
        all_headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(
        problem.model_dump(exclude_none=True),
        status_code=problem.status,
        headers=all_headers,
        media_type=MEDIA_TYPE,
    )


def unexpected_problem(request_id: str) -> Problem:
    """Shape an error nobody foresaw: the details are in the log, never in the answer."""
    return Problem(
        type="urn:benren:problem:internal_error",
        title="Something unexpected went wrong.",
        status=500,
        detail="Something unexpected went wrong; it was written to the service's log.",
        code="internal_error",
        remedy="Try again; if it stays, report the request id to the operator.",
        request_id=request_id,
    )


def request_id_of(request: Request) -> str:
    """Give the id that the edge assigned to this request."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def install_problem_handlers(app: FastAPI) -> None:
    """Answer errors of the project, of the framework and of validation as problem details."""
    app.add_exception_handler(BenrenError, _on_benren_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)


def _remember(request: Request, problem: Problem) -> None:
    request.scope.setdefault("state", {})["problem_code"] = problem.code


async def _on_benren_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, BenrenError)  # noqa: S101 - the framework dispatches by class
    problem = problem_of(error, request_id_of(request))
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("request %s: %s: %s", problem.request_id, problem.code, error, exc_info=error)
    _remember(request, problem)
    return problem_response(problem)


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - the framework dispatches by class
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "_").replace("-", "_")
    problem = Problem(
        type=f"urn:benren:problem:{code}",
        title=phrase,
        status=error.status_code,
        detail=_HTTP_DETAILS.get(error.status_code, str(error.detail)),
        code=code,
        remedy=_HTTP_REMEDIES.get(error.status_code, ""),
        request_id=request_id_of(request),
    )
    _remember(request, problem)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods(request))
    return problem_response(problem, headers)


def _methods(request: Request) -> list[str]:
    """Name what the path takes, of all its routes: the framework names the first one's only."""
    # A copy of the scope: routers note in it what they found.
    asked = [{**request.scope, "state": {}, "method": method} for method in _METHODS]
    return [
        scope["method"]
        for scope in asked
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)
    ]


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - dispatched by class
    found = error.errors()
    first = found[0] if found else {}
    if first.get("type") == "json_invalid":
        return await _on_benren_error(
            request,
            BadRequest(
                f"The body is not JSON (character {first['loc'][-1]}).",
                remedy="Send valid JSON in UTF-8.",
            ),
        )
    invalid = InvalidRequest(
        _short(f"{_where(first.get('loc', ()))}: {first.get('msg', 'invalid')}."),
        remedy="Compare the request with /openapi.json.",
    )
    problem = problem_of(invalid, request_id_of(request))
    # Never the input itself: it may be a photograph.
    problem.errors = [
        FieldError(where=_where(item["loc"]), detail=_short(str(item["msg"])))
        for item in found[:_MAX_FIELD_ERRORS]
    ]
    _remember(request, problem)
    return problem_response(problem)


def _where(loc: Sequence[int | str]) -> str:
    return _short("/".join(str(part) for part in loc) or "request")


def _short(text: str) -> str:
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= _MAX_TEXT else f"{clean[: _MAX_TEXT - 1]}…"


_METHODS: Final = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_HTTP_DETAILS: Final = {
    400: "The body cannot be parsed.",
    404: "There is nothing at this path.",
    405: "This path does not take this method.",
}
_HTTP_REMEDIES: Final = {
    400: "Send valid JSON in UTF-8.",
    404: "See /openapi.json for the paths.",
    405: "Use a method that the Allow header names.",
}
