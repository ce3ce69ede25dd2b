"""The tracker's OpenAPI document against the tracker, over real HTTP: schemathesis, every check."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig

from session_tracker.api.app import create_app
from session_tracker.policy import load_policy
from session_tracker.testing import Studio
from verifier.edge import ApiKeys, KeyScope, new_api_key

SECRET, LINE = new_api_key("schemathesis", [KeyScope.TRACKER])
REJECTED = ["400", "401", "403", "404", "405", "409", "413", "415", "422", "429"]
CONFIG = {
    "auth": {"openapi": {"apiKey": {"api_key": SECRET}}},
    "checks": {
        # Well-formed ids seldom name anything, and well-formed tokens seldom belong to a session.
        "positive_data_acceptance": {
            "expected-statuses": ["2xx", "400", "401", "403", "404", "409", "422", "429"]
        },
        "negative_data_rejection": {"expected-statuses": REJECTED},
    },
}


def _make() -> tuple[FastAPI, Studio]:
    folder = tempfile.mkdtemp(prefix="benren-openapi-")
    studio = Studio(f"sqlite:///{folder}/tracker.sqlite3", policy=load_policy("demo"))
    app = create_app(studio.service, enroller=studio.enroller, api_keys=ApiKeys.parse([LINE]))
    return app, studio


APP, STUDIO = _make()
SCHEMA = schemathesis.openapi.from_dict(APP.openapi(), config=SchemathesisConfig.from_dict(CONFIG))


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    await STUDIO.start()
    yield
    await STUDIO.stop()


APP.router.lifespan_context = _lifespan


@pytest.fixture(scope="module")
def address(serve: Callable[..., str]) -> Iterator[str]:
    """Where the tracker of the document listens."""
    yield serve(APP)
    assert STUDIO.learner_id


@SCHEMA.parametrize()
@settings(max_examples=15, suppress_health_check=list(HealthCheck))
def test_the_tracker_keeps_to_its_document(case: Any, address: str) -> None:
    """Whatever is sent, status, type, shape and headers of the answer are the documented ones."""
    case.call_and_validate(base_url=address)
