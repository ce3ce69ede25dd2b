"""Facts survive the ledger."""

from __future__ import annotations

import json

import pytest

from session_tracker import facts as codec
from session_tracker.events import (
    Check,
    CheckCause,
    Closed,
    CloseReason,
    Disputed,
    Fact,
    Granted,
    Identity,
    Opened,
    Outcome,
    Paused,
    PauseReason,
    Playback,
    Presence,
    Resumed,
    Settled,
    Supervised,
    Suspended,
    SystemFault,
    Upheld,
)
from verifier.errors import StorageError

FACTS: list[Fact] = [
    Opened(key="opened", t=1),
    Identity(key="identity:1:2", t=2, track=1, outcome=Outcome.MISMATCH),
    Check(
        key="check:c",
        t=9,
        since=4,
        cause=CheckCause.SUSPICION,
        track=1,
        outcome=Outcome.PASS,
        active=True,
    ),
    Playback(key="playback:1", t=3, media_id="m", media_ms=7, playing=True, interaction=True),
    Paused(key="paused:5", t=5, reason=PauseReason.ABSENT),
    Resumed(key="resumed:6", t=6),
    SystemFault(key="fault:b", t=6, end=8),
    Granted(key="granted:1", t=1, end=2),
    Disputed(key="disputed:1", t=1, end=2),
    Upheld(key="upheld:1", t=1, end=2),
    Supervised(key="supervised:1", t=1, end=2),
    Suspended(key="suspended:7", t=7, reason=PauseReason.SPOOF),
    Closed(key="closed", t=9, reason=CloseReason.NETWORK_GAP),
    Settled(key="settled", t=10),
]


@pytest.mark.parametrize("fact", FACTS, ids=codec.kind_of)
def test_round_trip(fact: Fact) -> None:
    """Every fact comes back as it was, whatever evidence lies beside it."""
    data = json.loads(json.dumps({**codec.encode(fact), "evidence": {"stream": "s"}}))
    assert codec.decode(codec.kind_of(fact), fact.key, data) == fact
    assert codec.is_fact(codec.kind_of(fact))


def test_reasons_are_stated() -> None:
    """An entry says why: the outcome of a check, the reason of a pause."""
    assert [codec.reason_of(fact) for fact in FACTS[1:5]] == ["mismatch", "pass", "", "absent"]


def test_presence_is_no_entry() -> None:
    """Presence runs lie outside the ledger."""
    run = Presence(key="presence:1", t=1, end=2, track=1, faces_max=1, samples=2)
    with pytest.raises(TypeError, match="not entries"):
        codec.kind_of(run)


@pytest.mark.parametrize("data", [{}, {"t": 1, "outcome": "unheard of", "track": 1}])
def test_damage_is_named(data: dict[str, object]) -> None:
    """An entry that is no fact is an error that names it, not a fact left out."""
    with pytest.raises(StorageError, match="identity:1"):
        codec.decode("identity", "identity:1", data)
