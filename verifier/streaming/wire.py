"""Stream values as JSON, and what of an event is signed.

Events travel as plain JSON (floats as they are). The signature covers canonical JSON (RFC 8785)
with integers only, as in the ledger: similarity, liveness and their thresholds in millionths,
to which an event's values are rounded when it is made. So the signature can be checked years
later from the integers alone.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Protocol

from verifier.clock import Stamp
from verifier.errors import BadRequest, SignatureInvalid
from verifier.keys import canonical_json
from verifier.streaming.thumbnails import digest_of
from verifier.types import Decision, EventKind, PresencePolicy, Reason, StreamEvent, StreamSpec

PURPOSE = "stream-event"
"""Domain of the signature in the key ring."""

_FRACTIONS = ("similarity", "threshold", "liveness_score", "liveness_threshold")


class Signer(Protocol):
    """The part of `verifier.keys.KeyRing` that signs."""

    def sign(self, purpose: str, payload: bytes) -> str:
        """``key-id.base64url``."""
        ...


class Checker(Protocol):
    """The part of `verifier.keys.KeyRing` that checks signatures."""

    def verify(self, purpose: str, payload: bytes, signature: str) -> str:
        """Give the key's id. Raises UnknownKey, SignatureInvalid."""
        ...


def in_millionths(value: float | None) -> float | None:
    """Round to six decimals: what an event carries."""
    return None if value is None else round(float(value), 6)


def signed_payload(event: StreamEvent) -> bytes:
    """Canonical JSON of everything in the event but its signature and its picture.

    The picture's digest is part of it.
    """
    body = event_to_json(event)
    del body["signature"], body["picture"]
    for name in _FRACTIONS:
        value = body.pop(name)
        body[f"{name}_millionths"] = None if value is None else round(value * 1_000_000)
    return canonical_json(body)


def verify_event(event: StreamEvent, keys: Checker) -> str:
    """Check an event's signature; returns the key's id. Raises UnknownKey, SignatureInvalid."""
    if digest_of(event.picture) not in ("", event.picture_sha256):
        raise SignatureInvalid("The picture is not the one whose digest was signed.")
    return keys.verify(PURPOSE, signed_payload(event), event.signature)


def event_to_json(event: StreamEvent) -> dict[str, Any]:
    """Give a JSON object; `event_from_json` is its inverse."""
    return {
        "stream_id": event.stream_id,
        "session_id": event.session_id,
        "event_id": event.event_id,
        "kind": event.kind.value,
        "at": stamp_to_json(event.at),
        "frame_seq": event.frame_seq,
        "track": event.track,
        "faces": event.faces,
        "decision": None if event.decision is None else event.decision.value,
        "reasons": [reason.value for reason in event.reasons],
        "since": None if event.since is None else stamp_to_json(event.since),
        "check_id": event.check_id,
        "similarity": event.similarity,
        "threshold": event.threshold,
        "liveness_score": event.liveness_score,
        "liveness_threshold": event.liveness_threshold,
        "frame_digests": list(event.frame_digests),
        "picture_sha256": event.picture_sha256,
        "models": dict(event.models),
        "profile_version": event.profile_version,
        "turns": list(event.turns),
        "attempts": event.attempts,
        "fingerprint": event.fingerprint,
        **({} if event.away is None else {"away": event.away}),
        "before": None if event.before is None else stamp_to_json(event.before),
        "signature": event.signature,
        "picture": base64.b64encode(event.picture).decode("ascii"),
    }


def event_from_json(body: Mapping[str, Any]) -> StreamEvent:
    """Read what `event_to_json` wrote. Raises BadRequest where it is something else."""
    try:
        return StreamEvent(
            stream_id=str(body["stream_id"]),
            session_id=str(body["session_id"]),
            event_id=int(body["event_id"]),
            kind=EventKind(body["kind"]),
            at=stamp_from_json(body["at"]),
            frame_seq=int(body["frame_seq"]),
            track=int(body["track"]),
            faces=int(body["faces"]),
            decision=None if body["decision"] is None else Decision(body["decision"]),
            reasons=tuple(Reason(reason) for reason in body["reasons"]),
            since=None if body["since"] is None else stamp_from_json(body["since"]),
            check_id=body["check_id"],
            similarity=body["similarity"],
            threshold=body["threshold"],
            liveness_score=body["liveness_score"],
            liveness_threshold=body["liveness_threshold"],
            frame_digests=tuple(body["frame_digests"]),
            picture_sha256=str(body["picture_sha256"]),
            models=dict(body["models"]),
            profile_version=str(body["profile_version"]),
            turns=tuple(body["turns"]),
            attempts=int(body["attempts"]),
            fingerprint=str(body["fingerprint"]),
            away=body.get("away"),
            before=None if body["before"] is None else stamp_from_json(body["before"]),
            signature=str(body["signature"]),
            picture=base64.b64decode(body["picture"], validate=True),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadRequest(
            f"This is not a stream event: {error!r}.",
            remedy="Run the same release of the verifier and of the session tracker.",
        ) from error


def stamp_to_json(stamp: Stamp) -> dict[str, Any]:
    """Give a stamp as a JSON object."""
    return {
        "boot_id": stamp.boot_id,
        "monotonic_ms": stamp.monotonic_ms,
        "utc_ms": stamp.utc_ms,
    }


def stamp_from_json(body: Mapping[str, Any]) -> Stamp:
    """Read what `stamp_to_json` wrote."""
    return Stamp(
        boot_id=str(body["boot_id"]),
        monotonic_ms=int(body["monotonic_ms"]),
        utc_ms=int(body["utc_ms"]),
    )


def spec_to_json(spec: StreamSpec) -> dict[str, Any]:
    """Give the body of ``POST /v1/streams``."""
    policy = spec.policy
    return {
        "session_id": spec.session_id,
        "subject": spec.subject,
        "template": base64.b64encode(spec.template).decode("ascii"),
        "fingerprints": base64.b64encode(spec.fingerprints).decode("ascii"),
        "policy": {name: getattr(policy, name) for name in PresencePolicy.__slots__},
    }
