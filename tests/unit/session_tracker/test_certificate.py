"""Certificates: what is signed, what holds offline, and every way of changing one."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from session_tracker.certificate import (
    ALPHABET,
    PURPOSE,
    CertificateInvalid,
    check_code,
    key_ids,
    masked,
    new_number,
    verify_certificate,
)
from session_tracker.policy import load_policy
from session_tracker.testing import Studio
from verifier.clock import ManualClock
from verifier.errors import BadRequest, UnknownKey
from verifier.keys import KeyRing, canonical_json

pytestmark = pytest.mark.both_databases


@dataclass(frozen=True)
class Paper:
    """A certificate, and the ring that signed it."""

    document: bytes
    keyring: KeyRing
    learner_id: str


async def _studied(url: str) -> Paper:
    studio = Studio(url, policy=load_policy("demo"))
    await studio.start()
    for media in ("lesson-1", "lesson-2"):
        lesson = await studio.open(media=media)
        await lesson.watch(300)
        view = await lesson.close()
    assert view.certificate is not None
    document = (await studio.service.certification.issued(view.certificate)).document
    await studio.stop()
    return Paper(document, studio.keyring, studio.learner_id)


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Paper:
    """The certificate of a learner who watched the demo programme in two sessions."""
    return asyncio.run(_studied(f"sqlite:///{tmp_path_factory.mktemp('studio')}/t.sqlite3"))


@pytest.fixture
def document(paper: Paper) -> bytes:
    """The certificate alone."""
    return paper.document


def resigned(document: bytes, change: Callable[[dict[str, Any]], None], keyring: KeyRing) -> bytes:
    """Change the content and sign it again, as only somebody with our key could."""
    core = copy.deepcopy(json.loads(document)["certificate"])
    change(core)
    signed = {"certificate": core, "check_code": check_code(core)}
    return canonical_json({**signed, "signature": keyring.sign(PURPOSE, canonical_json(signed))})


def test_it_holds_with_the_public_key_alone(document: bytes, paper: Paper) -> None:
    """A ring that can only verify is enough."""
    name = paper.keyring.current_signing_id
    public = KeyRing(verifying={name: paper.keyring._public[name]})
    checked = verify_certificate(document, public)
    assert checked.holder == paper.learner_id
    assert checked.class_hours == checked.credited_s // 60 >= 8
    assert key_ids(document) == {name}


def test_every_changed_digit_is_found(document: bytes, paper: Paper) -> None:
    """Whichever digit of the document is changed, it no longer holds."""
    positions = [i for i, byte in enumerate(document) if chr(byte).isdigit()]
    for position in positions:
        digit = str((int(chr(document[position])) + 1) % 10).encode()
        changed = document[:position] + digit + document[position + 1 :]
        with pytest.raises((CertificateInvalid, BadRequest, UnknownKey)):
            verify_certificate(changed, paper.keyring)


def _credit(core: dict[str, Any]) -> None:
    core["credited_s"] += 60


def _hours(core: dict[str, Any]) -> None:
    core["class_hours"] += 1


def _target(core: dict[str, Any]) -> None:
    core["target_s"] = core["credited_s"] + 1


def _twice(core: dict[str, Any]) -> None:
    core["sessions"].append(core["sessions"][0])


def _path(core: dict[str, Any]) -> None:
    core["sessions"][0]["path"].pop()


def _holder(core: dict[str, Any]) -> None:
    core["holder"] = "lrn_somebody_else"


def _settlement(core: dict[str, Any]) -> None:
    entry = json.loads(core["sessions"][0]["entry"])
    entry["data"]["credited_ms"] += 60_000
    core["sessions"][0]["entry"] = canonical_json(entry).decode()


def _head(core: dict[str, Any]) -> None:
    core["head"]["root"] = "00" * 32


def _part(core: dict[str, Any]) -> None:
    del core["sessions"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_credit, "do not add up"),
        (_hours, "class hours"),
        (_target, "target"),
        (_twice, "counted twice"),
        (_path, "does not hold"),
        (_holder, "does not belong"),
        (_settlement, "does not hold"),
        (_head, "signature"),
        (_part, "lacks a part"),
    ],
)
def test_even_we_cannot_sign_what_the_ledger_does_not_hold(
    document: bytes, paper: Paper, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    """A certificate signed with our key, but at odds with the ledger or itself, does not hold."""
    with pytest.raises(CertificateInvalid, match=said):
        verify_certificate(resigned(document, change, paper.keyring), paper.keyring)


def test_another_check_code_is_found(document: bytes, paper: Paper) -> None:
    """The check code belongs to exactly this content."""
    parsed = json.loads(document)
    code = parsed["check_code"]
    parsed["check_code"] = code[:-1] + ("0" if code[-1] != "0" else "1")
    with pytest.raises(CertificateInvalid, match="check code"):
        verify_certificate(canonical_json(parsed), paper.keyring)


def test_a_strangers_key_is_unknown(document: bytes, clock: ManualClock) -> None:
    """Without the key that signed it nothing is said about a certificate."""
    clock.advance(1_000)
    with pytest.raises(UnknownKey):
        verify_certificate(document, KeyRing.generate(clock))


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"null", b"{" * 5_000, b'{"certificate": 1}'])
def test_what_is_no_certificate_is_a_bad_request(text: bytes, paper: Paper) -> None:
    """Other files are told apart from forged certificates."""
    with pytest.raises(BadRequest):
        verify_certificate(text, paper.keyring)


def test_numbers_and_codes_have_no_look_alikes() -> None:
    """Numbers name their year; neither they nor the codes use I, L, O or U."""
    numbers = {new_number(1_795_482_000_000) for _ in range(200)}
    assert len(numbers) == 200
    assert all(n.startswith("BR2026-") and set(n[7:]) <= set(ALPHABET) for n in numbers)
    assert len(ALPHABET) == 32
    assert not set("ILOU") & set(ALPHABET)
    assert len(check_code({"type": "x"})) == 16


def test_a_masked_holder_does_not_give_the_pseudonym_away() -> None:
    """The public check shows a beginning and an end."""
    assert masked("lrn_0123456789abcdef0123") == "lrn_01…23"


def test_there_is_one_way_to_write_it(document: bytes, paper: Paper) -> None:
    """Of a member that is there twice readers see this one or that: it does not hold."""
    verify_certificate(document + b"\n", paper.keyring)
    twice = document.replace(b'"class_hours":', b'"class_hours":99,"class_hours":', 1)
    assert json.loads(twice) == json.loads(document)
    spaced = json.dumps(json.loads(document)).encode()
    for changed in (twice, spaced, b" " + document, document + b"\n\n", document + b" "):
        with pytest.raises(CertificateInvalid, match="one way"):
            verify_certificate(changed, paper.keyring)
