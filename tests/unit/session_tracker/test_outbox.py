"""The outbox: events with their facts or not at all, in order, signed, and patient."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from session_tracker.announcements import TYPES, announce
from session_tracker.dispatch import Dispatcher
from session_tracker.ledger import Context, entry
from session_tracker.outbox import KEEP_MS, PARK_AFTER_MS, Outbox, retry_after_ms
from session_tracker.store.database import Database
from session_tracker.store.writer import NewEntry, Transaction
from session_tracker.webhooks import (
    Sender,
    Target,
    headers_of,
    may_connect,
    read_secret,
    write_secret,
)
from verifier.clock import ManualClock
from verifier.errors import ConfigurationError, NotFound

pytestmark = pytest.mark.both_databases

SECRET = b"k" * 32
OLD_SECRET = b"o" * 32
NOTHING = Context(policy="demo@1", models={}, profile="")


class Receiver:
    """A real HTTP receiver on loopback that remembers what it took."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.answer: Callable[[dict[str, Any]], bytes | None] = lambda _: status(204)
        """None: hang up only when the test ends."""
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Receiver:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hook"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")[1:-2]
                headers = {k.lower(): v.strip() for k, _, v in (x.partition(":") for x in lines)}
                body = await reader.readexactly(int(headers["content-length"]))
                self.requests.append((headers, body))
                event = json.loads(body)
                answer = self.answer(event)
                if answer is None:
                    await reader.read()
                    return
                if answer.startswith(b"HTTP/1.1 2"):
                    self.taken.append(event)
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()


def status(code: int, more: str = "") -> bytes:
    """A short answer."""
    return f"HTTP/1.1 {code} X\r\ncontent-length: 0\r\n{more}\r\n".encode()


class Site:
    """A store with an outbox that delivers to one receiver."""

    def __init__(self, url: str, receiver: Receiver, **options: Any) -> None:
        self.clock = ManualClock()
        self.receiver = receiver
        self.database = Database(url)
        options = {"secrets": (SECRET,), "allow_private": True, "url": receiver.url, **options}
        self.target = Target(name="course", **options)
        self.outbox = Outbox(self.database, [self.target], self.clock)
        self._dispatcher = self._new_dispatcher()

    def _new_dispatcher(self) -> Dispatcher:
        sender = Sender(answer_within_s=4)
        return Dispatcher(self.outbox, sender, clock=self.clock, draw=lambda: 0.5)

    async def start(self) -> None:
        """Open the store and begin to deliver."""
        await self.database.open()
        self._dispatcher.start()

    async def stop(self) -> None:
        """Stop both."""
        await self._dispatcher.stop()
        await self.database.close()

    async def restart(self) -> None:
        """End the dispatcher and begin another."""
        await self._dispatcher.stop()
        self._dispatcher = self._new_dispatcher()
        self._dispatcher.start()

    async def tell(self, *entries: NewEntry) -> None:
        """Append to the ledger."""
        await self.database.write(lambda tx: tx.append(entries))

    async def until(self, done: Callable[[], bool], *, step_ms: int = 0) -> None:
        """Wait for it, moving the clock with every look."""
        for _ in range(6_000):
            if done():
                return
            if step_ms:
                self.clock.advance(step_ms)
            await asyncio.sleep(0.005)
        raise AssertionError("it did not happen")

    async def all_delivered(self) -> None:
        """Wait until the outbox knows that nothing waits."""
        for _ in range(1_000):
            if not (await self.outbox.standing())[0].pending:
                return
            await asyncio.sleep(0.005)
        raise AssertionError("something still waits")


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that takes everything."""
    async with Receiver() as made:
        yield made


@pytest_asyncio.fixture
async def site(database_url: str, receiver: Receiver) -> AsyncIterator[Site]:
    """A store that delivers to it."""
    made = Site(database_url, receiver)
    await made.start()
    yield made
    await made.stop()


def fact(number: int, *, session: str = "ses_1", kind: str = "paused") -> NewEntry:
    """An entry that others are told of."""
    return entry(
        subject=session,
        key=f"{kind}:{number}",
        kind=kind,
        at_ms=1_795_482_000_000 + number,
        context=NOTHING,
        reason="absent",
        data={"t": number},
    )


def numbers(receiver: Receiver, session: str = "ses_1") -> list[int]:
    """Numbers of the facts of a session that the receiver took, in order."""
    return [int(event["time"][-4:-1]) for event in receiver.taken if event["subject"] == session]


# --- what is sent ------------------------------------------------------------------------------


async def test_an_event_arrives_signed(site: Site, receiver: Receiver) -> None:
    """CloudEvents 1.0 under the headers of Standard Webhooks, signed with HMAC-SHA-256."""
    await site.tell(fact(7))
    await site.until(lambda: len(receiver.taken) == 1)
    headers, body = receiver.requests[0]
    event = json.loads(body)
    assert event["specversion"] == "1.0"
    assert event["type"] == "session.paused"
    assert event["subject"] == "ses_1"
    assert event["data"] == {"reason": "absent", "policy": "demo@1", "ledger_index": 0}
    assert headers["webhook-id"] == event["id"]
    assert headers["content-type"].startswith("application/cloudevents+json")
    at = site.clock.stamp().utc_ms // 1_000
    assert headers["webhook-timestamp"] == str(at)
    signed = f"{event['id']}.{at}.".encode() + body
    expected = base64.b64encode(hmac.digest(SECRET, signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_the_published_vector_of_standard_webhooks() -> None:
    """The example of the Standard Webhooks libraries is signed as they sign it."""
    target = Target(
        name="x",
        url="https://example.org/",
        secrets=(read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),),
    )
    headers = headers_of(
        target,
        event_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        body=b'{"test": 2432232314}',
        at_s=1614265330,
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_secrets_sign_twice() -> None:
    """While secrets change over, whoever has the old or the new one can check."""
    both = Target(name="x", url="https://example.org/", secrets=(SECRET, OLD_SECRET))
    old = Target(name="x", url="https://example.org/", secrets=(OLD_SECRET,))
    signatures = [
        headers_of(target, event_id="e", body=b"{}", at_s=1)["webhook-signature"]
        for target in (both, old)
    ]
    first, second = signatures[0].split(" ")
    assert second == signatures[1] != first


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("opened", {}, "session.started"),
        ("check_asked", {"check_id": "c"}, "check.issued"),
        ("check", {"outcome": "pass"}, "check.passed"),
        ("check", {"outcome": "spoof"}, "check.failed"),
        ("segment", {"state": "granted"}, "segment.credited"),
        ("segment", {"state": "void"}, "segment.voided"),
        ("segment", {"state": "pending"}, None),
        ("review_vote", {"state": "decided"}, "review.decided"),
        ("review_vote", {"state": "second_needed"}, None),
        ("certificate_revoked", {"number": "n"}, "certificate.revoked"),
        ("identity", {"outcome": "pass"}, None),
    ],
)
def test_which_entries_are_events(kind: str, data: dict[str, Any], expected: str | None) -> None:
    """Facts that concern others have a type of CREDIT_MODEL; the rest stays in the house."""
    made = entry(subject="s", key="k", kind=kind, at_ms=1, context=NOTHING, data=data)
    said = announce(index=3, subject="s", key="k", kind=kind, body=made.body)
    assert (said.type if said else None) == expected
    assert said is None or said.type in TYPES


# --- with the facts or not at all --------------------------------------------------------------


async def test_what_is_rolled_back_is_not_told(site: Site, receiver: Receiver) -> None:
    """An event is in the transaction of its fact: where that fails, nobody hears of it."""

    async def broken(tx: Transaction) -> None:
        await tx.append([fact(1)])
        await tx.flush_entries()
        raise KeyError("no")

    with pytest.raises(KeyError):
        await site.database.write(broken)
    await site.tell(fact(2))
    await site.until(lambda: len(receiver.taken) == 1)
    assert numbers(receiver) == [2]
    await site.all_delivered()


async def test_types_that_nobody_asked_for_are_not_stored(
    database_url: str, receiver: Receiver
) -> None:
    """A target hears the types it names."""
    site = Site(database_url, receiver, types=("session.suspended", "check.*"))
    await site.start()
    await site.tell(fact(1), fact(2, kind="suspended"), fact(3))
    await site.until(lambda: len(receiver.taken) == 1)
    assert receiver.taken[0]["type"] == "session.suspended"
    await site.stop()


# --- receivers that fail -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        status(500),
        status(301, "location: http://127.0.0.1:1/\r\n"),
        b"I am no HTTP server\r\n\r\n",
        b"HTTP/1.1 503 X\r\n" + b"x: " + b"y" * 200_000 + b"\r\n\r\n",
        None,
    ],
    ids=["500", "redirect", "garbage", "endless header", "hangs"],
)
async def test_a_receiver_that_fails_hears_it_again(
    site: Site, receiver: Receiver, answer: bytes | None
) -> None:
    """Whatever it says but 2xx: the event waits and comes again, under the same id."""
    receiver.answer = lambda _: answer
    await site.tell(fact(1))
    await site.until(lambda: len(receiver.requests) == 1)
    receiver.answer = lambda _: status(204)
    await site.until(lambda: len(receiver.taken) == 1, step_ms=500)
    ids = {headers["webhook-id"] for headers, _ in receiver.requests}
    assert len(ids) == 1
    await site.all_delivered()
    assert (await site.outbox.standing())[0].last_failure is None


async def test_a_day_of_500_loses_nothing_and_keeps_the_order(
    site: Site, receiver: Receiver
) -> None:
    """After a day of errors everything arrives once, each session in its order."""
    receiver.answer = lambda _: status(500)
    for number in range(6):
        await site.tell(*(fact(number, session=f"ses_{s}") for s in range(5)))
    end = site.clock.stamp().monotonic_ms + 86_400_000
    await site.until(lambda: site.clock.stamp().monotonic_ms >= end, step_ms=300_000)
    assert 10 < len(receiver.requests) < 600  # it was asked, and not hammered
    receiver.answer = lambda _: status(200)
    await site.until(lambda: len(receiver.taken) == 30, step_ms=60_000)
    assert all(numbers(receiver, f"ses_{s}") == list(range(6)) for s in range(5))
    await site.all_delivered()


async def test_one_event_that_is_refused_holds_up_no_other_session(
    site: Site, receiver: Receiver
) -> None:
    """Behind an event that is not taken its own session waits, and only that."""
    receiver.answer = lambda e: status(500 if e["subject"] == "ses_1" else 204)
    await site.tell(fact(1), fact(2), *(fact(n, session="ses_2") for n in range(30)))
    await site.until(lambda: len(numbers(receiver, "ses_2")) == 30, step_ms=1_000)
    assert numbers(receiver) == []
    receiver.answer = lambda _: status(204)
    await site.until(lambda: numbers(receiver) == [1, 2], step_ms=10_000)


async def test_what_is_never_taken_is_parked_and_replayed(site: Site, receiver: Receiver) -> None:
    """After three days an event is given up, its session waits; a replay sends all in order."""
    receiver.answer = lambda _: status(500)
    await site.tell(fact(1), fact(2))
    end = site.clock.stamp().monotonic_ms + PARK_AFTER_MS + 7_200_000
    await site.until(lambda: site.clock.stamp().monotonic_ms >= end, step_ms=900_000)
    for _ in range(200):
        if (await site.outbox.standing())[0].parked:
            break
        site.clock.advance(900_000)
        await asyncio.sleep(0.01)
    assert (await site.outbox.standing())[0].parked == 1
    receiver.answer = lambda _: status(204)
    assert await site.outbox.replay("course", since_ms=0, until_ms=2**53) == 2
    await site.until(lambda: numbers(receiver) == [1, 2], step_ms=30_000)


async def test_a_restart_goes_on_where_it_was(site: Site, receiver: Receiver) -> None:
    """What was on its way when the process ended is sent after the next start."""
    receiver.answer = lambda _: None
    await site.tell(fact(1), fact(2))
    await site.until(lambda: len(receiver.requests) == 1)
    await site.restart()
    receiver.answer = lambda _: status(204)
    await site.until(lambda: numbers(receiver) == [1, 2], step_ms=1_000)


# --- for operators -----------------------------------------------------------------------------


async def test_a_replay_sends_delivered_events_again(site: Site, receiver: Receiver) -> None:
    """What was delivered can be told again, under the same ids."""
    await site.tell(fact(1), fact(2))
    await site.until(lambda: len(receiver.taken) == 2)
    await site.all_delivered()
    since = 1_795_482_000_002
    assert await site.outbox.replay("course", since_ms=since, until_ms=2**53) == 1
    await site.until(lambda: len(receiver.taken) == 3)
    assert numbers(receiver) == [1, 2, 2]
    assert receiver.taken[1]["id"] == receiver.taken[2]["id"]
    with pytest.raises(NotFound):
        await site.outbox.replay("nobody", since_ms=0, until_ms=1)


async def test_delivered_events_are_forgotten_in_time(site: Site, receiver: Receiver) -> None:
    """The outbox does not grow for ever: what was delivered stays thirty days."""
    await site.tell(fact(1))
    await site.until(lambda: len(receiver.taken) == 1)
    await site.all_delivered()
    assert await site.outbox.purge() == 0
    site.clock.advance(KEEP_MS + 86_400_000)
    await site.outbox.purge()
    assert await site.outbox.replay("course", since_ms=0, until_ms=2**53) == 0


def test_retries_back_off() -> None:
    """5 s, then twice as long every time, at most an hour."""
    waits = [retry_after_ms(attempt, 0.5) for attempt in (1, 2, 3, 20)]
    assert waits == [5_000, 10_000, 20_000, 3_600_000]


# --- where it may never go ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        ("93.184.215.14", True, True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True, True),
        ("127.0.0.1", False, True),
        ("10.1.2.3", False, True),
        ("192.168.0.1", False, True),
        ("::1", False, True),
        ("fd00::1", False, True),
        ("169.254.169.254", False, False),
        ("fe80::1%eth0", False, False),
        ("0.0.0.0", False, False),  # noqa: S104
        ("224.0.0.1", False, False),
        ("::ffff:10.0.0.1", False, True),
        ("::ffff:169.254.169.254", False, False),
        ("64:ff9b::a00:1", False, True),
        ("2002:a00:1::", False, True),
        ("100.64.0.1", False, False),
        ("nonsense", False, False),
    ],
)
def test_addresses(address: str, *, public: bool, private: bool) -> None:
    """Public ones may be called; private ones where allowed; metadata services never."""
    assert may_connect(address, allow_private=False) is public
    assert may_connect(address, allow_private=True) is private


async def test_a_name_that_points_home_is_refused(receiver: Receiver) -> None:
    """The address is judged after resolving, on every connection: rebinding gains nothing."""
    answers = iter([["93.184.215.14", "127.0.0.1"], ["127.0.0.1"]])

    async def rebound(_host: str, _port: int) -> list[str]:
        return next(answers)

    sender = Sender(resolve=rebound, answer_within_s=1)
    url = receiver.url.replace("http://127.0.0.1", "https://webhooks.example")
    target = Target(name="x", url=url, secrets=(SECRET,))
    for _ in range(2):
        said = await sender.post(target, headers_of(target, event_id="e", body=b"", at_s=1), b"")
        assert said is not None
        assert "not allowed" in said
    assert receiver.requests == []
    await sender.aclose()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "http://example.org/"}, "no address"),
        ({"url": "ftp://example.org/"}, "no address"),
        ({"url": "https://user:word@example.org/"}, "no address"),
        ({"secrets": ()}, "one secret"),
        ({"types": ("session.born",)}, "no type of event"),
        ({"name": "Über"}, "no name"),
    ],
)
def test_targets_that_cannot_be(change: dict[str, Any], said: str) -> None:
    """A target that is wrong is refused at the start, by name."""
    given = {"name": "x", "url": "https://example.org/", "secrets": (SECRET,), **change}
    with pytest.raises(ConfigurationError, match=said):
        Target(**given)


def test_secrets_are_read_and_never_shown() -> None:
    """A secret is whsec_BASE64 of 24 to 64 bytes; what is wrong is not printed."""
    assert read_secret(write_secret(SECRET)) == SECRET
    for text in ("whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_%%%"):
        with pytest.raises(ConfigurationError) as caught:
            read_secret(text)
        assert text not in str(caught.value)
