"""Staff, reviewers, institutions, inspectors over HTTP: who may what, and the trail of it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from session_tracker.api.app import HEALTH_RULES, RULES, create_app
from session_tracker.erasure import verify_erasure
from session_tracker.policy import Provenance, load_policy
from session_tracker.testing import PICTURE, Lesson, Studio
from verifier.edge import ApiKeys, Gate, KeyScope, new_api_key
from verifier.edge.access import scopes_of
from verifier.types import Decision

SCOPES = {
    "course": KeyScope.TRACKER,
    "counter-3": KeyScope.STAFF,
    "li-hua": KeyScope.REVIEWER,
    "wu-wei": KeyScope.REVIEWER,
    "school": KeyScope.INSTITUTION,
    "other-school": KeyScope.INSTITUTION,
    "inspector-7": KeyScope.INSPECTOR,
}
KEYS = {name: new_api_key(name, [scope]) for name, scope in SCOPES.items()}
NUMBER = "11010519491231002X"
NEWCOMER = {
    "category": "principal",
    "track": "initial",
    "industry": "furniture",
    "business_ref": "b-7",
}


class Site:
    """The tracker's app and everybody who calls it, each by a key of his own."""

    def __init__(self, studio: Studio, http: httpx.AsyncClient) -> None:
        self.studio = studio
        self.http = http

    async def ask(
        self, who: str, method: str, path: str, *, status: int | None = None, **more: Any
    ) -> Any:
        """Send one request by somebody's key (or a device's token); give the JSON of the answer."""
        secret = KEYS[who][0] if who in KEYS else who
        headers = {"Authorization": f"Bearer {secret}", **more.pop("headers", {})}
        answer = await self.http.request(method, path, headers=headers, **more)
        good = answer.is_success if status is None else answer.status_code == status
        assert good, (answer.status_code, answer.text)
        return answer.json()

    async def newcomer(self) -> tuple[str, str]:
        """Register and enrol somebody; staff have not looked yet."""
        made = await self.ask("course", "POST", "/v1/learners", json=NEWCOMER)
        learner = made["learner_id"]
        body = {"template": base64.b64encode(b"x").decode(), "provenance": "id_photo"}
        await self.ask("course", "PUT", f"/v1/learners/{learner}/template", json=body)
        path = f"/v1/learners/{learner}/consents"
        consent = await self.ask("course", "POST", path, json={"text_version": "1"})
        return learner, consent["consent_id"]

    async def trail(self, **params: Any) -> list[tuple[str, str, str]]:
        """Read who looked at what."""
        found = await self.ask("inspector-7", "GET", "/v1/staff/trail", params=params)
        return [(look["actor"], look["route"], look["subject"]) for look in found["looks"]]


@pytest_asyncio.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    """A tracker of the demo policy, called without a network."""
    studio = Studio(database_url, policy=load_policy("demo"))
    await studio.start()
    app = create_app(studio.service, api_keys=ApiKeys.parse(line for _, line in KEYS.values()))
    transport = httpx.ASGITransport(app, client=("10.0.0.9", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://tracker") as http:
        yield Site(studio, http)
    await studio.stop()


async def suspended(site: Site, shows: Decision) -> Lesson:
    """Play a lesson that ends in a suspension."""
    lesson = await site.studio.open()
    await lesson.watch(120)
    site.studio.verifier.show(lesson.id, shows)
    await lesson.watch(600)
    await site.studio.service.settled()
    return lesson


async def test_a_registration_from_the_counter_to_the_first_lesson(site: Site) -> None:
    """Recorded, found, waiting, refused, enrolled anew, approved, admitted."""
    learner, consent = await site.newcomer()
    person = {"name": "张三", "identity_number": NUMBER}
    path = f"/v1/learners/{learner}/person"
    wrong = {**person, "identity_number": "110105194912310021"}
    problem = await site.ask("course", "PUT", path, status=422, json=wrong)
    assert problem["code"] == "identity_number_invalid"
    assert "check digit" in problem["detail"]
    assert "194912" not in str(problem)
    made = await site.ask("course", "PUT", path, json=person)
    assert made == {
        "learner_id": learner,
        "name_masked": "张*",
        "identity_number_masked": "110105***********X",
    }
    body = {
        "learner_id": learner,
        "consent_id": consent,
        "programme": "demo",
        "media": ["lesson-1"],
    }
    problem = await site.ask("course", "POST", "/v1/sessions", status=409, json=body)
    assert problem["code"] == "face_waits"
    waiting = await site.ask("counter-3", "GET", "/v1/staff/learners?business_ref=b-7")
    (listed,) = waiting["learners"]
    assert (listed["learner_id"], listed["name_masked"]) == (learner, "张*")
    assert listed["registration"]["state"] == "waiting"
    found = await site.ask(
        "counter-3", "POST", "/v1/staff/learners:find", json={"identity_number": NUMBER}
    )
    assert (found["learner_id"], found["name"], found["identity_number"]) == (
        learner,
        "张三",
        NUMBER,
    )
    refusal = {"reasons": ["the picture shows somebody else"]}
    done = await site.ask(
        "counter-3", "POST", f"/v1/staff/learners/{learner}/refusal", json=refusal
    )
    assert (done["state"], done["changed_by"]) == ("refused", "counter-3")
    problem = await site.ask("course", "POST", "/v1/sessions", status=403, json=body)
    assert problem["code"] == "enrolment_refused"
    assert "somebody else" in problem["detail"]
    approval = {"reason": "seen", "face_compared": True}
    path = f"/v1/staff/learners/{learner}/approval"
    await site.ask("counter-3", "POST", path, status=409, json=approval)
    template = {"template": base64.b64encode(b"y").decode(), "provenance": "self_live"}
    await site.ask("course", "PUT", f"/v1/learners/{learner}/template", json=template)
    await site.ask("counter-3", "POST", path, json=approval)
    read = await site.ask("counter-3", "GET", f"/v1/staff/learners/{learner}")
    assert read["registration"]["state"] == "approved"
    assert read["template"]["confirmed_ms"] is not None
    await site.ask("course", "POST", "/v1/sessions", status=201, json=body)


async def test_staff_decide_about_the_face_that_they_were_shown(site: Site) -> None:
    """Where another was enrolled since, the decision is a conflict and changes nothing."""
    learner, _ = await site.newcomer()
    shown = (await site.ask("counter-3", "GET", "/v1/staff/learners?business_ref=b-7"))["learners"]
    assert [one["template_version"] for one in shown] == [1]
    template = {"template": base64.b64encode(b"y").decode(), "provenance": "vetted_live"}
    await site.ask("course", "PUT", f"/v1/learners/{learner}/template", json=template)
    approval = {"reason": "seen", "face_compared": True, "template_version": 1}
    refusal = {"reasons": ["somebody else"], "template_version": 1}
    desk = f"/v1/staff/learners/{learner}"
    confirm = f"/v1/learners/{learner}/template/confirm"
    for path, body in ((f"{desk}/approval", approval), (f"{desk}/refusal", refusal)):
        problem = await site.ask("counter-3", "POST", path, status=409, json=body)
        assert "version 2, not 1" in problem["detail"]
    read = await site.ask("counter-3", "GET", desk)
    assert read["registration"]["state"] == "waiting"
    assert read["template"]["confirmed_ms"] is None
    confirmation = {"reason": "compared", "template_version": 2}
    done = await site.ask("counter-3", "POST", confirm, json=confirmation)
    assert done["confirmed_ms"] is not None
    body = approval | {"template_version": 2}
    assert (await site.ask("counter-3", "POST", f"{desk}/approval", json=body))[
        "template_version"
    ] == 2


async def test_staff_decide_about_an_older_face_by_its_version(site: Site) -> None:
    """Hours wait under the face that they were earned with: each is decided about alone."""
    learner, _ = await site.newcomer()
    for _ in range(2):
        template = {"template": base64.b64encode(b"y").decode(), "provenance": "vetted_live"}
        await site.ask("course", "PUT", f"/v1/learners/{learner}/template", json=template)
    desk = f"/v1/staff/learners/{learner}"
    approval = {"reason": "seen", "template_version": 3}
    await site.ask("counter-3", "POST", f"{desk}/approval", json=approval)
    confirm = f"/v1/learners/{learner}/template/confirm"
    body: dict[str, Any] = {"reason": "compared", "template_version": 1}
    done = await site.ask("counter-3", "POST", confirm, json=body)
    assert (done["version"], done["confirmed_ms"] is not None) == (1, True)
    refusal = {"reasons": ["his brother"], "template_version": 2}
    path = f"{desk}/template/refuse"
    done = await site.ask("counter-3", "POST", path, json=refusal)
    assert (done["state"], done["template_version"]) == ("approved", 3)
    body["template_version"] = 2
    problem = await site.ask("counter-3", "POST", confirm, status=409, json=body)
    assert "was refused" in problem["detail"]
    for number in (4, 2**31 - 1):
        refusal["template_version"] = number
        problem = await site.ask("counter-3", "POST", path, status=409, json=refusal)
        assert problem["code"] == "face_needed"
    read = await site.ask("counter-3", "GET", desk)
    assert (read["template"]["version"], read["template"]["confirmed_ms"]) == (3, None)
    refusal["template_version"] = 3
    done = await site.ask("counter-3", "POST", path, json=refusal)
    assert (done["state"], done["reasons"]) == ("refused", ["his brother"])


@pytest.mark.parametrize(
    ("method", "path", "let_in"),
    [
        ("GET", "/v1/reviews", {"li-hua", "wu-wei", "inspector-7"}),
        ("GET", "/v1/reviews/rev_1", {"li-hua", "wu-wei", "inspector-7"}),
        ("POST", "/v1/reviews/rev_1/decisions", {"li-hua", "wu-wei"}),
        ("POST", "/v1/reviews/rev_1/answers", {"li-hua", "wu-wei"}),
        ("GET", "/v1/staff/learners", {"counter-3", "inspector-7"}),
        ("GET", "/v1/staff/learners/lrn_1/words", {"counter-3", "inspector-7"}),
        ("POST", "/v1/staff/learners/lrn_1/approval", {"counter-3"}),
        ("POST", "/v1/staff/learners/lrn_1/erasure", {"counter-3"}),
        ("POST", "/v1/staff/learners/lrn_1/template/refuse", {"counter-3"}),
        ("POST", "/v1/staff/sessions/ses_1/supervision", {"counter-3"}),
        ("POST", "/v1/staff/sessions/ses_1/end", {"counter-3"}),
        ("POST", "/v1/staff/sessions", {"counter-3"}),
        ("GET", "/v1/staff/sessions", {"counter-3", "inspector-7"}),
        ("GET", "/v1/staff/learners/lrn_1/programmes", {"counter-3", "inspector-7"}),
        ("POST", "/v1/courses:settle", set()),
        ("POST", "/v1/staff/learners/lrn_1/offline-hours", {"school", "other-school"}),
        (
            "GET",
            "/v1/staff/learners/lrn_1/offline-hours",
            {"school", "other-school", "counter-3", "inspector-7"},
        ),
        ("GET", "/v1/staff/trail", {"inspector-7"}),
        ("GET", "/v1/staff/faces", {"counter-3", "school", "other-school", "inspector-7"}),
        ("PUT", "/v1/learners/lrn_1/person", {"course", "counter-3"}),
    ],
)
async def test_roles_are_kept_apart_by_the_server(
    site: Site, method: str, path: str, let_in: set[str]
) -> None:
    """Whoever lacks the scope gets 403, whatever the page shows."""
    json = {} if method in ("POST", "PUT") else None
    for name, (secret, _) in KEYS.items():
        headers = {"Authorization": f"Bearer {secret}"}
        answer = await site.http.request(method, path, headers=headers, json=json)
        assert (answer.status_code != 403) == (name in let_in), (name, answer.status_code)


@pytest.mark.both_databases
async def test_a_review_from_the_rules_to_the_decision(site: Site) -> None:
    """Listed, read with its evidence, answered, decided by two where a spoof is overturned."""
    lesson = await suspended(site, Decision.SPOOF)
    (review,) = (await site.ask("li-hua", "GET", "/v1/reviews"))["reviews"]
    assert (review["kind"], review["spoof"], review["reviewers_needed"]) == ("suspension", True, 2)
    path = f"/v1/reviews/{review['id']}"
    case = await site.ask("li-hua", "GET", path, headers={"X-Purpose": "the call of Tuesday"})
    assert case["explanation"]["session_id"] == lesson.id
    assert any(fact["kind"] == "suspended" for fact in case["facts"])
    shown = case["pictures"][0]
    headers = {"Authorization": f"Bearer {KEYS['li-hua'][0]}"}
    picture = await site.http.get(shown["path"], headers=headers)
    assert (picture.headers["content-type"], picture.content) == ("image/jpeg", PICTURE)
    await site.ask("li-hua", "POST", f"{path}/answers", json={"text": "we look at it"})
    decision = {"ruling": "granted", "reason": "a mirror behind him"}
    first = await site.ask("li-hua", "POST", f"{path}/decisions", json=decision)
    assert (first["state"], first["votes"][0]["actor"]) == ("second_needed", "li-hua")
    await site.ask("li-hua", "POST", f"{path}/decisions", status=403, json=decision)
    await site.ask("wu-wei", "POST", f"{path}/decisions", json=decision)
    await site.ask("wu-wei", "POST", f"{path}/decisions", status=409, json=decision)
    case = await site.ask("inspector-7", "GET", path)
    assert case["review"]["state"] == "decided"
    assert [vote["reason"] for vote in case["review"]["votes"]] == [decision["reason"]] * 2
    spans = case["explanation"]["spans"]
    assert "granted" in {span["state"] for span in spans}
    assert (await site.ask("li-hua", "GET", "/v1/reviews?state=open"))["reviews"] == []
    looks = await site.trail(subject=site.studio.learner_id)
    assert ("li-hua", "GET /v1/reviews/{review_id}", site.studio.learner_id) in looks
    assert looks[0] == ("inspector-7", "GET /v1/reviews/{review_id}", site.studio.learner_id)
    assert any(route.endswith("pictures/{fact_key}") for _, route, _ in looks)


async def test_an_appeal_from_the_learners_device(site: Site) -> None:
    """Sent with the learner's token, seen by him with its answer and its decision."""
    lesson = await suspended(site, Decision.MISMATCH)
    invited = await site.studio.service.sign_in.invite(site.studio.learner_id)
    token = (await site.studio.service.sign_in.by_link(invited.link_token, address="")).token
    told = (await site.studio.service.explain(lesson.id)).told
    lost = next(span for span in told.spans if span.reason == "mismatch")
    body = {
        "session_id": lesson.id,
        "from_ms": lost.start,
        "to_ms": lost.end,
        "text": "我擦了眼镜",
    }
    made = await site.ask(token, "POST", "/v1/me/appeals", status=201, json=body)
    assert (made["state"], made["text"]) == ("open", "我擦了眼镜")
    await site.ask(token, "POST", "/v1/me/appeals", status=409, json=body)
    await site.ask(token, "POST", "/v1/me/appeals", status=422, json={**body, "to_ms": lost.start})
    path = f"/v1/reviews/{made['id']}"
    await site.ask("li-hua", "POST", f"{path}/answers", json={"text": "until Thursday"})
    decision = {"ruling": "granted", "reason": "the picture shows him"}
    await site.ask("li-hua", "POST", f"{path}/decisions", json=decision)
    (mine,) = (await site.ask(token, "GET", "/v1/me/appeals"))["appeals"]
    assert (mine["state"], mine["answer"], mine["reason"]) == (
        "granted",
        "until Thursday",
        "the picture shows him",
    )
    case = await site.ask("li-hua", "GET", path)
    assert case["statement"] == "我擦了眼镜"
    ledger = await site.studio.service.ledger.of_subject(lesson.id)
    assert not any("眼镜".encode() in entry.body for entry in ledger)


async def test_offline_hours_the_challenge_route_and_supervision(site: Site) -> None:
    """Entered by the school, its own to withdraw; exceptions and supervision by staff."""
    learner = site.studio.learner_id
    day = site.studio.clock.stamp().utc.date().isoformat()
    path = f"/v1/staff/learners/{learner}/offline-hours"
    body = {"programme": "demo", "minutes": 180, "held_on": day, "topic": "emergency plans"}
    made = await site.ask("school", "POST", path, status=201, json=body)
    assert made["institution"] == "school"
    assert (await site.ask("counter-3", "GET", path))["minutes"] == {"demo": 180}
    gone = f"/v1/staff/offline-hours/{made['id']}/withdraw"
    await site.ask("other-school", "POST", gone, status=404, json={"reason": "not mine"})
    await site.ask("school", "POST", gone, json={"reason": "wrong person"})
    assert (await site.ask("school", "GET", path))["minutes"] == {}
    path = f"/v1/staff/learners/{learner}/challenge-route"
    await site.ask("counter-3", "POST", path, json={"reason": "flagged three times, it is him"})
    read = await site.ask("counter-3", "GET", f"/v1/staff/learners/{learner}")
    assert read["challenge_route"]
    await site.ask("counter-3", "POST", f"{path}/end", json={"reason": "another camera"})
    lesson = await site.studio.open()
    await lesson.watch(60)
    now = site.studio.clock.stamp().utc_ms
    path = f"/v1/staff/sessions/{lesson.id}/supervision"
    body = {"from_ms": now + 2_000, "to_ms": now + 30_000, "reason": "sits in room 2"}
    done = await site.ask("counter-3", "POST", path, status=201, json=body)
    assert done["confirmed_by"] == "counter-3"
    assert (done["from_ms"], done["to_ms"]) == (now, now + 30_000)
    swapped = {**body, "from_ms": now, "to_ms": now - 30_000}
    await site.ask("counter-3", "POST", path, status=409, json=swapped)
    past = {**body, "from_ms": now - 30_000, "to_ms": now}
    refused = await site.ask("counter-3", "POST", path, status=403, json=past)
    assert "appeal" in refused["remedy"]
    ahead = {**body, "from_ms": now + 60_000, "to_ms": now + 90_000}
    await site.ask("counter-3", "POST", path, status=400, json=ahead)
    await lesson.close()
    await site.ask("counter-3", "POST", path, status=409, json=past)


async def test_a_supervised_session_from_its_beginning_to_its_end(site: Site) -> None:
    """Found, opened, listed, confirmed on, ended: by whom and why the ledger has a digest."""
    made = await site.ask("course", "POST", "/v1/learners", json=NEWCOMER)
    learner, desk = made["learner_id"], "/v1/staff/sessions"
    person = {"name": "张三", "identity_number": NUMBER}
    await site.ask("course", "PUT", f"/v1/learners/{learner}/person", json=person)
    approval = {"reason": "licence seen"}
    await site.ask("counter-3", "POST", f"/v1/staff/learners/{learner}/approval", json=approval)
    path = f"/v1/staff/learners/{learner}/programmes"
    (programme,) = (await site.ask("counter-3", "GET", path))["programmes"]
    assert (programme["name"], programme["credited_s"]) == ("demo", 0)
    body = {
        "learner_id": learner,
        "programme": "demo",
        "media": ["lesson-1"],
        "minutes": 15,
        "reason": "declined the camera, room 2",
    }
    opened = await site.ask("counter-3", "POST", desk, status=201, json=body)
    (running,) = (await site.ask("counter-3", "GET", desk))["sessions"]
    assert (running["session_id"], running["name_masked"]) == (opened["session_id"], "张*")
    assert running["supervised_until_ms"] == opened["supervised_until_ms"]
    clock = site.studio.clock
    now = (await site.ask("counter-3", "GET", desk))["now_ms"]
    assert now == clock.stamp().utc_ms
    report = {"seq": 1, "media_id": "lesson-1", "media_ms": 0, "playing": True}
    device, playback = opened["session_token"], f"/v1/sessions/{opened['session_id']}/playback"
    await site.ask(device, "POST", playback, json=report)
    clock.advance(60_000)
    more = {"from_ms": now + 60_000, "to_ms": now + 1_860_000, "reason": "still here"}
    one = f"{desk}/{opened['session_id']}"
    await site.ask("counter-3", "POST", f"{one}/supervision", status=201, json=more)
    (running,) = (await site.ask("counter-3", "GET", desk))["sessions"]
    assert running["supervised_until_ms"] == now + 1_860_000
    await site.ask(device, "POST", playback, json={**report, "seq": 2, "media_ms": 60_000})
    for _ in range(2):
        ended = await site.ask("counter-3", "POST", f"{one}/end", json={"reason": "room closes"})
        assert (ended["state"], ended["reason"]) == ("settled", "staff")
        assert 58 <= ended["credited_s"] <= 60
    assert (await site.ask("counter-3", "GET", desk))["sessions"] == []
    entries = await site.studio.service.ledger.of_subject(opened["session_id"])
    (said,) = [entry for entry in entries if entry.kind == "ended_by_staff"]
    assert said.content["data"]["actor"] == "counter-3"
    assert said.content["data"]["reason_sha256"] == sha256(b"room closes").hexdigest()
    assert not any(b"room closes" in entry.body for entry in entries)
    words = await site.ask("counter-3", "GET", f"/v1/staff/learners/{learner}/words")
    assert "room closes" in [one["text"] for one in words["words"]]
    looks = await site.trail(actor="counter-3")
    assert ("counter-3", "GET /v1/staff/learners/{learner_id}/programmes", learner) in looks
    assert ("counter-3", "GET /v1/staff/sessions", "-") in looks
    await site.ask("counter-3", "POST", f"{desk}/ses_0/end", status=404, json={"reason": "x"})


async def test_a_session_with_a_camera_is_the_learners_to_end(site: Site) -> None:
    """Staff who sat beside him have no say there, and it is not on their list."""
    lesson = await site.studio.open()
    await lesson.watch(60)
    assert (await site.ask("counter-3", "GET", "/v1/staff/sessions"))["sessions"] == []
    path = f"/v1/staff/sessions/{lesson.id}/end"
    await site.ask("counter-3", "POST", path, status=403, json={"reason": "lunch"})
    assert (await lesson.view()).play


@pytest.mark.both_databases
async def test_faces_that_wait_are_found_and_confirmed(site: Site) -> None:
    """Those that learners took themselves, until somebody compared them, or refused them."""
    registry = site.studio.service.registry
    selfie, _ = await site.studio.enrol(Provenance.SELF_LIVE)
    refused, _ = await site.studio.enrol(Provenance.SELF_LIVE)
    replaced, _ = await site.studio.enrol(Provenance.SELF_LIVE)
    erased, _ = await site.studio.enrol(Provenance.SELF_LIVE)
    again, _ = await site.studio.enrol(Provenance.ID_PHOTO)
    await registry.put_template(replaced, b"opaque", Provenance.ID_PHOTO)
    await registry.put_template(again, b"opaque", Provenance.SELF_LIVE)
    path = f"/v1/staff/learners/{refused}/refusal"
    await site.ask("counter-3", "POST", path, json={"reasons": ["somebody else"]})
    await site.studio.service.erase_biometrics(erased, actor="counter-3")

    async def waiting() -> set[str]:
        found = await site.ask("counter-3", "GET", "/v1/staff/learners?face_waits=true")
        assert all(one["face_waits"] for one in found["learners"])
        return {one["learner_id"] for one in found["learners"]}

    assert await waiting() == {selfie, again}
    everybody = (await site.ask("counter-3", "GET", "/v1/staff/learners"))["learners"]
    assert {one["learner_id"] for one in everybody if one["face_waits"]} == {selfie, again}
    confirm = f"/v1/learners/{selfie}/template/confirm"
    body = {"reason": "compared with the card", "template_version": 1}
    await site.ask("counter-3", "POST", confirm, json=body)
    assert await waiting() == {again}


@pytest.mark.both_databases
@pytest.mark.parametrize("ruling", ["confirmed", "refused"])
async def test_an_earlier_face_waits_by_its_version(site: Site, ruling: str) -> None:
    """Erased since, and another one confirmed: it is named until it is decided about."""
    studio, registry = site.studio, site.studio.service.registry
    learner, studio.consent_id = await studio.enrol(Provenance.SELF_LIVE)
    studio.learner_id = learner
    lesson = await studio.open()
    await lesson.watch(120)
    await lesson.close()
    await studio.service.erase_biometrics(learner, actor="counter-3")

    async def waiting() -> list[tuple[int, list[int]]]:
        found = await site.ask("counter-3", "GET", "/v1/staff/learners?face_waits=true")
        assert all(one["face_waits"] for one in found["learners"])
        return [(one["template_version"], one["faces_waiting"]) for one in found["learners"]]

    assert await waiting() == [(1, [1])]
    await registry.put_template(learner, b"opaque", Provenance.SELF_LIVE)
    assert await waiting() == [(2, [1, 2])]
    approval = {"reason": "compared with the card", "face_compared": True, "template_version": 2}
    await site.ask("counter-3", "POST", f"/v1/staff/learners/{learner}/approval", json=approval)
    assert await waiting() == [(2, [1])]
    if ruling == "confirmed":
        path = f"/v1/learners/{learner}/template/confirm"
        body = {"reason": "seen then", "template_version": 1}
        await site.ask("counter-3", "POST", path, json=body)
    else:
        path = f"/v1/staff/learners/{learner}/template/refuse"
        no = {"reasons": ["his brother"], "template_version": 1}
        assert (await site.ask("counter-3", "POST", path, json=no))["state"] == "approved"
    assert await waiting() == []
    everybody = (await site.ask("counter-3", "GET", "/v1/staff/learners"))["learners"]
    assert not any(one["face_waits"] or one["faces_waiting"] for one in everybody)
    credit = (await studio.service.course_credit(learner, "demo")).credit
    assert credit.final
    assert (credit.credited_s > 60) == (ruling == "confirmed")


async def test_an_erasure_over_the_counter(site: Site) -> None:
    """Everything that names the learner goes; the answer is the proof."""
    learner = site.studio.learner_id
    person = {"name": "张三", "identity_number": NUMBER}
    await site.ask("course", "PUT", f"/v1/learners/{learner}/person", json=person)
    words = f"/v1/staff/learners/{learner}/words"
    assert [one["text"] for one in (await site.ask("counter-3", "GET", words))["words"]] == ["seen"]
    assert (await site.ask("school", "GET", "/v1/staff/faces")) == {"stored": 1, "state": "below"}
    body = {"what": "everything", "reason": "asked for"}
    path = f"/v1/staff/learners/{learner}/erasure"
    erased = await site.ask("counter-3", "POST", path, json=body)
    assert erased["templates_erased"] == 1
    content = verify_erasure(erased["proof"], site.studio.keyring)
    assert (content["kind"], content["data"]["actor"]) == ("person_erased", "counter-3")
    read = await site.ask("counter-3", "GET", f"/v1/staff/learners/{learner}")
    assert (read["name"], read["identity_number"]) == (None, None)
    assert (await site.ask("inspector-7", "GET", words))["words"] == []
    assert ("counter-3", "GET /v1/staff/learners/{learner_id}/words", learner) in await site.trail()
    find = {"identity_number": NUMBER}
    await site.ask("counter-3", "POST", "/v1/staff/learners:find", status=404, json=find)
    assert (await site.ask("school", "GET", "/v1/staff/faces"))["stored"] == 0


async def test_a_look_says_what_for_and_what_cannot_be_recorded_is_not_shown(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists, persons, misses, the newest first, page by page."""
    learner = site.studio.learner_id
    headers = {"X-Purpose": "call of 24 November"}
    await site.ask("counter-3", "GET", "/v1/staff/learners", headers=headers)
    await site.ask("counter-3", "GET", f"/v1/staff/learners/{learner}", headers=headers)
    find = {"identity_number": NUMBER}
    await site.ask("counter-3", "POST", "/v1/staff/learners:find", status=404, json=find)
    looks = await site.ask("inspector-7", "GET", "/v1/staff/trail?actor=counter-3")
    assert [(look["route"], look["subject"], look["purpose"]) for look in looks["looks"]] == [
        ("POST /v1/staff/learners:find", "-", ""),
        ("GET /v1/staff/learners/{learner_id}", learner, "call of 24 November"),
        ("GET /v1/staff/learners", "-", "call of 24 November"),
    ]
    older = looks["looks"][0]["id"]
    page = await site.ask("inspector-7", "GET", f"/v1/staff/trail?before={older}&limit=1")
    assert [look["subject"] for look in page["looks"]] == [learner]

    async def full(**_: Any) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(site.studio.service.trail, "note", full)
    answer = await site.http.get(
        f"/v1/staff/learners/{learner}",
        headers={"Authorization": f"Bearer {KEYS['counter-3'][0]}"},
    )
    assert answer.status_code == 500


ABOUT_NOBODY = {
    "/v1/programmes": "rules",
    "/v1/outbox": "how deliveries stand",
    "/v1/staff/faces": "a count",
    "/v1/staff/trail": "who looked; a look at it would be the next one in it",
}
"""Routes that a key opens and that leave nothing in the trail, and what they tell."""
PERIOD = {"since_ms": "0", "until_ms": "9007199254740991"}
ASKED = {
    "/v1/learners/{learner_id}/credit": {"programme": "demo"},
    "/v1/exports/hours": PERIOD,
    "/v1/exports/xapi": PERIOD,
    "/v1/exports/sample": {**PERIOD, "seed": "two dice", "count": "3"},
}
"""What has to stand in the query."""


def read_with_a_key(app: FastAPI) -> dict[str, tuple[KeyScope, ...]]:
    """Every path that is read with an API key, and whose."""
    gate = Gate(ApiKeys(), KeyScope.TRACKER, (*RULES, *HEALTH_RULES))
    paths = [path for path, ways in app.openapi()["paths"].items() if "get" in ways]
    scopes = {path: scopes_of(gate.rule(path), "GET") for path in paths}
    return {path: found for path, found in scopes.items() if found}


async def test_every_read_about_a_person_is_recorded(site: Site) -> None:
    """Whatever route there is, whoever may read it: one row, with the name of the key and whose."""
    studio, service = site.studio, site.studio.service
    holder = studio.learner_id
    for media in ("lesson-1", "lesson-2"):
        lesson = await studio.open(media=media)
        await lesson.watch(300)
        view = await lesson.close()
    assert view.certificate is not None
    studio.learner_id, studio.consent_id = await studio.enrol()
    lesson = await suspended(site, Decision.SPOOF)
    (review,) = await service.casework.reviews.of_session(lesson.id)
    named = {
        "learner_id": studio.learner_id,
        "session_id": lesson.id,
        "review_id": review.id,
        "fact_key": (await service.casework.pictures.of_session(lesson.id))[0].fact_key,
        "number": view.certificate,
    }
    paths = read_with_a_key(create_app(service))
    assert set(ABOUT_NOBODY) <= set(paths)
    assert len(paths) > 15
    for path, scopes in paths.items():
        for who in (name for name, scope in SCOPES.items() if scope in scopes):
            before = await site.trail()
            headers = {"Authorization": f"Bearer {KEYS[who][0]}"}
            answer = await site.http.get(
                path.format(**named), params=ASKED.get(path), headers=headers
            )
            assert answer.status_code == 200, (path, who, answer.text)
            after = await site.trail()
            new = after[: len(after) - len(before)]
            if path in ABOUT_NOBODY:
                assert new == [], path
                continue
            ((actor, route, subject),) = new
            assert (actor, route.partition("?")[0]) == (who, f"GET {path}")
            about = holder if "{number}" in path else studio.learner_id
            assert subject == (about if "{" in path else "-"), path


async def test_an_export_is_recorded_with_its_period_and_seed(site: Site) -> None:
    """So that somebody can ask later who took whose hours, and who drew the sample."""
    for kind in ("hours", "sample"):
        answer = await site.http.get(
            f"/v1/exports/{kind}",
            params=ASKED[f"/v1/exports/{kind}"],
            headers={
                "Authorization": f"Bearer {KEYS['inspector-7'][0]}",
                "X-Purpose": "spot check",
            },
        )
        assert answer.status_code == 200
    found = await site.ask("inspector-7", "GET", "/v1/staff/trail")
    period = "since_ms=0&until_ms=9007199254740991"
    assert [(look["route"], look["subject"], look["purpose"]) for look in found["looks"]] == [
        (f"GET /v1/exports/sample?{period}&seed=two+dice&count=3", "-", "spot check"),
        (f"GET /v1/exports/hours?{period}&format=csv", "-", "spot check"),
    ]


@pytest.mark.both_databases
async def test_the_trail_cannot_be_changed(site: Site) -> None:
    """The database itself refuses to update and to delete."""
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    await site.ask("counter-3", "GET", "/v1/staff/learners")
    jobs: list[Callable[[Any], Any]] = [
        lambda tx: tx.connection.execute(text("UPDATE access_log SET actor = 'nobody'")),
        lambda tx: tx.connection.execute(text("DELETE FROM access_log")),
    ]
    for job in jobs:
        with pytest.raises(DBAPIError, match="append-only"):
            await site.studio.service._database.write(job)
    assert len(await site.trail(actor="counter-3")) == 1
