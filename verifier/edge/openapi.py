"""What the edge adds to an OpenAPI document: security, and problem details for every error."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI

from verifier.edge.access import Entry, Gate, RouteRule, scopes_of
from verifier.edge.problems import MEDIA_TYPE, Problem

_REF: Final = "#/components/schemas/{model}"
_METHODS: Final = ("get", "put", "post", "delete", "patch", "options", "head")
_SCHEMES: Final[dict[str, Any]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "clientToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "The short-lived token of one stream.",
    },
}
_MEANINGS: Final = {
    "401": "A valid API key or token is needed.",
    "403": "The key lacks the scope, or no keys are configured and the caller is elsewhere.",
    "413": "The request, or an image in it, is larger than allowed.",
    "415": "The content type is not understood.",
    "422": "The request does not have the documented form, or an image or template is unusable.",
    "503": "Overloaded or not ready: try again after `Retry-After` seconds.",
}


def document_edge(app: FastAPI, gate: Gate) -> None:
    """Make `app.openapi()` tell what the edge does."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(generate(), gate)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI documents


def _completed(document: dict[str, Any], gate: Gate) -> dict[str, Any]:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template=_REF)
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    components["securitySchemes"] = _SCHEMES
    for path, item in document.get("paths", {}).items():
        rule = gate.rule(path)
        for method in _METHODS:
            if method in item:
                _complete_operation(item[method], rule, method.upper())
    return document


def _complete_operation(operation: dict[str, Any], rule: RouteRule, method: str) -> None:
    statuses = ["503"]
    if rule.by is not Entry.ANYONE:
        operation["security"] = _security(rule, method)
        statuses += ["401", "403"]
    if "requestBody" in operation:
        statuses += ["413", "415"]
    if "requestBody" in operation or operation.get("parameters"):
        statuses.append("422")
    responses = operation["responses"]
    for status in statuses:
        if "application/problem+json" not in responses.get(status, {}).get("content", {}):
            responses[status] = _problem_answer(_MEANINGS[status])
    responses["default"] = _problem_answer("Any other error.")
    operation["responses"] = {status: responses[status] for status in sorted(responses)}


def _problem_answer(description: str) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model="Problem")}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}


def _security(rule: RouteRule, method: str) -> list[dict[str, list[str]]]:
    if rule.by is Entry.TOKEN:
        return [{"clientToken": []}]
    if rule.by is Entry.LOCAL:
        return [{}, {"bearer": []}, {"apiKey": []}]  # nothing is asked of this machine itself
    scopes = scopes_of(rule, method) or ("",)  # several: any one of them will do
    wanted = [[scope] if scope else [] for scope in scopes]
    return [{scheme: list(each)} for each in wanted for scheme in ("bearer", "apiKey")]
