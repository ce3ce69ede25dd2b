"""Scopes of the people behind the counter, and whose name goes into the records."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from verifier.edge import (
    LOCAL_ACTOR,
    Actor,
    ApiKeys,
    Entry,
    KeyScope,
    RouteRule,
    actor_of,
    install_edge,
    new_api_key,
)
from verifier.errors import Refused

NAMES = {
    "li-hua": KeyScope.REVIEWER,
    "counter-3": KeyScope.STAFF,
    "school": KeyScope.INSTITUTION,
    "inspector-7": KeyScope.INSPECTOR,
    "root": KeyScope.ADMIN,
    "course": KeyScope.TRACKER,
}
MADE = {name: new_api_key(name, [scope]) for name, scope in NAMES.items()}
RULES = [
    RouteRule(path="/reviews", by=KeyScope.REVIEWER, readers=(KeyScope.INSPECTOR,)),
    RouteRule(path="/learners", by=(KeyScope.STAFF, KeyScope.TRACKER)),
]


def make_app(keys: ApiKeys) -> FastAPI:
    """Make an app that tells every caller its name."""
    app = FastAPI()

    @app.get("/reviews")
    @app.post("/reviews")
    @app.get("/learners")
    @app.post("/learners")
    async def who(request: Request) -> str:
        return actor_of(request).name

    install_edge(app, service="test", api_keys=keys, default=KeyScope.ADMIN, rules=RULES)
    return app


async def status(method: str, path: str, name: str) -> int:
    """Send one request by the key of that name; a success has to answer with the name."""
    app = make_app(ApiKeys.parse(line for _, line in MADE.values()))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app, client=("10.0.0.9", 1)), base_url="http://api.example"
    ) as caller:
        answer = await caller.request(method, path, headers={"X-API-Key": MADE[name][0]})
    assert answer.status_code == 403 or answer.json() == name
    return answer.status_code


@pytest.mark.parametrize(
    ("path", "method", "let_in"),
    [
        ("/reviews", "GET", {"li-hua", "inspector-7", "root"}),
        ("/reviews", "POST", {"li-hua", "root"}),
        ("/learners", "GET", {"counter-3", "course", "root"}),
        ("/learners", "POST", {"counter-3", "course", "root"}),
    ],
)
async def test_scopes_open_their_own_paths_only(path: str, method: str, let_in: set[str]) -> None:
    """Any scope of a rule will do, readers only read, and admin does everything."""
    assert {name for name in NAMES if await status(method, path, name) == 200} == let_in


async def test_without_keys_this_machine_acts_under_a_name_of_its_own() -> None:
    """Where no keys are configured the records say so."""
    app = make_app(ApiKeys())
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app, client=("127.0.0.1", 1)), base_url="http://127.0.0.1"
    ) as caller:
        assert (await caller.get("/reviews")).json() == LOCAL_ACTOR


def test_an_actor_may_what_its_scopes_say() -> None:
    """Routes that tell callers apart ask the actor."""
    reviewer = Actor(name="li-hua", scopes=frozenset({KeyScope.REVIEWER}))
    assert reviewer.may(KeyScope.STAFF, KeyScope.REVIEWER)
    reviewer.require(KeyScope.REVIEWER)
    with pytest.raises(Refused, match="lacks the scope staff or inspector"):
        reviewer.require(KeyScope.STAFF, KeyScope.INSPECTOR)
    assert Actor(name="root", scopes=frozenset({KeyScope.ADMIN})).may(KeyScope.STAFF)


def test_the_document_names_every_scope_that_will_do() -> None:
    """Readers are documented for reading only; token routes keep their own scheme."""
    app = FastAPI()

    @app.get("/mine")
    @app.get("/reviews")
    async def read() -> None:
        return None

    @app.post("/reviews")
    async def write() -> None:
        return None

    rules = [*RULES, RouteRule(path="/mine", by=Entry.TOKEN)]
    install_edge(app, service="test", api_keys=ApiKeys(), default=KeyScope.ADMIN, rules=rules)
    paths: dict[str, Any] = app.openapi()["paths"]
    assert paths["/reviews"]["get"]["security"] == [
        {"bearer": ["reviewer"]},
        {"apiKey": ["reviewer"]},
        {"bearer": ["inspector"]},
        {"apiKey": ["inspector"]},
    ]
    assert paths["/reviews"]["post"]["security"] == [
        {"bearer": ["reviewer"]},
        {"apiKey": ["reviewer"]},
    ]
    assert paths["/mine"]["get"]["security"] == [{"clientToken": []}]
