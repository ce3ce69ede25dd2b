"""The tracker over real HTTP: the whole way of a learner, and everything that is refused."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import httpx
import pytest
import pytest_asyncio
import uvicorn

from session_tracker.api.app import create_app
from session_tracker.certificate import verify_certificate
from session_tracker.merkle import consistency_holds, inclusion_holds
from session_tracker.signed_pdf import verify_file
from session_tracker.testing import Studio
from verifier.edge import ApiKeys, KeyScope, new_api_key
from verifier.types import Decision

NEWCOMER = {
    "category": "principal",
    "track": "initial",
    "industry": "furniture",
    "business_ref": "b-1",
}
TEMPLATE = base64.b64encode(b"opaque").decode()


@dataclass
class Site:
    """A served tracker and a client of it."""

    studio: Studio
    http: httpx.AsyncClient

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        """Call, and give the answer's JSON; anything but success fails the test."""
        response = await self.http.request(method, path, **options)
        assert response.is_success, response.text
        return response.json()

    async def refused(self, status: int, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Call, and give the problem details of the refusal."""
        response = await self.http.request(method, path, **options)
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = response.json()
        assert problem["status"] == status
        assert problem["request_id"] == response.headers["x-request-id"]
        return problem

    async def learner(self, **more: str) -> str:
        """Register somebody."""
        made = await self.ask("POST", "/v1/learners", json={**NEWCOMER, **more})
        return str(made["learner_id"])

    async def enrolled(self, **more: str) -> tuple[str, str]:
        """Register, enrol and consent."""
        learner = await self.learner(**more)
        body = {"template": TEMPLATE, "provenance": "id_photo"}
        await self.ask("PUT", f"/v1/learners/{learner}/template", json=body)
        path = f"/v1/staff/learners/{learner}/approval"
        await self.ask("POST", path, json={"reason": "seen"})
        consent = await self.ask(
            "POST", f"/v1/learners/{learner}/consents", json={"text_version": "2026-11"}
        )
        return learner, str(consent["consent_id"])

    async def open(self, learner: str, consent: str, **more: Any) -> dict[str, Any]:
        """Open a session."""
        opened: dict[str, Any] = await self.ask(
            "POST", "/v1/sessions", json=opening(learner, consent, **more)
        )
        return opened

    async def study(self, opened: dict[str, Any], seconds: int, media: str = "lesson-1") -> int:
        """Sit in front of the camera and report, over HTTP; gives the last position in ms."""
        session, bearer = opened["session_id"], bearer_of(opened)
        position, playing, seq = 0, False, 0
        for step in range(seconds // 5):
            self.studio.clock.advance(5_000)
            await self.studio.service.settled()
            position += 5_000 if playing else 0
            await self.studio.verifier.frame(session, identity=step % 5 == 0)
            await self.studio.service.settled()
            view = await self.ask("GET", f"/v1/sessions/{session}", headers=bearer)
            if view["play"] != playing or step % 3 == 0:
                playing, seq = view["play"], seq + 1
                body = {"seq": seq, "media_id": media, "media_ms": position, "playing": playing}
                await self.ask(
                    "POST", f"/v1/sessions/{session}/playback", json=body, headers=bearer
                )
        return position


def opening(learner: str, consent: str, **more: Any) -> dict[str, Any]:
    """The body that opens a session."""
    body = {"learner_id": learner, "consent_id": consent, "programme": "demo"}
    return {**body, "media": ["lesson-1"], **more}


def bearer_of(opened: dict[str, Any]) -> dict[str, str]:
    """The device's credentials."""
    return {"Authorization": f"Bearer {opened['session_token']}"}


@pytest_asyncio.fixture
async def site(studio: Studio) -> AsyncIterator[Site]:
    """The studio's tracker on a loopback port."""
    async with served(studio) as made:
        yield made


class served:  # noqa: N801 - reads as a word
    """Serve a tracker in this loop, so that its clock can be moved by hand."""

    def __init__(self, studio: Studio, api_keys: ApiKeys | None = None) -> None:
        self._studio = studio
        app = create_app(studio.service, api_keys=api_keys)
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
        self._server = uvicorn.Server(config)

    async def __aenter__(self) -> Site:
        """Start."""
        self._task = asyncio.create_task(self._server.serve())
        while not self._server.started:  # noqa: ASYNC110 - uvicorn offers no event
            await asyncio.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30)
        return Site(self._studio, self._http)

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self._http.aclose()
        self._server.should_exit = True
        await self._task


# --- the way of a learner ---------------------------------------------------------------------


async def test_from_registration_to_the_public_check(site: Site) -> None:
    """Register, consent, study twice, get the certificate, check it, prove it, revoke it."""
    learner, consent = await site.enrolled()
    people = site.studio.service.registry.people
    await people.record(learner, name="欧阳明", identity_number=None)
    for media in ("lesson-1", "lesson-2"):
        opened = await site.open(learner, consent, media=[media])
        await site.study(opened, 300, media)
        ended = await site.ask(
            "POST", f"/v1/sessions/{opened['session_id']}/close", headers=bearer_of(opened)
        )
        assert ended["state"] == "settled"
    credit = await site.ask("GET", f"/v1/learners/{learner}/credit?programme=demo")
    number = credit["certificate"]
    assert number is not None
    assert 480 <= credit["credited_s"] <= credit["wall_s"]
    assert len(credit["sessions"]) == 2

    document = await site.http.get(f"/v1/certificates/{number}/document")
    checked = verify_certificate(document.content, site.studio.keyring)
    assert checked.credited_s == credit["credited_s"]
    await site.refused(422, "GET", f"/v1/certificates/{number}/pdf")
    await site.refused(404, "GET", f"/v1/certificates/{number}/pdf?code={'0' * 16}")
    drawn = await site.http.get(f"/v1/certificates/{number}/qr.svg?code={checked.check_code}")
    assert drawn.headers["content-type"] == "image/svg+xml"
    paper = await site.http.get(f"/v1/certificates/{number}/pdf?code={checked.check_code}")
    assert paper.headers["content-type"] == "application/pdf"
    assert verify_file(paper.content, site.studio.keyring) == checked
    public = await site.ask("GET", f"/v1/certificates/{number}?code={checked.check_code}")
    assert (public["state"], public["class_hours"]) == ("valid", checked.class_hours)
    assert public["holder_name"] == "欧**"
    assert learner not in str(public)
    without = await site.ask("GET", f"/v1/certificates/{number}")
    assert (without["holder_name"], without["check_code"]) == (None, None)
    wrong = "0" * 16
    await site.refused(404, "GET", f"/v1/certificates/{number}?code={wrong}")
    revoked = await site.ask(
        "POST", f"/v1/certificates/{number}/revoke", json={"reason": "found by a spot check"}
    )
    assert (revoked["state"], revoked["reason"]) == ("revoked", "found by a spot check")
    assert (await site.ask("GET", f"/v1/certificates/{number}"))["state"] == "revoked"
    await site.refused(410, "GET", f"/v1/certificates/{number}/pdf?code={checked.check_code}")


async def test_every_second_is_explained(site: Site) -> None:
    """The explanation splits the session without rest and shows the facts behind it."""
    learner, consent = await site.enrolled()
    opened = await site.open(learner, consent)
    await site.study(opened, 120)
    site.studio.verifier.show(opened["session_id"], Decision.MISMATCH)
    for _ in range(6):
        site.studio.clock.advance(5_000)
        await site.studio.verifier.frame(opened["session_id"])
        await site.studio.service.settled()
    story = await site.ask("GET", f"/v1/sessions/{opened['session_id']}/explain")
    assert story["credited_ms"] + sum(story["void_ms"].values()) == (
        story["end_ms"] - story["start_ms"]
    )
    assert {"opened", "presence", "identity", "check", "playback"} <= {
        fact["kind"] for fact in story["facts"]
    }
    spans = story["spans"]
    assert (spans[0]["from_ms"], spans[-1]["to_ms"]) == (story["from_ms"], story["to_ms"])
    assert all(a["to_ms"] == b["from_ms"] for a, b in pairwise(spans))
    assert sum(story["seconds"].values()) == (story["to_ms"] - story["from_ms"]) // 1_000
    keys = {fact["key"] for fact in story["facts"]}
    assert keys >= {key for span in spans for key in span["evidence"]}
    codes = {span["reason"] or span["state"] for span in spans}
    assert codes <= story["words"].keys()


async def test_the_device_sees_no_scores(site: Site) -> None:
    """No answer to the device holds a similarity, a threshold, a check or its cause."""
    learner, consent = await site.enrolled()
    opened = await site.open(learner, consent)
    await site.study(opened, 60)
    path = f"/v1/sessions/{opened['session_id']}"
    seen = str(await site.ask("GET", path, headers=bearer_of(opened)))
    assert not [w for w in ("similar", "threshold", "live", "check_", "cause", "0.71") if w in seen]


# --- idempotency, order, races ----------------------------------------------------------------


async def test_repeats_and_contradictions(site: Site) -> None:
    """A repeated report gets the first answer, the same seq with another body 409."""
    learner, consent = await site.enrolled()
    opened = await site.open(learner, consent)
    path, bearer = f"/v1/sessions/{opened['session_id']}/playback", bearer_of(opened)
    body = {"seq": 1, "media_id": "lesson-1", "media_ms": 0, "playing": False}
    first = await site.ask("POST", path, json=body, headers=bearer)
    await site.study(opened, 30)
    assert await site.ask("POST", path, json=body, headers=bearer) == first
    problem = await site.refused(409, "POST", path, json={**body, "media_ms": 9}, headers=bearer)
    assert "seq" in problem["detail"]


async def test_two_devices_racing(site: Site) -> None:
    """Of many sessions opened at once one is created and the others are 409."""
    learner, consent = await site.enrolled()
    statuses: list[int] = []

    async def attempt() -> None:
        response = await site.http.post("/v1/sessions", json=opening(learner, consent))
        statuses.append(response.status_code)

    await asyncio.gather(*(attempt() for _ in range(6)))
    assert sorted(statuses) == [201, 409, 409, 409, 409, 409]


async def test_the_older_holder_gets_409(site: Site) -> None:
    """Once another device has taken over, and seen the learner, the older one is told."""
    learner, consent = await site.enrolled()
    old = await site.open(learner, consent)
    await site.study(old, 30)
    new = await site.open(learner, consent, take_over=True)
    await site.study(new, 60)
    body = {"seq": 900, "media_id": "lesson-1", "media_ms": 0, "playing": True}
    path = f"/v1/sessions/{old['session_id']}/playback"
    problem = await site.refused(409, "POST", path, json=body, headers=bearer_of(old))
    assert "another device" in problem["detail"]


async def test_a_new_stream_after_a_drop(site: Site) -> None:
    """A device whose stream was lost gets another, and the tracks count on."""
    learner, consent = await site.enrolled()
    opened = await site.open(learner, consent)
    await site.study(opened, 30)
    path = f"/v1/sessions/{opened['session_id']}/stream"
    grant = await site.ask("POST", path, headers=bearer_of(opened))
    assert grant["stream_id"] != opened["stream"]["stream_id"]
    assert list(site.studio.verifier.streams) == [grant["stream_id"]]
    assert site.studio.verifier.closed == {opened["stream"]["stream_id"]: True}
    await site.studio.verifier.frame(opened["session_id"])


# --- refusals ---------------------------------------------------------------------------------


async def test_a_session_without_consent_is_refused(site: Site) -> None:
    """No consent_id: 422 naming the field; an unknown one: 404."""
    learner, consent = await site.enrolled()
    body = opening(learner, consent)
    del body["consent_id"]
    problem = await site.refused(422, "POST", "/v1/sessions", json=body)
    assert "consent_id" in str(problem["errors"])
    await site.refused(404, "POST", "/v1/sessions", json=opening(learner, "cns_none"))


async def test_high_risk_industries_are_refused_with_the_reason(site: Site) -> None:
    """Fireworks train offline only."""
    learner, consent = await site.enrolled(industry="fireworks")
    problem = await site.refused(403, "POST", "/v1/sessions", json=opening(learner, consent))
    assert "fireworks train offline" in problem["detail"]
    assert "institution" in problem["remedy"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/learners/lrn_none", None),
        ("PUT", "/v1/learners/lrn_none/template", {"template": TEMPLATE, "provenance": "id_photo"}),
        ("POST", "/v1/learners/lrn_none/consents", {"text_version": "1"}),
        ("GET", "/v1/learners/lrn_none/credit?programme=demo", None),
        ("GET", "/v1/sessions/ses_none/explain", None),
        ("GET", "/v1/certificates/BR2026-NONE", None),
    ],
)
async def test_what_is_unknown_is_404(
    site: Site, method: str, path: str, body: dict[str, str] | None
) -> None:
    """Unknown learners, sessions and certificates are not found, whatever is asked of them."""
    await site.refused(404, method, path, json=body)


@pytest.mark.parametrize("token", [None, "Bearer sst_wrong", "Basic abc", "Bearer"])
async def test_without_its_token_a_session_is_closed_to_devices(
    site: Site, token: str | None
) -> None:
    """No token, a wrong one or another scheme: 401."""
    learner, consent = await site.enrolled()
    opened = await site.open(learner, consent)
    headers = {} if token is None else {"Authorization": token}
    for method, rest in (("GET", ""), ("POST", "/close"), ("POST", "/stream")):
        path = f"/v1/sessions/{opened['session_id']}{rest}"
        await site.refused(401, method, path, headers=headers)


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 0},
        {"seq": "1"},
        {"seq": 2**53},
        {"media_ms": -1},
        {"playing": "yes"},
        {"media_id": "../../etc"},
        {"credited_s": 9_000},
    ],
)
async def test_reports_that_cannot_be_meant(site: Site, change: dict[str, Any]) -> None:
    """Wrong types, impossible numbers and unknown fields are 422, and nothing is recorded."""
    learner, consent = await site.enrolled()
    opened = await site.open(learner, consent)
    body = {"seq": 1, "media_id": "lesson-1", "media_ms": 0, "playing": True, **change}
    path = f"/v1/sessions/{opened['session_id']}/playback"
    await site.refused(422, "POST", path, json=body, headers=bearer_of(opened))


async def test_bodies_are_bounded(site: Site) -> None:
    """A template of a megabyte is refused before it is read."""
    learner = await site.learner()
    body = {"template": "A" * 1_000_000, "provenance": "id_photo"}
    await site.refused(413, "PUT", f"/v1/learners/{learner}/template", json=body)


async def test_a_read_only_database_answers_503_and_recovers(site: Site) -> None:
    """What cannot be recorded is neither acknowledged nor shown; the device still looks on."""
    learner, consent = await site.enrolled()
    opened = await site.open(learner, consent)
    await site.study(opened, 30)
    path, bearer = f"/v1/sessions/{opened['session_id']}/playback", bearer_of(opened)
    body = {"seq": 500, "media_id": "lesson-1", "media_ms": 20_000, "playing": True}
    await read_only(site.studio, True)
    problem = await site.refused(503, "POST", path, json=body, headers=bearer)
    assert "readonly" in problem["detail"]
    assert "writable" in problem["remedy"]
    assert problem["retry_after_s"] > 0
    await site.refused(503, "GET", "/readyz")
    await site.refused(503, "POST", "/v1/learners", json=NEWCOMER)
    await site.ask("GET", "/healthz")
    await site.ask("GET", f"/v1/sessions/{opened['session_id']}", headers=bearer)
    await site.refused(503, "GET", f"/v1/learners/{learner}/credit?programme=demo")
    await read_only(site.studio, False)
    await site.ask("POST", path, json=body, headers=bearer)
    await site.ask("GET", "/readyz")
    assert (await site.studio.service.audit()).intact


async def read_only(studio: Studio, wanted: bool) -> None:
    """Let the database refuse every write from now on, or no longer."""
    engine = studio.service._database._write_engine
    assert engine is not None
    pragma = f"PRAGMA query_only = {'ON' if wanted else 'OFF'}"
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await (await driver.execute(pragma)).close()


# --- ledger -----------------------------------------------------------------------------------


async def test_heads_and_proofs(site: Site) -> None:
    """Whoever keeps a head can later prove entries and that nothing was rewritten."""
    await site.enrolled()
    early = await site.ask("GET", "/v1/ledger/head")
    await site.enrolled()
    late = await site.ask("GET", "/v1/ledger/head")
    index = early["size"] - 1
    proof = await site.ask("GET", f"/v1/ledger/proof?index={index}&size={late['size']}")
    assert inclusion_holds(
        index=index,
        size=late["size"],
        leaf=bytes.fromhex(proof["leaf_hash"]),
        path=[bytes.fromhex(step) for step in proof["path"]],
        root=bytes.fromhex(late["root"]),
    )
    sizes = f"earlier={early['size']}&later={late['size']}"
    consistency = await site.ask("GET", f"/v1/ledger/consistency?{sizes}")
    assert consistency_holds(
        consistency["proof"],
        earlier=early["size"],
        earlier_root=bytes.fromhex(early["root"]),
        later=late["size"],
        later_root=bytes.fromhex(late["root"]),
    )
    await site.refused(400, "GET", "/v1/ledger/proof?index=99999&size=3")


async def test_nobody_can_watch_the_ledger_grow(site: Site) -> None:
    """Every look at a learner is an entry: what came since the last head is nobody's business."""
    before = await site.ask("GET", "/v1/ledger/head")
    await site.enrolled()
    size = await site.studio.service.ledger.size()
    assert size > before["size"]
    answers = set()
    for beyond in (size, size + 1, 2**53 - 1):
        for path in (f"proof?index=0&size={beyond}", f"consistency?earlier=1&later={beyond}"):
            answer = await site.http.get(f"/v1/ledger/{path}")
            answers.add((answer.status_code, answer.json()["detail"]))
    assert answers == {(400, "No signed head covers so many entries.")}
    site.studio.clock.advance(9 * 60_000)
    assert await site.ask("GET", "/v1/ledger/head") == before
    site.studio.clock.advance(60_000)
    assert (await site.ask("GET", "/v1/ledger/head"))["size"] == size
    await site.ask("GET", f"/v1/ledger/proof?index=0&size={size}")


async def test_questions_about_the_ledger_are_rationed(site: Site) -> None:
    """A few hundred are free; then one has to wait."""
    head = await site.ask("GET", "/v1/ledger/head")
    path = f"/v1/ledger/consistency?earlier=1&later={head['size']}"
    met = Counter([(await site.http.get(path)).status_code for _ in range(301)])
    assert met == {200: 300, 429: 1}
    site.studio.clock.advance(3_000)
    await site.ask("GET", path)


async def test_health_version_and_metrics(site: Site) -> None:
    """Probes answer; the version names models and policies; metrics count by route."""
    assert (await site.ask("GET", "/healthz")) == {"status": "ok"}
    assert (await site.ask("GET", "/readyz")) == {"status": "ok"}
    version = await site.ask("GET", "/version")
    assert version["policies"] == {"demo": "3"}
    assert version["profile_version"] == "scripted-1"
    metrics = (await site.http.get("/metrics")).text
    assert 'service="tracker"' in metrics


async def test_programmes_show_their_rules(site: Site) -> None:
    """Anybody with a key reads which rules are in force."""
    (programme,) = await site.ask("GET", "/v1/programmes")
    assert programme["target_s"] == {"initial": 480, "refresher": 240}
    assert programme["policy"]["brackets"]["max_gap_s"] == 120


async def test_keys_and_scopes(studio: Studio) -> None:
    """With keys configured servers need the tracker's scope; public paths stay public."""
    secret, line = new_api_key("desk", [KeyScope.TRACKER])
    other, other_line = new_api_key("cam", [KeyScope.VERIFIER])
    async with served(studio, ApiKeys.parse([line, other_line])) as site:
        await site.refused(401, "GET", "/v1/programmes")
        await site.refused(403, "GET", "/v1/programmes", headers={"X-API-Key": other})
        await site.ask("GET", "/v1/programmes", headers={"X-API-Key": secret})
        await site.ask("GET", "/v1/ledger/head")
        await site.refused(404, "GET", "/v1/certificates/BR2026-NONE")
        await site.refused(401, "POST", "/v1/certificates/BR2026-NONE/revoke", json={"reason": "x"})


async def test_erasing_and_withdrawing(site: Site) -> None:
    """Biometrics are erased by one call; a withdrawn consent ends the session."""
    learner, consent = await site.enrolled()
    opened = await site.open(learner, consent)
    withdrawn = await site.ask("POST", f"/v1/learners/{learner}/consents/{consent}/withdraw")
    assert withdrawn["withdrawn_ms"] is not None
    await site.studio.service.settled()
    path = f"/v1/sessions/{opened['session_id']}"
    assert (await site.ask("GET", path, headers=bearer_of(opened)))["state"] == "settled"
    erased = await site.ask("DELETE", f"/v1/learners/{learner}/biometrics")
    assert erased["templates_erased"] == 1
    assert (await site.ask("DELETE", f"/v1/learners/{learner}/biometrics"))["templates_erased"] == 0


# --- the document -----------------------------------------------------------------------------


async def test_no_route_clashes_with_the_verifier(site: Site) -> None:
    """The tracker's paths are its own, so that both services fit in one process."""
    document = await site.ask("GET", "/openapi.json")
    roots = {path.split("/")[2] for path in document["paths"] if path.startswith("/v1/")}
    assert roots == {
        "learners",
        "me",
        "programmes",
        "sessions",
        "certificates",
        "courses:settle",
        "ledger",
        "outbox",
        "exports",
        "reviews",
        "staff",
    }
    for path, item in document["paths"].items():
        for operation in item.values():
            assert operation["summary"], path


async def test_the_examples_are_accepted(site: Site) -> None:
    """The examples of the document have the form that the document asks for."""
    document = await site.ask("GET", "/openapi.json")
    bodies = document["components"]["schemas"]["NewLearner"]["properties"]
    example = {name: field["examples"][0] for name, field in bodies.items() if "examples" in field}
    await site.ask("POST", "/v1/learners", json=example)
