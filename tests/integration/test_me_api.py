"""The learner's own routes over real HTTP: from a link to credited time, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from benren.server import listening
from session_tracker.api.app import create_app
from session_tracker.catalogue import load_catalogue
from session_tracker.policy import load_policy
from session_tracker.testing import Studio
from verifier.edge import ApiKeys, KeyScope, new_api_key

SECRET, LINE = new_api_key("school", [KeyScope.TRACKER])
SERVER = {"Authorization": f"Bearer {SECRET}"}
PICTURE = {"content": b"\xff\xd8picture", "headers": {"Content-Type": "image/jpeg"}}


@dataclass
class Site:
    """A served tracker with the sample programme."""

    studio: Studio
    http: httpx.AsyncClient

    async def server(self, method: str, path: str, **options: Any) -> Any:
        """Call as the server that registers learners; give the JSON."""
        response = await self.http.request(method, path, headers=SERVER, **options)
        assert response.is_success, response.text
        return response.json()

    async def phone(self, track: str = "refresher") -> Phone:
        """Register somebody and sign a phone in by link."""
        body = {"category": "principal", "track": track, "industry": "x", "business_ref": "b"}
        phone = Phone(self, (await self.server("POST", "/v1/learners", json=body))["learner_id"])
        await phone.sign_in()
        return phone


@dataclass
class Phone:
    """A learner's device."""

    site: Site
    learner_id: str
    token: str = ""

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Call with the learner's token."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= options.pop("headers", {})
        return await self.site.http.request(method, path, headers=headers, **options)

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        """Call, and give the answer's JSON; anything but success fails the test."""
        response = await self.send(method, path, **options)
        assert response.is_success, response.text
        return response.json() if response.content else None

    async def refused(self, status: int, code: str, method: str, path: str, **options: Any) -> Any:
        """Call, and hold the refusal against status and code."""
        response = await self.send(method, path, **options)
        assert (response.status_code, response.json()["code"]) == (status, code), response.text
        return response

    async def sign_in(self) -> None:
        """Sign in by a new link."""
        path = f"/v1/learners/{self.learner_id}/sign-in-codes"
        link = (await self.site.server("POST", path))["link_token"]
        self.token = ""
        answer = await self.ask("POST", "/v1/me/sign-in", json={"link_token": link})
        self.token = answer["learner_token"]

    async def consent(self) -> Any:
        """Consent to the text that is shown."""
        shown = (await self.ask("GET", "/v1/me"))["consent_text"]["version"]
        body = {"text_version": shown, "language": "zh"}
        return await self.ask("POST", "/v1/me/consent", json=body)

    async def enrolled(self) -> None:
        """Consent, and enrol a selfie."""
        await self.consent()
        answer = await self.ask("POST", "/v1/me/face?provenance=self_live", **PICTURE)
        assert answer["accepted"]

    async def begin(self, *, take_over: bool = False) -> Any:
        """Open a session on the sample lesson."""
        body = {"programme": "sample", "media": ["sample-lesson"], "take_over": take_over}
        return await self.ask("POST", "/v1/me/sessions", json=body)


@pytest_asyncio.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    """A tracker that asks for keys, on loopback."""
    studio = Studio(
        database_url,
        policy=load_policy("sample"),
        catalogue=load_catalogue([], programmes=["sample"]),
    )
    await studio.start()
    app = create_app(studio.service, enroller=studio.enroller, api_keys=ApiKeys.parse([LINE]))
    async with listening(app) as address, httpx.AsyncClient(base_url=address) as http:
        yield Site(studio, http)
    await studio.stop()


async def test_a_newcomer_comes_from_a_link_to_credited_time(site: Site) -> None:
    """Sign in, consent, enrol, study: the page's whole way, and where it says one stands."""
    phone = await site.phone()
    me = await phone.ask("GET", "/v1/me")
    assert (me["consent"], me["face"], me["track"]) == (None, None, "refresher")
    assert me["face_ways"] == ["self_photo", "self_live"]
    assert me["consent_text"]["zh"].startswith("人脸核验")
    (programme,) = me["programmes"]
    assert (programme["name"], programme["target_s"], programme["credited_s"]) == ("sample", 120, 0)
    assert (programme["media"][0]["resume_ms"], programme["media"][0]["reach_ms"]) == (0, 0)

    await phone.enrolled()
    me = await phone.ask("GET", "/v1/me")
    assert me["consent"]["text_version"] == me["consent_text"]["version"]
    assert me["face"] == {
        "state": "approved",
        "provenance": "self_live",
        "provisional": True,
        "reasons": [],
    }
    assert me["face_ways"] == []
    assert site.studio.enroller.seen == [(phone.learner_id, PICTURE["content"], True)]

    opened = await phone.begin()
    device = {"Authorization": f"Bearer {opened['session_token']}"}
    path = f"/v1/sessions/{opened['session_id']}"
    await _play(site, path, device, seconds=100)
    closed = await site.http.post(f"{path}/close", headers=device)
    assert closed.json()["state"] == "settled"

    me = await phone.ask("GET", "/v1/me")
    (medium,) = me["programmes"][0]["media"]
    assert 80_000 <= medium["credited_ms"] <= medium["resume_ms"] <= medium["reach_ms"] <= 100_000
    (past,) = (await phone.ask("GET", "/v1/me/sessions"))["sessions"]
    assert past["session_id"] == opened["session_id"]
    assert past["settled"]
    assert past["credited_s"] >= 80
    assert past["provisional"]
    told = await phone.ask("GET", f"/v1/me{path.removeprefix('/v1')}/explain")
    assert told["credited_s"] == past["credited_s"]
    assert {span["state"] for span in told["spans"]} == {"pending", "void"}  # provisional
    stranger = await site.phone()
    await stranger.refused(404, "not_found", "GET", f"/v1/me{path.removeprefix('/v1')}/explain")


async def _play(site: Site, path: str, device: dict[str, str], *, seconds: int) -> None:
    session_id, media_ms, playing = path.rpartition("/")[2], 0, False
    for seq in range(1, seconds // 5 + 4):
        site.studio.clock.advance(5_000)
        await site.studio.service.settled()
        media_ms += 5_000 if playing else 0
        await site.studio.verifier.frame(session_id, identity=True)
        await site.studio.service.settled()
        playing = (await site.http.get(path, headers=device)).json()["play"]
        report = {"seq": seq, "media_id": "sample-lesson", "media_ms": media_ms, "playing": playing}
        answer = await site.http.post(f"{path}/playback", headers=device, json=report)
        assert answer.is_success, answer.text


async def test_the_next_years_course_is_offered_afresh(site: Site) -> None:
    """A year after the certificate the page begins at nothing; earlier sessions stay listed."""
    phone = await site.phone()
    await phone.enrolled()
    confirm = f"/v1/learners/{phone.learner_id}/template/confirm"
    await site.server("POST", confirm, json={"reason": "compared with the identity card"})
    opened = await phone.begin()
    device = {"Authorization": f"Bearer {opened['session_token']}"}
    path = f"/v1/sessions/{opened['session_id']}"
    await _play(site, path, device, seconds=200)
    assert (await site.http.post(f"{path}/close", headers=device)).json()["certificate"]
    body = {"programme": "sample", "media": ["sample-lesson"]}
    await phone.refused(409, "programme_complete", "POST", "/v1/me/sessions", json=body)
    site.studio.clock.advance(365 * 86_400_000)
    await site.studio.service.settled()
    await phone.sign_in()
    (programme,) = (await phone.ask("GET", "/v1/me"))["programmes"]
    assert (programme["credited_s"], programme["certificate"]) == (0, None)
    await phone.enrolled()
    again = await phone.begin()
    listed = [one["session_id"] for one in (await phone.ask("GET", "/v1/me/sessions"))["sessions"]]
    assert listed == [again["session_id"], opened["session_id"]]


async def test_a_code_signs_in_once(site: Site) -> None:
    """A code to type, with or without its hyphen, and never twice."""
    phone = await site.phone()
    invited = await site.server("POST", f"/v1/learners/{phone.learner_id}/sign-in-codes")
    another = Phone(site, phone.learner_id)
    body = {"code": invited["code"].replace("-", "")}
    assert (await another.ask("POST", "/v1/me/sign-in", json=body))["learner_token"]
    await another.refused(403, "sign_in_failed", "POST", "/v1/me/sign-in", json=body)
    for wrong in ({}, {"code": "12"}, {**body, "link_token": "x"}):
        response = await another.send("POST", "/v1/me/sign-in", json=wrong)
        assert response.status_code == 422


async def test_guessing_codes_is_slowed_down(site: Site) -> None:
    """After a few wrong codes the answer is 429 with the seconds to wait."""
    phone = Phone(site, "")
    statuses = set()
    for number in range(12):
        response = await phone.send("POST", "/v1/me/sign-in", json={"code": f"0000-{number:04d}"})
        statuses.add(response.status_code)
    assert statuses == {403, 429}
    refused = await phone.refused(
        429, "too_many_requests", "POST", "/v1/me/sign-in", json={"code": "0000-9999"}
    )
    assert int(refused.headers["retry-after"]) >= 1


async def test_a_device_that_is_signed_out_is_told_so(site: Site) -> None:
    """Signing out, here or everywhere, ends the token."""
    phone = await site.phone()
    await phone.ask("POST", "/v1/me/sign-out")
    await phone.refused(401, "signed_out", "GET", "/v1/me")
    other = await site.phone()
    path = f"/v1/learners/{other.learner_id}/sign-in-codes"
    assert await site.server("DELETE", path) == {"devices": 1}
    await other.refused(401, "signed_out", "GET", "/v1/me")
    response = await site.http.delete("/v1/learners/nobody/sign-in-codes", headers=SERVER)
    assert response.status_code == 404


@pytest.mark.parametrize("token", ["", "lrt_unknown", SECRET], ids=["none", "unknown", "a key"])
async def test_ones_own_routes_ask_for_the_learners_token(site: Site, token: str) -> None:
    """Neither a stranger nor a server's key reads where a learner stands."""
    stranger = Phone(site, "", token)
    for method, path in (
        ("GET", "/v1/me"),
        ("GET", "/v1/me/sessions"),
        ("DELETE", "/v1/me/consent"),
    ):
        assert (await stranger.send(method, path)).status_code == 401
    invite = "/v1/learners/someone/sign-in-codes"
    assert (await stranger.send("POST", invite)).status_code in (401, 404)


async def test_nothing_is_looked_at_before_the_consent(site: Site) -> None:
    """No picture and no session without consent; withdrawing ends the session that runs."""
    phone = await site.phone()
    await phone.refused(409, "consent_needed", "POST", "/v1/me/face/look", **PICTURE)
    face = "/v1/me/face?provenance=self_live"
    await phone.refused(409, "consent_needed", "POST", face, **PICTURE)
    body = {"programme": "sample", "media": ["sample-lesson"]}
    await phone.refused(409, "consent_needed", "POST", "/v1/me/sessions", json=body)
    await phone.refused(409, "consent_needed", "DELETE", "/v1/me/consent")
    assert site.studio.enroller.seen == []

    old = {"text_version": "1999-01", "language": "en"}
    await phone.refused(409, "consent_text_changed", "POST", "/v1/me/consent", json=old)
    given = await phone.consent()
    assert (await phone.consent())["id"] == given["id"]
    await phone.refused(409, "face_needed", "POST", "/v1/me/sessions", json=body)
    await phone.enrolled()
    opened = await phone.begin()
    withdrawn = await phone.ask("DELETE", "/v1/me/consent")
    assert withdrawn["withdrawn_utc_ms"] is not None
    await site.studio.service.settled()
    device = {"Authorization": f"Bearer {opened['session_token']}"}
    view = await site.http.get(f"/v1/sessions/{opened['session_id']}", headers=device)
    assert view.json()["state"] in ("closed", "settled")
    assert (await phone.ask("GET", "/v1/me"))["consent"] is None


async def test_the_consents_text_is_in_the_ledger(site: Site) -> None:
    """Which text was agreed to, in which language, is recorded by its digest."""
    phone = await site.phone()
    await phone.consent()
    found = [
        entry.content["data"]
        for entry in await site.studio.service.ledger.of_subject(phone.learner_id)
        if entry.content["kind"] == "consent_given"
    ]
    assert found[0]["language"] == "zh"
    assert len(found[0]["text_sha256"]) == 64


async def test_a_picture_that_will_not_do_gets_advice(site: Site) -> None:
    """Advice while the camera looks, advice when it is taken, and nothing is enrolled."""
    phone = await site.phone()
    await phone.consent()
    site.studio.enroller.advice = ["come_closer", "more_light"]
    assert await phone.ask("POST", "/v1/me/face/look", **PICTURE) == {"advice": "come_closer"}
    await phone.refused(429, "too_many_requests", "POST", "/v1/me/face/look", **PICTURE)
    site.studio.clock.advance(300)
    assert await phone.ask("POST", "/v1/me/face/look", **PICTURE) == {"advice": "come_closer"}
    answer = await phone.ask("POST", "/v1/me/face?provenance=self_live", **PICTURE)
    assert answer == {"accepted": False, "advice": ["come_closer", "more_light"], "face": None}
    assert (await phone.ask("GET", "/v1/me"))["face"] is None


async def test_a_face_is_enrolled_once(site: Site) -> None:
    """Whoever holds the phone later cannot put another face in its place."""
    phone = await site.phone()
    await phone.enrolled()
    face = "/v1/me/face?provenance=self_live"
    await phone.refused(409, "face_there", "POST", face, **PICTURE)
    await site.server("DELETE", f"/v1/learners/{phone.learner_id}/biometrics")
    assert (await phone.ask("GET", "/v1/me"))["face"] is None
    assert (await phone.ask("POST", face, **PICTURE))["accepted"]


async def test_initial_training_does_not_begin_with_a_selfie(site: Site) -> None:
    """A registration shows an identity photograph."""
    phone = await site.phone("initial")
    await phone.consent()
    face = "/v1/me/face?provenance=self_live"
    await phone.refused(403, "wrong_provenance", "POST", face, **PICTURE)
    for claimed in ("vetted_live", "id_photo"):
        refused = await phone.send("POST", f"/v1/me/face?provenance={claimed}", **PICTURE)
        assert refused.status_code == 422
    assert (await phone.ask("POST", "/v1/me/face?provenance=self_photo", **PICTURE))["accepted"]
    assert site.studio.enroller.seen[0][2] is False


@pytest.mark.parametrize("provenance", ["self_photo", "self_live"])
async def test_what_the_learner_sent_counts_only_once_somebody_looked(
    site: Site, provenance: str
) -> None:
    """Whoever has the link may post any portrait: no hour is final and nothing is certified."""
    phone = await site.phone()
    await phone.consent()
    answer = await phone.ask("POST", f"/v1/me/face?provenance={provenance}", **PICTURE)
    assert (answer["face"]["provenance"], answer["face"]["provisional"]) == (provenance, True)
    opened = await phone.begin()
    device = {"Authorization": f"Bearer {opened['session_token']}"}
    path = f"/v1/sessions/{opened['session_id']}"
    await _play(site, path, device, seconds=200)
    closed = await site.http.post(f"{path}/close", headers=device)
    assert closed.json()["certificate"] is None
    (programme,) = (await phone.ask("GET", "/v1/me"))["programmes"]
    assert programme["provisional_s"] == programme["credited_s"] >= programme["target_s"]
    assert programme["shown_late_s"] == 150  # brackets.max_gap_s and the 30 s of `shown`
    confirm = f"/v1/learners/{phone.learner_id}/template/confirm"
    await site.server("POST", confirm, json={"reason": "compared with the identity card"})
    me = await phone.ask("GET", "/v1/me")
    assert me["face"]["provisional"] is False
    assert me["programmes"][0]["certificate"] is not None


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"content": b"", "headers": {"Content-Type": "image/jpeg"}}, 400),
        ({"content": b"text", "headers": {"Content-Type": "text/plain"}}, 415),
        ({"content": b"x" * (1024 * 1024 + 1), "headers": {"Content-Type": "image/png"}}, 413),
    ],
)
async def test_what_is_no_picture_is_refused(
    site: Site, options: dict[str, Any], status: int
) -> None:
    """Empty, of another type, or too large: said before anything looks at it."""
    phone = await site.phone()
    await phone.consent()
    assert (await phone.send("POST", "/v1/me/face/look", **options)).status_code == status


async def test_a_second_device_takes_over_with_a_pass(site: Site) -> None:
    """The page can tell that the learner studies elsewhere, and ask whether to take over."""
    phone = await site.phone()
    await phone.enrolled()
    first = await phone.begin()
    body = {"programme": "sample", "media": ["sample-lesson"]}
    await phone.refused(409, "studies_elsewhere", "POST", "/v1/me/sessions", json=body)
    second = await phone.begin(take_over=True)
    old = {"Authorization": f"Bearer {first['session_token']}"}
    path = f"/v1/sessions/{first['session_id']}"
    assert (await site.http.get(path, headers=old)).json()["state"] == "awaiting_start_check"
    device = {"Authorization": f"Bearer {second['session_token']}"}
    await _play(site, f"/v1/sessions/{second['session_id']}", device, seconds=30)
    report = {"seq": 1, "media_id": "sample-lesson", "media_ms": 0, "playing": False}
    answer = await site.http.post(f"{path}/playback", headers=old, json=report)
    assert (answer.status_code, answer.json()["code"]) == (409, "taken_over")


async def test_only_the_catalogues_media_are_studied(site: Site) -> None:
    """No other medium, and no position beyond a medium's end."""
    phone = await site.phone()
    await phone.enrolled()
    body = {"programme": "sample", "media": ["another"]}
    await phone.refused(400, "bad_request", "POST", "/v1/me/sessions", json=body)
    opened = await phone.begin()
    device = {"Authorization": f"Bearer {opened['session_token']}"}
    report = {"seq": 1, "media_id": "sample-lesson", "media_ms": 10**7, "playing": True}
    path = f"/v1/sessions/{opened['session_id']}/playback"
    answer = await site.http.post(path, headers=device, json=report)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_a_service_without_pictures_says_so(site: Site) -> None:
    """Where no verifier enrols, learners are sent to the institution."""
    app = create_app(site.studio.service, api_keys=ApiKeys.parse([LINE]))
    phone = await site.phone()
    await phone.consent()
    async with listening(app) as address, httpx.AsyncClient(base_url=address) as http:
        phone.site = Site(site.studio, http)
        face = "/v1/me/face?provenance=self_live"
        await phone.refused(403, "wrong_provenance", "POST", face, **PICTURE)
