"""The edge on an app of its own: problems, ids, access, limits, metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request, WebSocket
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from verifier.edge import (
    MEDIA_TYPE,
    ApiKeys,
    EdgeLimits,
    Entry,
    HttpMetrics,
    KeyScope,
    RouteRule,
    install_edge,
    is_loopback,
    new_api_key,
    require_loopback_without_keys,
)
from verifier.errors import ConfigurationError, Overloaded, StreamGone

VERIFIER, VERIFIER_LINE = new_api_key("lms", [KeyScope.VERIFIER])
TRACKER, TRACKER_LINE = new_api_key("tracker", [KeyScope.TRACKER])
ADMIN, ADMIN_LINE = new_api_key("root", [KeyScope.ADMIN])
KEYS = ApiKeys.parse([VERIFIER_LINE, TRACKER_LINE, ADMIN_LINE])
RULES = [
    RouteRule(path="/healthz", by=Entry.ANYONE),
    RouteRule(path="/metrics", by=Entry.LOCAL),
    RouteRule(path="/admin", by=KeyScope.ADMIN),
    RouteRule(
        path="/streams/{name}/frames", by=Entry.TOKEN, accepts=("image/*",), max_body_bytes=10
    ),
]


class Sent(BaseModel):
    """What the echo takes."""

    model_config = ConfigDict(extra="forbid", strict=True)
    text: str


def make_app(
    keys: ApiKeys = KEYS, limits: EdgeLimits | None = None, metrics: HttpMetrics | None = None
) -> FastAPI:
    """Make an app with one route for each thing that can happen."""
    app = FastAPI(redirect_slashes=False, docs_url=None, redoc_url=None)
    router = APIRouter()
    errors: dict[str, Exception] = {
        "full": Overloaded(remedy="Wait."),
        "gone": StreamGone(),
        "bug": RuntimeError("the password is swordfish"),
    }

    @router.get("/healthz")
    @router.get("/metrics")
    @router.get("/admin")
    async def plain() -> dict[str, bool]:
        return {"ok": True}

    @router.post("/echo")
    async def echo(sent: Sent, request: Request) -> dict[str, str]:
        key = request.state.api_key
        return {"text": sent.text, "key": key.id if key else "", "id": request.state.request_id}

    @router.get("/items/{number}")
    async def item(number: int) -> int:
        return number

    @router.get("/several")
    async def read_several() -> int:
        return 1

    @router.post("/several")
    async def write_several() -> int:
        return 2

    @router.get("/fail/{how}")
    async def fail(how: str) -> None:
        raise errors[how]

    @router.post("/streams/{name}/frames")
    async def frames(name: str, request: Request) -> int:
        return len(await request.body())

    @router.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(websocket.state.request_id)
        await websocket.close()

    app.include_router(router)
    install_edge(
        app,
        service="test",
        api_keys=keys,
        default=KeyScope.VERIFIER,
        rules=RULES,
        limits=limits,
        metrics=metrics,
    )
    return app


def client(
    app: FastAPI, *, address: str = "10.0.0.9", host: str = "api.example", key: str = ""
) -> httpx.AsyncClient:
    """Make a client that calls from an address, by a host name, with a key."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, client=(address, 1)),
        base_url=f"http://{host}",
        headers={"Authorization": f"Bearer {key}"} if key else {},
    )


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is a whole problem document, and give it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    assert found["code"] == code
    assert found["type"].endswith(code)
    assert found["title"]
    assert found["detail"]
    assert found["request_id"] == answer.headers["x-request-id"]
    return found


async def test_a_request_passes_and_is_named() -> None:
    """A sane request id is taken over, another one is replaced; answers are not cached."""
    async with client(make_app(), key=VERIFIER) as caller:
        answer = await caller.post(
            "/echo", json={"text": "x"}, headers={"X-Request-ID": "lesson-7.frame_3"}
        )
        assert answer.json() == {"text": "x", "key": "lms", "id": "lesson-7.frame_3"}
        assert answer.headers["x-request-id"] == "lesson-7.frame_3"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        for strange in ("short", "a" * 65, "with blank in it", "<script>alert(1)</script>"):
            answer = await caller.get("/items/1", headers={"X-Request-ID": strange})
            assert len(answer.headers["x-request-id"]) == 32
            assert strange not in answer.headers["x-request-id"]


async def test_errors_of_the_framework_are_problems() -> None:
    """Unknown paths, wrong methods and trailing slashes get problem details."""
    async with client(make_app(), key=VERIFIER) as caller:
        problem(await caller.get("/nowhere"), 404, "not_found")
        problem(await caller.get("/items/1/"), 404, "not_found")
        answer = await caller.delete("/items/1")
        problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == "GET"
        answer = await caller.delete("/several")
        assert answer.headers["allow"] == "GET, POST"


async def test_validation_names_the_fields_and_never_the_input() -> None:
    """What is wrong is told by place; what was sent is not sent back."""
    async with client(make_app(), key=VERIFIER) as caller:
        answer = await caller.post("/echo", json={"text": 1, "photo": "private" * 99})
        found = problem(answer, 422, "invalid_request")
        assert [error["where"] for error in found["errors"]] == ["body/text", "body/photo"]
        assert "private" not in answer.text
        answer = await caller.get("/items/swordfish")
        assert problem(answer, 422, "invalid_request")["errors"][0]["where"] == "path/number"
        assert "swordfish" not in answer.text
        answer = await caller.post("/echo", json={f"{'k' * 5_000}{n}": 1 for n in range(100)})
        assert len(problem(answer, 422, "invalid_request")["errors"]) == 20
        assert len(answer.content) < 20_000


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000, b"\xff\xfe\x00{", b"", b"1" * 5_000])
async def test_bodies_that_are_no_json_are_told(body: bytes) -> None:
    """Broken, bottomless, wrongly encoded and absent JSON are the caller's fault."""
    async with client(make_app(), key=VERIFIER) as caller:
        answer = await caller.post(
            "/echo", content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code in (400, 422)
        problem(answer, answer.status_code, answer.json()["code"])


async def test_errors_of_the_project_keep_their_status() -> None:
    """A retry time becomes a header too."""
    async with client(make_app(), key=VERIFIER) as caller:
        answer = await caller.get("/fail/full")
        found = problem(answer, 503, "overloaded")
        assert found["remedy"] == "Wait."
        assert answer.headers["retry-after"] == str(found["retry_after_s"])
        answer = await caller.get("/fail/gone")
        assert "retry-after" not in answer.headers
        problem(answer, 410, "stream_gone")


async def test_the_unexpected_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the request id and the traceback, the answer has only the id."""
    async with client(make_app(), key=VERIFIER) as caller:
        with caplog.at_level(logging.ERROR, "benren.edge"):
            answer = await caller.get("/fail/bug")
        found = problem(answer, 500, "internal_error")
        assert "swordfish" not in answer.text
        assert found["request_id"] in caplog.text
        assert "swordfish" in caplog.text
        assert (await caller.get("/items/1")).status_code == 200


async def test_keys_open_what_their_scope_says() -> None:
    """Both headers work; no key, a wrong key and a key of another scope are told apart."""
    app = make_app()
    async with client(app) as caller:
        answer = await caller.get("/items/1")
        problem(answer, 401, "unauthorised")
        assert answer.headers["www-authenticate"] == "Bearer"
        for key in ("x", VERIFIER[:-1] + "!", VERIFIER.replace("lms", "root"), "é"):
            answer = await caller.get("/items/1", headers={"X-API-Key": key.encode()})
            problem(answer, 401, "unauthorised")
        assert (await caller.get("/items/1", headers={"X-API-Key": VERIFIER})).status_code == 200
    for key, status in ((VERIFIER, 200), (ADMIN, 200), (TRACKER, 403)):
        async with client(app, key=key) as caller:
            assert (await caller.get("/items/1")).status_code == status
    for key, status in ((VERIFIER, 403), (ADMIN, 200)):
        async with client(app, key=key) as caller:
            assert (await caller.get("/admin")).status_code == status
    async with client(app, key=TRACKER) as caller:
        problem(await caller.get("/items/1"), 403, "refused")


async def test_loopback_is_no_key() -> None:
    """Where keys are configured, being on the same machine opens metrics and nothing else."""
    app = make_app()
    async with client(app, address="127.0.0.1") as caller:
        assert (await caller.get("/items/1")).status_code == 401
        assert (await caller.get("/metrics")).status_code == 200
        relayed = await caller.get("/metrics", headers={"X-Forwarded-For": "8.8.8.8"})
        assert relayed.status_code == 401
    async with client(app) as caller:
        assert (await caller.get("/metrics")).status_code == 401
    async with client(app, key=TRACKER) as caller:
        assert (await caller.get("/metrics")).status_code == 200


async def test_probes_are_open_and_token_routes_check_for_themselves() -> None:
    """Liveness needs nothing; a learner's device has a stream's token, no API key."""
    async with client(make_app()) as caller:
        assert (await caller.get("/healthz")).status_code == 200
        picture = {"content": b"jpg", "headers": {"content-type": "image/jpeg"}}
        problem(await caller.post("/streams/s/frames", **picture), 401, "unauthorised")
        caller.headers["Authorization"] = "Bearer of-a-stream"
        assert (await caller.post("/streams/s/frames", **picture)).json() == 3


async def test_unknown_paths_need_a_key_too() -> None:
    """What no rule opens is closed, whether it exists or not."""
    async with client(make_app()) as caller:
        for path in ("/nowhere", "/docs", "/healthz/", "/healthz/x", "//healthz", "/streams/s"):
            assert (await caller.get(path)).status_code == 401, path


async def test_without_keys_only_this_machine_is_served() -> None:
    """Strangers, relayed requests and rebound host names are refused, with the remedy."""
    app = make_app(ApiKeys())
    for address, host, extra, status in (
        ("127.0.0.1", "127.0.0.1", {}, 200),
        ("::1", "localhost", {}, 200),
        ("::ffff:127.0.0.1", "[::1]", {}, 200),
        ("10.0.0.9", "127.0.0.1", {}, 403),
        ("127.0.0.1", "evil.example", {}, 403),
        ("127.0.0.1", "127.0.0.1", {"Forwarded": "for=8.8.8.8"}, 403),
    ):
        async with client(app, address=address, host=host) as caller:
            answer = await caller.get("/items/1", headers=extra)
            assert answer.status_code == status, (address, host)
            if status != 200:
                assert "benren keys new" in problem(answer, 403, "refused")["remedy"]
            assert (await caller.get("/healthz")).status_code == 200


async def test_websockets_pass_the_same_gate() -> None:
    """A handshake without a key is closed before it is accepted."""

    async def connect(key: str) -> list[dict[str, Any]]:
        sent: list[Any] = []
        headers = [(b"authorization", f"Bearer {key}".encode())] if key else []

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "websocket",
            "path": "/socket",
            "headers": headers,
            "query_string": b"",
            "client": ("10.0.0.9", 1),
            "root_path": "",
        }
        await make_app()(scope, receive, send)
        return sent

    assert (await connect(""))[0] == {"type": "websocket.close", "code": 1008}
    accepted, greeting, *_ = await connect(VERIFIER)
    assert accepted["type"] == "websocket.accept"
    assert len(greeting["text"]) == 32


@pytest.mark.parametrize(
    ("path", "media_type", "status"),
    [
        ("/echo", "application/json; charset=utf-8", 200),
        ("/echo", "APPLICATION/JSON", 200),
        ("/echo", "text/plain", 415),
        ("/echo", "application/jsonp", 415),
        ("/echo", "multipart/form-data; boundary=x", 415),
        ("/echo", "", 415),
        ("/streams/s/frames", "image/webp", 200),
        ("/streams/s/frames", "application/json", 415),
        ("/streams/s/frames", "imagery/jpeg", 415),
    ],
)
async def test_content_types_are_checked(path: str, media_type: str, status: int) -> None:
    """Each path takes what its rule says; a body without a content type is refused."""
    async with client(make_app(), key=VERIFIER) as caller:
        headers = {"content-type": media_type} if media_type else {}
        body = b'{"text":""}' if path == "/echo" else b"x"
        answer = await caller.post(path, content=body, headers=headers)
        assert answer.status_code == status
        if status == 415:
            assert "Send " in problem(answer, 415, "unsupported_media_type")["remedy"]


async def chunks(count: int) -> AsyncIterator[bytes]:
    """Give a body in pieces, without a length."""
    for _ in range(count):
        yield b" " * 50


async def test_large_bodies_are_refused_before_and_while_reading() -> None:
    """An announced and a hidden excess are both 413; the route's own limit counts first."""
    app = make_app(limits=EdgeLimits(max_body_bytes=100))
    json = {"content-type": "application/json"}
    async with client(app, key=VERIFIER) as caller:
        answer = await caller.post("/echo", content=b" " * 101, headers=json)
        problem(answer, 413, "request_too_large")
        answer = await caller.post("/echo", content=chunks(1_000), headers=json)
        problem(answer, 413, "request_too_large")
        answer = await caller.post("/echo", content=b'{"text":"ok"}' + b" " * 87, headers=json)
        assert answer.json()["text"] == "ok"
        answer = await caller.post(
            "/streams/s/frames", content=b"x" * 11, headers={"content-type": "image/png"}
        )
        problem(answer, 413, "request_too_large")


@pytest.mark.parametrize("length", ["-1", "1e3", "٣", "", "9" * 400])
async def test_strange_lengths_are_refused(length: str) -> None:
    """A Content-Length that is no number, or an absurd one, never reaches the app."""
    async with client(make_app(), key=VERIFIER) as caller:
        headers = [("content-type", "application/json"), ("content-length", length.encode())]
        answer = await caller.post("/echo", content=b"{}", headers=headers)
        assert answer.status_code in (400, 413)


async def test_bodies_held_together_are_bounded() -> None:
    """While one large body is held another gets 503; afterwards its place is free again."""
    app = make_app(limits=EdgeLimits(max_body_bytes=100, max_held_bytes=120))
    json = {"content-type": "application/json"}
    release, reading = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b'{"text":"slow"}' + b" " * 75
        reading.set()
        await release.wait()
        yield b" "

    async with client(app, key=VERIFIER) as caller:
        first = asyncio.create_task(caller.post("/echo", content=slow(), headers=json))
        await reading.wait()
        answer = await caller.post("/echo", content=b"{}" + b" " * 60, headers=json)
        problem(answer, 503, "overloaded")
        assert "retry-after" in answer.headers
        release.set()
        assert (await first).json()["text"] == "slow"
        for _ in range(3):
            answer = await caller.post("/echo", json={"text": "x" * 70})
            assert answer.status_code == 200


async def test_slow_bodies_are_cut_off() -> None:
    """A body that does not arrive in time is 408."""
    app = make_app(limits=EdgeLimits(body_timeout_s=0.01))

    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async with client(app, key=VERIFIER) as caller:
        answer = await caller.post(
            "/echo", content=never(), headers={"content-type": "application/json"}
        )
        problem(answer, 408, "request_timeout")


async def test_requests_are_counted_by_pattern() -> None:
    """Metrics know the pattern of a path, never the path, and the code of each problem."""
    metrics = HttpMetrics()
    async with client(make_app(metrics=metrics), key=VERIFIER) as caller:
        for number in (1, 2):
            await caller.get(f"/items/{number}")
        await caller.get("/items/x")
        await caller.get("/nowhere")
        await caller.request("BREW", "/items/1")
        await caller.get("/fail/full")

    def count(method: str, route: str, status: str) -> float | None:
        labels = {"service": "test", "method": method, "route": route, "status": status}
        return metrics.registry.get_sample_value("benren_http_requests_total", labels)

    assert count("GET", "/items/{number}", "200") == 2
    assert count("GET", "/items/{number}", "422") == 1
    assert count("GET", "unmatched", "404") == 1
    assert count("OTHER", "/items/{number}", "405") == 1
    labels = {"service": "test", "code": "overloaded"}
    assert metrics.registry.get_sample_value("benren_http_problems_total", labels) == 1
    in_progress = metrics.registry.get_sample_value(
        "benren_http_requests_in_progress", {"service": "test"}
    )
    assert in_progress == 0
    assert b"benren_http_request_seconds_bucket" in metrics.response().body


async def test_the_document_tells_what_the_edge_does() -> None:
    """OpenAPI names security and problems per path, and nothing of the framework's own errors."""
    document = make_app().openapi()
    echo = document["paths"]["/echo"]["post"]
    assert echo["security"] == [{"bearer": ["verifier"]}, {"apiKey": ["verifier"]}]
    assert {"401", "403", "413", "415", "422", "503", "default"} <= set(echo["responses"])
    reference = echo["responses"]["422"]["content"][MEDIA_TYPE]["schema"]["$ref"]
    assert reference.rpartition("/")[2] in document["components"]["schemas"]
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert "security" not in document["paths"]["/healthz"]["get"]
    frames = document["paths"]["/streams/{name}/frames"]["post"]
    assert frames["security"] == [{"clientToken": []}]


async def test_an_app_that_is_mounted_keeps_its_rules() -> None:
    """Below another app's prefix the same paths are open and closed."""
    outer = FastAPI()
    outer.mount("/verifier", make_app())
    async with client(outer) as caller:
        assert (await caller.get("/verifier/healthz")).status_code == 200
        assert (await caller.get("/verifier/items/1")).status_code == 401


def test_binding_to_strangers_needs_keys() -> None:
    """Without keys only loopback addresses may be listened on."""
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        require_loopback_without_keys(host, ApiKeys())
    for host in ("0.0.0.0", "::", "", "10.0.0.9", "example.org", "localhost.example"):  # noqa: S104
        with pytest.raises(ConfigurationError, match="loopback only"):
            require_loopback_without_keys(host, ApiKeys())
        require_loopback_without_keys(host, KEYS)


@given(st.text())
def test_nothing_odd_is_loopback(host: str) -> None:
    """Whatever the text, asking whether it is this machine gives an answer."""
    assert is_loopback(host) in (True, False)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "lms",
        "lms:sha256:abc:verifier",
        VERIFIER_LINE.replace("sha256", "md5"),
        VERIFIER_LINE.replace(":verifier", ":everything"),
        VERIFIER_LINE.replace(":verifier", ":"),
        VERIFIER_LINE.replace("lms", "LMS"),
        f"{VERIFIER_LINE}:more",
    ],
    ids=["empty", "bare", "short", "md5", "everything", "no scope", "capitals", "more"],
)
def test_wrong_key_lines_are_refused(line: str) -> None:
    """A line that is not what `benren keys new` printed is named by its number."""
    with pytest.raises(ConfigurationError, match="API key 2"):
        ApiKeys.parse([TRACKER_LINE, line])


def test_key_ids_are_unique_and_named() -> None:
    """Two keys of one id, an id with strange characters, and no scope are refused."""
    with pytest.raises(ConfigurationError, match="two API keys"):
        ApiKeys.parse([VERIFIER_LINE, VERIFIER_LINE])
    with pytest.raises(ConfigurationError, match="needs an id"):
        new_api_key("a_b", [KeyScope.ADMIN])
    with pytest.raises(ConfigurationError, match="a scope"):
        new_api_key("ab", [])


def test_the_configuration_does_not_hold_the_secret() -> None:
    """Of a key only the hash is kept, and every key is another."""
    secret, line = new_api_key("x-1", [KeyScope.TRACKER, KeyScope.VERIFIER])
    assert secret.split("_", 2)[2] not in line
    keys = ApiKeys.parse([line])
    found = keys.authenticate(secret)
    assert found is not None
    assert found.scopes == {KeyScope.TRACKER, KeyScope.VERIFIER}
    assert keys.authenticate(new_api_key("x-1", [KeyScope.TRACKER])[0]) is None
    assert not ApiKeys()
    assert keys
