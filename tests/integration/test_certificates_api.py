"""Certificates over HTTP as learners and strangers meet them: paper, vouchers, guesses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from benren.server import listening
from session_tracker.api.app import create_app
from session_tracker.policy import load_policy
from session_tracker.signed_pdf import verify_file
from session_tracker.testing import Studio


@dataclass
class Site:
    """A served tracker, and a learner who has earned a certificate and is signed in."""

    studio: Studio
    http: httpx.AsyncClient
    number: str
    own: dict[str, str]
    """Headers of the learner's device."""


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Study two lessons, then serve."""
    studio = Studio(f"sqlite:///{tmp_path}/t.sqlite3", policy=load_policy("demo"))
    await studio.start()
    for media in ("lesson-1", "lesson-2"):
        lesson = await studio.open(media=media)
        await lesson.watch(300)
        view = await lesson.close()
    assert view.certificate is not None
    async with (
        listening(create_app(studio.service)) as url,
        httpx.AsyncClient(base_url=url) as http,
    ):
        invited = await http.post(f"/v1/learners/{studio.learner_id}/sign-in-codes")
        signed_in = await http.post(
            "/v1/me/sign-in", json={"link_token": invited.json()["link_token"]}
        )
        own = {"Authorization": f"Bearer {signed_in.json()['learner_token']}"}
        yield Site(studio, http, view.certificate, own)
    await studio.stop()


async def test_a_learner_gets_paper_and_qr_code(site: Site) -> None:
    """From the list to the certificate, and with its code to the paper, which holds offline."""
    listed = (await site.http.get("/v1/me/certificates", headers=site.own)).json()
    assert [one["number"] for one in listed["certificates"]] == [site.number]
    own = (await site.http.get(f"/v1/me/certificates/{site.number}", headers=site.own)).json()
    paths = [f"/v1/certificates/{site.number}/{kind}" for kind in ("pdf", "qr.svg")]
    paper, drawn = [await site.http.get(path, params={"code": own["check_code"]}) for path in paths]
    assert verify_file(paper.content, site.studio.keyring).number == site.number
    assert drawn.text.startswith("<?xml")
    for path in paths:
        assert (await site.http.get(path, params={"code": "0" * 16})).status_code == 404
        assert (await site.http.get(path)).status_code == 422


async def test_certificates_are_shown_to_nobody_else(site: Site) -> None:
    """Without a token, or with another learner's, there is nothing to see."""
    assert (await site.http.get("/v1/me/certificates")).status_code == 401
    body = {"category": "principal", "track": "refresher", "industry": "x", "business_ref": "b"}
    other = (await site.http.post("/v1/learners", json=body)).json()["learner_id"]
    invited = (await site.http.post(f"/v1/learners/{other}/sign-in-codes")).json()
    token = (
        await site.http.post("/v1/me/sign-in", json={"link_token": invited["link_token"]})
    ).json()["learner_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert (await site.http.get("/v1/me/certificates", headers=headers)).json() == {
        "certificates": []
    }
    answer = await site.http.get(f"/v1/me/certificates/{site.number}", headers=headers)
    assert answer.status_code == 404


async def test_vouchers_turn_from_grey_to_colour_and_back(site: Site) -> None:
    """The certificate colours its programme's voucher, until it is revoked."""
    path = f"/v1/learners/{site.studio.learner_id}/vouchers"
    own = (await site.http.get("/v1/me/vouchers", headers=site.own)).json()
    assert own == (await site.http.get(path)).json()
    assert [(v["obtained"], v["number"]) for v in own["vouchers"]] == [(True, site.number)]
    await site.http.post(f"/v1/certificates/{site.number}/revoke", json={"reason": "wrong person"})
    after = (await site.http.get("/v1/me/vouchers", headers=site.own)).json()
    assert [(v["obtained"], v["number"]) for v in after["vouchers"]] == [(False, None)]
    assert (await site.http.get("/v1/learners/lrn_nobody/vouchers")).status_code == 404


async def test_words_of_a_revocation_are_for_whoever_has_the_code(site: Site) -> None:
    """They may name somebody, and numbers can be read from anywhere; codes are for everybody."""
    path = f"/v1/certificates/{site.number}"
    own = (await site.http.get("/v1/me/certificates", headers=site.own)).json()
    code = own["certificates"][0]["check_code"]
    words = "Ouyang Feng sat there"
    done = await site.http.post(f"{path}/revoke", json={"reason": words})
    assert done.json()["reason"] == words
    told = (await site.http.get(path)).json()
    assert (told["state"], told["reason"]) == ("revoked", None)
    assert (await site.http.get(path, params={"code": code})).json()["reason"] == words
    (mine,) = (await site.http.get("/v1/me/certificates", headers=site.own)).json()["certificates"]
    assert mine["reason"] == words


async def test_whoever_guesses_is_slowed_down(site: Site) -> None:
    """After some numbers that are not there the check has to wait, and says how long."""
    codes = [
        (await site.http.get(f"/v1/certificates/BR2026-{n:010d}")).status_code for n in range(40)
    ]
    assert codes[:20] == [404] * 20
    assert codes[-1] == 429
    refused = await site.http.get(f"/v1/certificates/{site.number}")
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    site.studio.clock.advance(3_600_000)
    assert (await site.http.get(f"/v1/certificates/{site.number}")).json()["state"] == "valid"


async def test_whoever_checks_without_end_is_slowed_down(site: Site) -> None:
    """Genuine numbers too: hundreds are free, then a wait that grows, and an end of it."""
    path = f"/v1/certificates/{site.number}"
    codes = [(await site.http.get(path)).status_code for _ in range(305)]
    assert codes[:300] == [200] * 300
    assert codes[-1] == 429
    site.studio.clock.advance(3_600_000)
    assert (await site.http.get(path)).status_code == 200


async def test_a_paper_is_drawn_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is asked for, until the name on it changes; an erasure lets go of it."""
    service, learner = site.studio.service, site.studio.learner_id
    printer = service.printer
    drawn: list[str | None] = []
    real = printer._print

    def draw(document: bytes, holder: str | None) -> bytes:
        drawn.append(holder)
        return real(document, holder)

    monkeypatch.setattr(printer, "_print", draw)
    own = (await site.http.get(f"/v1/me/certificates/{site.number}", headers=site.own)).json()
    path = f"/v1/certificates/{site.number}/pdf"

    async def paper() -> bytes:
        answer = await site.http.get(path, params={"code": own["check_code"]})
        assert answer.status_code == 200
        return answer.content

    first = await asyncio.gather(*(paper() for _ in range(4)))
    assert len(set(first)) == len(drawn) == 1
    people = service.registry.people
    number = "11010519491231002X"
    await people.record(learner, name="Ouyang Feng", identity_number=number, reason="seen")
    assert await paper() != first[0]
    assert drawn == [None, "Ouyang Feng"]
    await service.erase_person(learner, actor="counter", cause="asked for")
    assert not printer._kept
    issued = await service.certification.issued(site.number)
    monkeypatch.setattr(printer, "_print", lambda *_: b"paper")
    monkeypatch.setattr("session_tracker.printing.KEPT", 2)
    for number in range(5):
        await printer.print(replace(issued, number=f"BR2026-{number}"))
    assert list(printer._kept) == ["BR2026-3", "BR2026-4"]


async def test_the_public_check_sees_later_decisions(site: Site) -> None:
    """The enrolment is refused afterwards: whoever asks is told that the hours are void."""
    await site.studio.service.refuse_registration(
        site.studio.learner_id, actor="counter", reasons=["somebody else"]
    )
    seen = (await site.http.get(f"/v1/certificates/{site.number}")).json()
    assert (seen["state"], seen["reason"]) == ("revoked", "hours_void")


async def test_a_swapped_name_is_neither_shown_nor_printed(site: Site) -> None:
    """Nor recorded without a reason; corrected openly it comes with another number."""
    person = f"/v1/learners/{site.studio.learner_id}/person"
    assert (await site.http.put(person, json={"name": "欧阳明"})).status_code == 409
    for name in ("欧阳明", "王五"):
        recorded = await site.http.put(person, json={"name": name, "reason": "seen his card"})
        assert recorded.status_code == 200
    own = (await site.http.get(f"/v1/me/certificates/{site.number}", headers=site.own)).json()
    assert own["holder_name"] is None
    check = f"/v1/certificates/{site.number}"
    refused = await site.http.get(f"{check}/pdf", params={"code": own["check_code"]})
    assert (refused.status_code, refused.json()["code"]) == (409, "holder_changed")
    site.studio.clock.advance(1_000)
    done = await site.http.post(f"{check}/revoke", json={"reason": "name_corrected"})
    assert done.json()["reason"] == "name_corrected"
    listed = (await site.http.get("/v1/me/certificates", headers=site.own)).json()
    assert [(one["state"], one["holder_name"]) for one in listed["certificates"]] == [
        ("revoked", None),
        ("valid", "王五"),
    ]
