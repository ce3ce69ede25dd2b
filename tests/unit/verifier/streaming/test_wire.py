"""Stream values as JSON, and the signature of events."""

from __future__ import annotations

import base64
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.clock import ManualClock, Stamp
from verifier.errors import BadRequest, SignatureInvalid
from verifier.keys import KeyRing
from verifier.streaming.wire import (
    PURPOSE,
    event_from_json,
    event_to_json,
    in_millionths,
    signed_payload,
    spec_to_json,
    verify_event,
)
from verifier.types import Decision, EventKind, PresencePolicy, Reason, StreamEvent, StreamSpec

STAMP = Stamp(boot_id="boot", monotonic_ms=5, utc_ms=1_795_000_000_005)
EVENT = StreamEvent(
    stream_id="stream",
    session_id="session",
    event_id=7,
    kind=EventKind.CHECK,
    at=STAMP,
    frame_seq=17,
    track=2,
    faces=1,
    decision=Decision.MATCH,
    reasons=(Reason.SEVERAL_FACES,),
    since=dataclasses.replace(STAMP, monotonic_ms=1),
    check_id="c-1",
    similarity=0.617204,
    threshold=0.393,
    liveness_score=0.934011,
    liveness_threshold=0.5,
    frame_digests=("ab" * 32, "cd" * 32),
    models={"embedder": "net@00"},
    profile_version="open-1",
)

fractions = st.none() | st.floats(-1, 1).map(in_millionths)


@given(fractions, fractions, st.sampled_from(Decision), st.lists(st.sampled_from(Reason)))
def test_an_event_survives_its_json(
    similarity: float | None,
    score: float | None,
    decision: Decision,
    reasons: list[Reason],
) -> None:
    """What was written is read back equal, through real JSON text."""
    event = dataclasses.replace(
        EVENT,
        similarity=similarity,
        liveness_score=score,
        decision=decision,
        reasons=tuple(reasons),
    )
    assert event_from_json(json.loads(json.dumps(event_to_json(event)))) == event


def test_a_presence_event_survives_its_json() -> None:
    """The optional fields may all be missing."""
    event = StreamEvent(
        stream_id="stream",
        session_id="session",
        event_id=1,
        kind=EventKind.PRESENCE,
        at=STAMP,
        frame_seq=1,
        track=0,
        faces=0,
    )
    assert event_from_json(json.loads(json.dumps(event_to_json(event)))) == event


@pytest.mark.parametrize("change", [{"kind": "rumour"}, {"at": None}, {"event_id": "x"}])
def test_another_json_is_a_bad_request(change: dict[str, object]) -> None:
    """What is no event is named as such."""
    with pytest.raises(BadRequest, match="not a stream event"):
        event_from_json({**event_to_json(EVENT), **change})


def test_a_signed_event_is_checked(clock: ManualClock) -> None:
    """A signature fits its event, and the key that made it is named."""
    keys = KeyRing.generate(clock)
    signed = dataclasses.replace(EVENT, signature=keys.sign(PURPOSE, signed_payload(EVENT)))
    assert verify_event(signed, keys) == keys.current_signing_id


@pytest.mark.parametrize(
    "field", [field.name for field in dataclasses.fields(StreamEvent) if field.name != "signature"]
)
def test_every_field_is_signed(clock: ManualClock, field: str) -> None:
    """Changing any one field breaks the signature."""
    changed = {
        "at": dataclasses.replace(STAMP, utc_ms=1),
        "since": None,
        "before": STAMP,
        "turns": ("left",),
        "kind": EventKind.IDENTITY,
        "decision": Decision.MISMATCH,
        "reasons": (),
        "frame_digests": ("ab" * 32,),
        "models": {},
        "similarity": 0.617205,
        "threshold": 0.393001,
        "liveness_score": None,
        "liveness_threshold": 0.0,
        "picture": b"another",
    }
    value = getattr(EVENT, field)
    other = changed.get(field, value + 1 if isinstance(value, int) else f"{value}x")
    keys = KeyRing.generate(clock)
    signature = keys.sign(PURPOSE, signed_payload(EVENT))
    forged = dataclasses.replace(EVENT, **{field: other}, signature=signature)
    with pytest.raises(SignatureInvalid):
        verify_event(forged, keys)


def test_the_signed_payload_holds_integers_only() -> None:
    """What is signed can be rebuilt from the ledger, which knows no fractions."""
    body = json.loads(signed_payload(EVENT), parse_float=pytest.fail)
    assert body["similarity_millionths"] == 617_204
    assert "similarity" not in body
    assert "signature" not in body


def test_a_stream_spec_as_a_request() -> None:
    """The body of `POST /v1/streams` carries the template in base64 and the whole policy."""
    spec = StreamSpec(session_id="s", subject="li", template=b"\xff\xfe\xfd")
    body = spec_to_json(spec)
    assert base64.b64decode(body["template"]) == spec.template
    assert PresencePolicy(**body["policy"]) == spec.policy
