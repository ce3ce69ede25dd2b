"""The certificate of study hours: issued and signed here, checked anywhere without us.

A certificate carries the settlement of every session it counts, word for word as the ledger has
it, the proof that each lies under one signed head, and that head. With the public key alone
anybody can check the signature, the proofs and the sum. What an offline check cannot see is a
revocation, or a settlement that a later decision replaced: ask the public check for those.

The check code has 16 characters of Crockford's base 32 (digits and capitals without I, L, O, U):
the first 80 bits of SHA-256 over the canonical JSON of the member ``certificate``. Whoever has
the document can compute it; whoever has the code can tell that a document is another one. Nobody
else can: the member ``salt`` is 128 random bits that stand nowhere but in the document, while all
the rest of it can be put together again from an export of the ledger.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from session_tracker.ledger import HEAD_PURPOSE, Head, head_payload, read_head
from session_tracker.merkle import inclusion_holds, leaf_hash
from verifier.errors import BadRequest, BenrenError, SignatureInvalid
from verifier.keys import KeyRing, canonical_json

PURPOSE: Final = "certificate"
TYPE: Final = "benren-hours-certificate"
ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O or U, which read like 1, 0 and V."""
CODE_LENGTH: Final = 16
MAX_BYTES: Final = 16 * 1024 * 1024
OFFLINE_LIMITS: Final = (
    "An offline check cannot see a revocation or a later decision: ask the public check."
)


class CertificateInvalid(BenrenError):
    """The certificate does not hold."""

    status = 422


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One settled session with its place in the ledger."""

    index: int
    """Of the settlement's entry, from 0."""
    body: bytes
    """The entry's canonical JSON."""
    path: Sequence[bytes]
    """Inclusion proof under the certificate's head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the certificate says of its holder."""

    number: str
    learner_id: str
    programme: str
    title: str
    course: int
    policy: str
    """``name@version``."""
    track: str
    class_hour_s: int
    target_s: int
    issued_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A certificate that holds."""

    number: str
    check_code: str
    holder: str
    programme: str
    policy: str
    track: str
    credited_s: int
    class_hours: int
    issued: str
    key_id: str
    sessions: int


def new_number(issued_ms: int) -> str:
    """Draw a certificate number: year of issue and 50 random bits."""
    year = datetime.fromtimestamp(issued_ms / 1000, UTC).year
    return f"BR{year}-{_base32(secrets.randbits(50), 10)}"


def check_code(core: dict[str, Any]) -> str:
    """Compute the check code of the member ``certificate``."""
    digest = hashlib.sha256(canonical_json(core)).digest()
    return _base32(int.from_bytes(digest[:10], "big"), CODE_LENGTH)


def issue(claim: Claim, holdings: Sequence[Holding], head: Head, keyring: KeyRing) -> bytes:
    """Make and sign the document: canonical JSON.

    Raises CertificateInvalid where what is claimed would not pass its own check.
    """
    credited_s = _whole_seconds(json.loads(holding.body)["data"] for holding in holdings)
    core = {
        "type": TYPE,
        "v": 1,
        "salt": secrets.token_hex(16),
        "number": claim.number,
        "holder": claim.learner_id,
        "programme": claim.programme,
        "title": claim.title,
        "course": claim.course,
        "policy": claim.policy,
        "track": claim.track,
        "class_hour_s": claim.class_hour_s,
        "target_s": claim.target_s,
        "credited_s": credited_s,
        "class_hours": credited_s // claim.class_hour_s,
        "issued_ms": claim.issued_ms,
        "issued": datetime.fromtimestamp(claim.issued_ms / 1000, UTC).isoformat(timespec="seconds"),
        "head": head.as_json(),
        "sessions": [
            {
                "index": holding.index,
                "entry": holding.body.decode("utf-8"),
                "path": [step.hex() for step in holding.path],
            }
            for holding in holdings
        ],
    }
    signed = {"certificate": core, "check_code": check_code(core)}
    signature = keyring.sign(PURPOSE, canonical_json(signed))
    document = canonical_json({**signed, "signature": signature})
    verify_certificate(document, keyring)
    return document


def verify_certificate(document: bytes, keyring: KeyRing) -> Checked:
    """Check a document with the public keys in `keyring`, offline.

    Raises BadRequest where it is no certificate, UnknownKey where the key that signed it is not
    in the ring, and CertificateInvalid, naming what does not hold, where it was changed.
    """
    core, code, signature = _parse(document)
    if code != check_code(core):
        raise CertificateInvalid("The check code does not belong to this certificate.")
    try:
        key_id = keyring.verify(
            PURPOSE, canonical_json({"certificate": core, "check_code": code}), signature
        )
        head = read_head(core["head"])
        keyring.verify(HEAD_PURPOSE, head_payload(head.size, head.root, head.at_ms), head.signature)
        credited_s = _check_sessions(core, head)
        _check_sum(core, credited_s)
        return Checked(
            number=str(core["number"]),
            check_code=code,
            holder=str(core["holder"]),
            programme=str(core["programme"]),
            policy=str(core["policy"]),
            track=str(core["track"]),
            credited_s=credited_s,
            class_hours=int(core["class_hours"]),
            issued=str(core["issued"]),
            key_id=key_id,
            sessions=len(core["sessions"]),
        )
    except SignatureInvalid as error:
        raise CertificateInvalid("The signature does not fit: the document was changed.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise CertificateInvalid(
            "The certificate lacks a part, or holds a malformed one."
        ) from error


def key_ids(document: bytes) -> set[str]:
    """Name the keys that signed the certificate and its head.

    Raises BadRequest, CertificateInvalid.
    """
    core, _, signature = _parse(document)
    head = core.get("head")
    signatures = [signature]
    if isinstance(head, dict):
        signatures.append(str(head.get("signature", "")))
    return {text.partition(".")[0] for text in signatures}


def _parse(document: bytes) -> tuple[dict[str, Any], str, str]:
    if len(document) > MAX_BYTES:
        raise BadRequest(f"A certificate has at most {MAX_BYTES} bytes.")
    try:
        parsed = json.loads(document)
        core, code, signature = parsed["certificate"], parsed["check_code"], parsed["signature"]
        if set(parsed) != {"certificate", "check_code", "signature"} or core["type"] != TYPE:
            raise TypeError("other members")
        canonical = canonical_json(parsed)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadRequest(
            "This is not an hours certificate.", remedy="Give the JSON file as it was issued."
        ) from error
    if document.removesuffix(b"\n") != canonical:
        # Of a member that is there twice, some readers see the first and we the last.
        raise CertificateInvalid("The document is not written in the one way that is signed.")
    return core, str(code), str(signature)


def _whole_seconds(settlements: Iterable[dict[str, Any]]) -> int:
    """Add up the credited milliseconds per local day, each day rounded down once."""
    days: Counter[str] = Counter()
    for data in settlements:
        if (
            sum(data["days"].values()) != data["credited_ms"]
            or min(data["days"].values(), default=0) < 0
        ):
            raise CertificateInvalid("The days of a session do not add up to its credit.")
        days.update(data["days"])
    return sum(ms // 1_000 for ms in days.values())


def _check_sessions(core: dict[str, Any], head: Head) -> int:
    """Check every settlement and its proof; returns the sum of the credited seconds."""
    settlements = []
    seen: set[str] = set()
    for item in core["sessions"]:
        body = item["entry"].encode("utf-8")
        holds = inclusion_holds(
            index=item["index"],
            size=head.size,
            leaf=leaf_hash(body),
            path=[bytes.fromhex(step) for step in item["path"]],
            root=head.root,
        )
        entry = json.loads(body)
        session = entry["subject"]
        if not holds:
            raise CertificateInvalid(f"The ledger does not hold the settlement of {session}.")
        if session in seen:
            raise CertificateInvalid(f"Session {session} is counted twice.")
        seen.add(session)
        data = entry["data"]
        belongs = (
            entry["kind"] == "settled"
            and data["learner"] == core["holder"]
            and data["course"] == core["course"]
            and entry["policy"] == core["policy"]
        )
        if not belongs or data["provisional"]:
            raise CertificateInvalid(f"Session {session} does not belong to this certificate.")
        settlements.append(data)
    return _whole_seconds(settlements)


def _check_sum(core: dict[str, Any], credited_s: int) -> None:
    if credited_s != core["credited_s"]:
        raise CertificateInvalid("The sessions do not add up to the credited seconds.")
    if core["class_hours"] != credited_s // core["class_hour_s"]:
        raise CertificateInvalid("The class hours do not follow from the credited seconds.")
    if credited_s < core["target_s"]:
        raise CertificateInvalid("The credited seconds do not reach the target.")


def masked(learner_id: str) -> str:
    """Show enough of a pseudonymous id to compare it with a paper, and not more."""
    return f"{learner_id[:6]}…{learner_id[-2:]}"


def _base32(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 32)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


__all__ = [
    "ALPHABET",
    "OFFLINE_LIMITS",
    "CertificateInvalid",
    "Checked",
    "Claim",
    "Holding",
    "check_code",
    "issue",
    "key_ids",
    "masked",
    "new_number",
    "verify_certificate",
]
