"""The OpenAPI document against the service, over real HTTP: schemathesis with every check.

The pictures are scripted (`verifier.api.testing`), so that hundreds of requests take seconds;
routes, edge, batcher, vault, keys and hub are the real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig

from verifier.api.testing import scripted_verifier
from verifier.edge import KeyScope, new_api_key
from verifier.settings import Settings, load_settings
from verifier.streaming.framing import BURST_TYPE

SECRET, LINE = new_api_key("schemathesis", [KeyScope.VERIFIER])
REJECTED = ["400", "401", "403", "404", "405", "409", "410", "413", "415", "422"]
CONFIG = {
    # The key goes in as the document says, so that the checks can leave it out or spoil it.
    "auth": {"openapi": {"apiKey": {"api_key": SECRET}}},
    "checks": {
        # Well-formed base64 is seldom a picture or a template, and 422 is what they get then;
        # the id of a stream that never was gets 410, its token 401, and values that exclude
        # each other 400.
        "positive_data_acceptance": {"expected-statuses": ["2xx", "400", "401", "410", "422"]},
        "negative_data_rejection": {"expected-statuses": REJECTED},
    },
}
MADE = scripted_verifier(settings=load_settings(Settings, api_keys=(LINE,)))
SCHEMA = schemathesis.openapi.from_dict(
    MADE.app.openapi(), config=SchemathesisConfig.from_dict(CONFIG)
)


@schemathesis.serializer(BURST_TYPE)
def whatever_comes(_: Any, value: Any) -> bytes:
    """Send what was drawn as it is: a burst is bytes, and schemathesis knows no such type."""
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture(scope="module")
def address(serve: Callable[..., str]) -> str:
    """Where the verifier of the document listens."""
    return serve(MADE.app, MADE.batcher.close)


@SCHEMA.parametrize()
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
def test_the_service_keeps_to_its_document(case: Any, address: str) -> None:
    """Whatever is sent, status, type, shape and headers of the answer are the documented ones."""
    case.call_and_validate(base_url=address)
