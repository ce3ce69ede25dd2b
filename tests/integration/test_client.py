"""The Python client against the real tracker and the real hub, on a scripted pipeline."""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from benren.client import BenrenClient, StudySession
from benren.problems import ServiceProblem, ServiceUnreachable, UnexpectedAnswer
from session_tracker.api.app import RULES, tracker_router
from session_tracker.policy import load_policy
from session_tracker.refusals import SessionEnded
from session_tracker.service import SessionService
from session_tracker.store.database import Database
from verifier.api.streams import stream_rules, streams_router
from verifier.clock import ManualClock
from verifier.edge import ApiKeys, KeyScope, install_edge, new_api_key
from verifier.errors import (
    BadRequest,
    Conflict,
    ImageUnreadable,
    NotFound,
    StreamTakenOver,
    Unauthorised,
)
from verifier.keys import KeyRing
from verifier.streaming.advice import Advice
from verifier.streaming.cues import Cue, Turn
from verifier.streaming.hub import StreamHub
from verifier.streaming.testing import Person, ScriptedEngine, ScriptedVault, scene

PROGRAMME = "demo"
TURNS = {
    Turn.CENTRE: (0.0, 0.0),
    Turn.LEFT: (25.0, 0.0),
    Turn.RIGHT: (-25.0, 0.0),
    Turn.UP: (0.0, 18.0),
    Turn.DOWN: (0.0, -18.0),
}
ENDED = {"suspended", "closed", "settled"}


class School:
    """A tracker and a hub in one process, as `benren serve` runs them, with time in our hands."""

    def __init__(self, clock: ManualClock, folder: Path) -> None:
        self.clock = clock
        seeded = random.Random(7)
        keys = KeyRing.generate(clock)
        self.hub = StreamHub(
            ScriptedEngine(), ScriptedVault(), keys, clock=clock, draw=seeded.random
        )
        self.service = SessionService(
            clock=clock,
            verifier=self.hub,
            database=Database(f"sqlite:///{folder}/tracker.sqlite3"),
            policies=[load_policy(PROGRAMME)],
            keyring=keys,
            draw=seeded.random,
        )
        secret, line = new_api_key("school", [KeyScope.TRACKER, KeyScope.VERIFIER, KeyScope.STAFF])
        app = FastAPI()
        app.include_router(tracker_router(self.service))
        app.include_router(streams_router(self.hub))
        install_edge(
            app,
            service="all",
            api_keys=ApiKeys.parse([line]),
            default=KeyScope.TRACKER,
            rules=(*RULES, *stream_rules()),
        )
        self.client = BenrenClient(
            "http://127.0.0.1", api_key=secret, transport=httpx.ASGITransport(app)
        )
        self._shot = 0

    async def enter(self) -> tuple[str, StudySession]:
        """Register a learner, enrol, record the consent, and open a session."""
        learner = await self.client.register(
            category="principal", track="initial", industry="furniture", business_ref="biz-1"
        )
        await self.client.put_template(learner, b"template of " + learner.encode())
        await self.client.approve(learner, reason="seen at the counter")
        consent = await self.client.give_consent(learner, text_version="2026-11")
        session = await self.client.open_session(
            learner_id=learner, consent_id=consent, programme=PROGRAMME, media=["lesson-1"]
        )
        return learner, session

    async def frame(self, session: StudySession, who: str) -> Cue:
        """Send one more frame."""
        self._shot += 1
        return await session.push_frame(scene(who, shot=self._shot))

    async def study(self, session: StudySession, who: str, seconds: int, media_ms: int = 0) -> int:
        """Sit before the camera; the player runs whenever it may. Returns the player's position.

        Goes home where the session was ended meanwhile.
        """
        for second in range(5, seconds + 1, 5):
            self.clock.advance(5_000)
            cue = await self.frame(session, who)
            while cue.challenge is not None:
                cue = await self.turn(session, who, cue.challenge.turn)
            await self.settled()
            media_ms += 5_000 * session.status.play
            status = await session.look()
            if status.state in ENDED:
                break
            if second % 15 == 0 or not status.play:
                try:
                    await session.report(
                        media_id="lesson-1", media_ms=media_ms, playing=status.play
                    )
                except SessionEnded:  # what was just written down has ended it
                    await session.look()
                    break
            await self.settled()
        return media_ms

    async def turn(self, session: StudySession, who: str, turn: Turn) -> Cue:
        """Look where the screen asks, for a quarter of a second."""
        self.clock.advance(250)
        self._shot += 1
        yaw, pitch = TURNS[turn]
        person = Person(who=who, yaw=yaw, pitch=pitch)
        return await session.push_frame(scene(person, shot=self._shot))

    async def settled(self) -> None:
        """Let the services do what is left to do at this instant."""
        await self.hub.settled()
        await self.service.settled()

    async def stop(self) -> None:
        """End everything."""
        await self.client.aclose()
        await self.hub.aclose()
        await self.service.stop()


@pytest.fixture
async def school(clock: ManualClock, tmp_path: Path) -> AsyncIterator[School]:
    """A school that has opened."""
    made = School(clock, tmp_path)
    await made.service.start()
    yield made
    await made.stop()


async def test_a_lesson_from_registration_to_credit(school: School) -> None:
    """Ten minutes of the right person are credited, and the tracker can explain each second."""
    learner, session = await school.enter()
    assert session.status.state == "awaiting_start_check"
    await school.study(session, learner, 600)
    assert session.status.play
    closed = await session.close()
    assert closed.state == "settled"
    course = await school.client.credit(learner, PROGRAMME)
    assert 500 <= course["credited_s"] <= 600
    assert course["certificate"] is not None
    explained = await school.client.explain(session.id)
    assert explained["credited_ms"] // 1_000 == course["credited_s"]
    certificate = await school.client.certificate(course["certificate"])
    assert certificate["state"] == "valid"
    document = json.loads(await school.client.certificate_document(course["certificate"]))
    assert document["certificate"]["credited_s"] == certificate["credited_s"]
    assert (await school.client.ledger_head())["size"] > 0


async def test_somebody_else_earns_nothing(school: School) -> None:
    """A stranger is never let in: no start check passes, no second is credited."""
    learner, session = await school.enter()
    await school.study(session, "a friend", 300)
    assert not session.status.play
    await session.close()
    assert (await school.client.credit(learner, PROGRAMME))["credited_s"] == 0


async def test_a_swap_in_mid_lesson_earns_nothing_after_the_last_pass(school: School) -> None:
    """Somebody else on the same chair is found, and the hours end before him."""
    learner, session = await school.enter()
    media_ms = await school.study(session, learner, 200)
    await school.study(session, "a friend", 300, media_ms)
    await session.close()
    course = await school.client.credit(learner, PROGRAMME)
    assert 85 <= course["credited_s"] <= 200
    assert set(course["sessions"][0]["void_s"]) & {"mismatch", "after_last_pass"}


async def test_the_client_renews_its_stream_when_the_token_is_over(school: School) -> None:
    """A lesson longer than a token's life goes on by itself."""
    learner, session = await school.enter()
    first = session._frames_path
    await school.study(session, learner, 700)
    assert session._frames_path != first
    assert session.status.play
    await session.close()
    assert (await school.client.credit(learner, PROGRAMME))["credited_s"] >= 600


async def test_the_client_asks_for_another_stream_when_its_own_is_lost(school: School) -> None:
    """After the verifier forgot the stream the frame is sent to a new one."""
    _, session = await school.enter()
    (stream_id,) = school.hub._open
    await school.hub.close_stream(stream_id)
    receipt = await session.push_frame(scene("li"))
    assert receipt.accepted
    assert receipt.seq == 1


async def test_two_windows_do_not_take_turns(school: School) -> None:
    """Once a token is over the one that asks for another has the stream; the other hears that."""
    learner, first = await school.enter()
    second = copy.copy(first)  # a tab that was duplicated: the same session, the same token
    await school.study(first, learner, 700)
    for windows in ((first, second), (second, first), (first, second)):
        has, lost = windows
        for _ in range(3):
            with pytest.raises(StreamTakenOver):
                await lost.push_frame(scene(learner, shot=10_000))
            school.clock.advance(5_000)
            assert (await school.frame(has, learner)).accepted
        await lost.renew_stream()
        assert (await school.frame(lost, learner)).accepted


async def test_a_renewal_whose_answer_is_lost_is_asked_for_again(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service has opened another stream already: the only window has not lost it to another."""
    learner, session = await school.enter()
    await school.frame(session, learner)
    ask = session._tracker.ask

    async def cut(*about: Any, **how: Any) -> Any:
        await ask(*about, **how)
        monkeypatch.undo()
        raise ServiceUnreachable

    monkeypatch.setattr(session._tracker, "ask", cut)
    with pytest.raises(ServiceUnreachable):
        await session.renew_stream()
    school.clock.advance(5_000)
    assert (await school.frame(session, learner)).accepted


async def test_the_receipt_of_a_frame(school: School) -> None:
    """Advice comes as a value of the closed list; a bad picture is an exception."""
    _, session = await school.enter()
    assert (await session.push_frame(scene())).advice is Advice.NO_FACE
    await session.push_frame(scene("li"))
    assert (await session.push_frame(scene("li"))).advice is Advice.DUPLICATE
    with pytest.raises(ImageUnreadable):
        await session.push_frame(b"no picture", captured_utc_ms=1)


async def test_refusals_are_the_services_own_exceptions(school: School) -> None:
    """What the tracker refuses is raised as what it is, with its remedy."""
    learner, session = await school.enter()
    with pytest.raises(NotFound):
        await school.client.credit("lrn_nobody", PROGRAMME)
    with pytest.raises(Conflict):
        await school.client.open_session(
            learner_id=learner,
            consent_id=(await school.client.give_consent(learner, text_version="2026-11")),
            programme=PROGRAMME,
            media=["lesson-1"],
        )
    session._token = "wrong"
    with pytest.raises(Unauthorised) as refused:
        await session.look()
    assert "session_token" in refused.value.remedy


# --- what the services need not be there for -----------------------------------------------------


def answering(handler: Callable[[httpx.Request], httpx.Response]) -> BenrenClient:
    """A client whose services are one function."""
    return BenrenClient(
        "http://tracker", verifier_url="http://verifier", transport=httpx.MockTransport(handler)
    )


async def test_enrolling_and_verifying_go_to_the_verifier() -> None:
    """Pictures travel in base64; the template comes back as bytes."""
    seen: list[tuple[str, dict[str, Any]]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append((str(request.url), json.loads(request.content)))
        return httpx.Response(
            200,
            json={"template": "AAEC", "quality": {"Sharpness": 1.0}, "models": {"embedder": "e"}},
        )

    async with answering(handler) as client:
        face = await client.enrol("lrn_1", b"photo")
        await client.verify([b"frame"], template=face.template, subject="lrn_1")
        await client.verify([b"frame"], reference_photo=b"photo")
    assert face.template == b"\x00\x01\x02"
    assert seen == [
        ("http://verifier/v1/templates", {"subject": "lrn_1", "photo": "cGhvdG8="}),
        (
            "http://verifier/v1/verify",
            {"frames": ["ZnJhbWU="], "template": "AAEC", "subject": "lrn_1"},
        ),
        ("http://verifier/v1/verify", {"frames": ["ZnJhbWU="], "reference_photo": "cGhvdG8="}),
    ]


async def test_a_problem_without_a_name_keeps_its_code() -> None:
    """A later release may report what this one does not know: code and status are kept."""

    def handler(_: httpx.Request) -> httpx.Response:
        body = {"code": "moon_too_bright", "detail": "It dazzles.", "remedy": "Wait."}
        return httpx.Response(418, json=body)

    async with answering(handler) as client:
        with pytest.raises(ServiceProblem, match="It dazzles") as raised:
            await client.ledger_head()
    assert (raised.value.code, raised.value.reported_status) == ("moon_too_bright", 418)
    assert raised.value.remedy == "Wait."


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(302, headers={"location": "http://elsewhere"}),
        httpx.Response(200, json={"unexpected": True}),
    ],
    ids=["html", "list", "redirect", "other object"],
)
async def test_an_answer_of_something_else_is_named_as_such(answer: httpx.Response) -> None:
    """A proxy's page or another service is told apart from a refusal."""
    async with answering(lambda _: answer) as client:
        with pytest.raises(UnexpectedAnswer):
            await client.enrol("lrn_1", b"photo")


async def test_a_service_that_is_not_there(unused_tcp_port: int) -> None:
    """A closed port is an error with the address and a remedy."""
    async with BenrenClient(f"http://127.0.0.1:{unused_tcp_port}") as client:
        with pytest.raises(ServiceUnreachable, match=f"127.0.0.1:{unused_tcp_port}") as raised:
            await client.ledger_head()
    assert raised.value.remedy
    await asyncio.sleep(0)


async def test_a_burst_of_frames(school: School) -> None:
    """A few pictures in one upload: a cue for each, in order, whatever is wrong with one."""
    learner, session = await school.enter()
    cues = await session.push_burst(
        [scene(learner, shot=1), b"\xff\xd8 broken", scene(learner, shot=1), scene(shot=2)]
    )
    assert [(cue.seq, cue.accepted, cue.advice.value) for cue in cues] == [
        (1, True, "ok"),
        (2, False, "unusable"),
        (3, False, "duplicate"),
        (4, True, "no_face"),
    ]
    (slow,) = await session.push_burst([scene(learner, shot=3)])
    assert slow.accepted
    (slow,) = await session.push_burst([scene(learner, shot=4)])
    assert slow.advice is Advice.SLOWER
    with pytest.raises(BadRequest):
        await session.push_burst([scene(learner, shot=shot) for shot in range(10, 16)])
