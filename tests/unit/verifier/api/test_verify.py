"""``/v1/verify`` and ``/v1/verify:batch`` on scripted pictures."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import httpx
import pytest

from verifier.api.testing import ScriptedVerifier
from verifier.api.verify import PURPOSE, signed_payload
from verifier.errors import SignatureInvalid
from verifier.streaming.testing import Person
from verifier.types import Reason


async def test_the_enrolled_person_matches(
    caller: httpx.AsyncClient, picture: Any, enrol: Any
) -> None:
    """The verdict carries everything that DESIGN lists."""
    frames = [picture("li", shot=n) for n in range(3)]
    answer = await caller.post("/v1/verify", json=await enrol("li") | {"frames": frames})
    assert answer.status_code == 200, answer.text
    verdict = answer.json()
    assert verdict["decision"] == "match"
    assert verdict["reasons"] == []
    assert verdict["similarity"] == pytest.approx(1, abs=1e-5)
    assert verdict["threshold"] == 0.4
    assert verdict["fmr_at_threshold"] == 1e-4
    assert verdict["liveness"] == {"score": 0.9, "threshold": 0.5, "decision": "live"}
    assert verdict["quality"]["UnifiedQualityScore"] == 0.9
    assert len(verdict["face"]["landmarks"]) == 5
    assert verdict["face"]["box"] == [270, 170, 120, 120]
    assert verdict["frames_judged"] == 3
    assert verdict["frame_digests"] == [
        hashlib.sha256(base64.b64decode(frame)).hexdigest() for frame in frames
    ]
    assert verdict["models"] == {"detector": "scripted@00", "embedder": "scripted@01"}
    assert verdict["profile_version"] == "scripted-1"
    assert set(verdict["timings_ms"]) >= {"reference", "decode", "assess", "judge", "scripted"}
    assert verdict["subject"] == "li"


@pytest.mark.parametrize(
    ("people", "verdict"),
    [
        (["wang"], ("mismatch", ["not_the_same_person"])),
        ([], ("no_evidence", ["no_face"])),
        ([Person(who="li", live=0.1)], ("spoof", ["not_live"])),
        ([Person(who="li", reasons=(Reason.BLURRED,))], ("no_evidence", ["blurred"])),
        (["wang", "li"], ("match", ["several_faces"])),
    ],
)
async def test_what_is_not_a_match_is_an_answer(
    caller: httpx.AsyncClient, picture: Any, enrol: Any, people: Any, verdict: Any
) -> None:
    """Another person, nobody, a print, a blur and company are verdicts, not errors."""
    body = await enrol("li") | {"frames": [picture(*people)]}
    answer = await caller.post("/v1/verify", json=body)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["decision"], answer.json()["reasons"]) == verdict
    if verdict[0] == "no_evidence":
        assert answer.json()["similarity"] is None


async def test_a_reference_photograph_does_as_well(caller: httpx.AsyncClient, picture: Any) -> None:
    """Instead of a template a photograph may be given; a useless one is refused with reasons."""
    body = {"reference_photo": picture("li"), "frames": [picture("li", shot=1)]}
    answer = await caller.post("/v1/verify", json=body)
    assert answer.json()["decision"] == "match"
    assert answer.json()["subject"] is None
    digest = hashlib.sha256(base64.b64decode(picture("li"))).hexdigest()
    assert answer.json()["reference_digest"] == digest
    answer = await caller.post("/v1/verify", json=body | {"reference_photo": picture()})
    assert answer.status_code == 422
    assert answer.json()["code"] == "template_refused"
    assert answer.json()["reasons"] == ["no_face"]


async def test_the_verdict_is_signed(
    caller: httpx.AsyncClient, picture: Any, enrol: Any, verifier: ScriptedVerifier
) -> None:
    """Whoever holds the answer can check it; no signed value can be changed."""
    body = await enrol("li") | {"frames": [picture("wang")]}
    verdict = (await caller.post("/v1/verify", json=body)).json()
    signature = verdict["signature"]
    verifier.keyring.verify(PURPOSE, signed_payload(verdict), signature)
    changes: dict[str, Any] = {
        "decision": "match",
        "similarity": 0.9,
        "subject": "zhao",
        "reference_digest": "0" * 64,
        "frame_digests": [],
        "judged_at_utc_ms": 0,
        "models": {},
    }
    for name, value in changes.items():
        with pytest.raises(SignatureInvalid):
            verifier.keyring.verify(PURPOSE, signed_payload(verdict | {name: value}), signature)
    keys = (await caller.get("/v1/keys")).json()["keys"]
    assert signature.partition(".")[0] in [key["kid"] for key in keys]


async def test_templates_of_others_do_not_open(
    caller: httpx.AsyncClient, picture: Any, enrol: Any
) -> None:
    """A swapped subject and an altered template are refused, each with its code and remedy."""
    made = await enrol("li")
    frames = {"frames": [picture("li")]}
    answer = await caller.post("/v1/verify", json=made | frames | {"subject": "wang"})
    assert (answer.status_code, answer.json()["code"]) == (422, "template_tampered")
    blob = bytearray(base64.b64decode(made["template"]))
    blob[-1] ^= 1
    altered = base64.b64encode(bytes(blob)).decode()
    answer = await caller.post("/v1/verify", json=made | frames | {"template": altered})
    assert (answer.status_code, answer.json()["code"]) == (422, "template_tampered")
    assert answer.json()["remedy"]


async def test_a_broken_frame_is_named(caller: httpx.AsyncClient, picture: Any, enrol: Any) -> None:
    """Of several frames the unreadable one is told by its number."""
    bad = base64.b64encode(b"rubbish").decode()
    body = await enrol("li") | {"frames": [picture("li"), bad]}
    answer = await caller.post("/v1/verify", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "image_unreadable")
    assert "Image 2 of 2" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"frames": []}, "frames"),
        ({"frames": ["AAAA"] * 9}, "frames"),
        ({"frames": ["AAAA"] * 10_000}, "frames"),
        ({"frames": "AAAA"}, "frames"),
        ({"frames": ["/etc/passwd!"]}, "frames/0"),
        ({"frames": ["http://127.0.0.1/x.jpg"]}, "frames/0"),
        ({"frames": ["data:image/jpeg;base64,AAAA"]}, "frames/0"),
        ({"frames": [{"path": "/etc/passwd"}]}, "frames/0"),
        ({"frames": [1]}, "frames/0"),
        ({"frames": [""]}, "frames/0"),
        ({"frames": ["AAAAA"]}, "frames/0"),
        ({"subject": ""}, "subject"),
        ({"subject": "x" * 201}, "subject"),
        ({"subject": "line\nbreak"}, "subject"),
        ({"subject": 7}, "subject"),
        ({"template": None}, "template"),
        ({"reference_photo": "AAAA"}, "reference_photo"),
        ({"threshold": 0.1}, "threshold"),
    ],
)
async def test_wrong_fields_are_named(
    caller: httpx.AsyncClient, picture: Any, change: dict[str, Any], where: str
) -> None:
    """Images are bytes, lists are bounded, nothing unknown is taken."""
    body = {"subject": "li", "template": "QUJD", "frames": [picture("li")]} | change
    answer = await caller.post("/v1/verify", json=body)
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_request"
    assert answer.json()["errors"][0]["where"].endswith(where)
    assert "passwd" not in answer.text


@pytest.mark.parametrize("subject", ['"\\ud800"', '"\\u0000"', "NaN", "1e999", "9" * 1_000])
async def test_json_that_clients_do_not_write_is_refused(
    caller: httpx.AsyncClient, subject: str
) -> None:
    """Lone surrogates, control characters and numbers out of range are wrong fields too."""
    text = f'{{"subject": {subject}, "template": "QUJD", "frames": ["AAAA"]}}'
    answer = await caller.post(
        "/v1/verify", content=text, headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"][0]["where"].endswith("subject")


@pytest.mark.parametrize("body", [{}, [], 1, None, "x", {"frames": ["AAAA"]}])
async def test_bodies_of_another_kind_are_refused(caller: httpx.AsyncClient, body: Any) -> None:
    """Whatever JSON it is, the answer is a problem."""
    answer = await caller.post("/v1/verify", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_a_batch_answers_each_item_by_itself(
    caller: httpx.AsyncClient, picture: Any, enrol: Any
) -> None:
    """Matches, mismatches and problems come back in the order of the items."""
    li, wang = await enrol("li"), await enrol("wang")
    items = [
        li | {"frames": [picture("li")]},
        wang | {"frames": [picture("li")]},
        li | {"subject": "zhao", "frames": [picture("li")]},
        {"reference_photo": picture("zhao"), "frames": [picture("zhao")]},
        li | {"frames": [base64.b64encode(b"rubbish").decode()]},
    ] * 12
    answer = await caller.post("/v1/verify:batch", json={"items": items})
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    told = [
        item["verdict"]["decision"] if item["verdict"] else item["problem"]["code"]
        for item in results
    ]
    assert told == ["match", "mismatch", "template_tampered", "match", "image_unreadable"] * 12
    assert results[2]["problem"]["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("count", [0, 65])
async def test_batches_are_bounded(caller: httpx.AsyncClient, picture: Any, count: int) -> None:
    """Between 1 and 64 items."""
    item = {"subject": "li", "template": "QUJD", "frames": [picture("li")]}
    answer = await caller.post("/v1/verify:batch", json={"items": [item] * count})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_a_bug_in_one_item_does_not_cost_the_others(
    caller: httpx.AsyncClient,
    picture: Any,
    enrol: Any,
    verifier: ScriptedVerifier,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An unexpected error is that item's problem, told without its internals."""
    li = await enrol("li")
    judge = verifier.engine.judge

    def sometimes(evidence: Any, reference: Any, **how: Any) -> Any:
        if len(evidence) == 2:
            raise RuntimeError("swordfish")
        return judge(evidence, reference, **how)

    monkeypatch.setattr(verifier.engine, "judge", sometimes)
    items = [li | {"frames": [picture("li")] * count} for count in (1, 2, 1)]
    answer = await caller.post("/v1/verify:batch", json={"items": items})
    results = answer.json()["results"]
    assert [bool(item["verdict"]) for item in results] == [True, False, True]
    assert results[1]["problem"]["code"] == "internal_error"
    assert "swordfish" not in answer.text


async def test_an_engine_that_fails_is_a_500_and_the_service_stays_up(
    caller: httpx.AsyncClient, picture: Any, enrol: Any, verifier: ScriptedVerifier
) -> None:
    """The error is told without internals; the next request is served."""
    body = await enrol("li") | {"frames": [picture("li")]}
    verifier.engine.broken = RuntimeError("swordfish")
    answer = await caller.post("/v1/verify", json=body)
    assert (answer.status_code, answer.json()["code"]) == (500, "inference_failed")
    assert "swordfish" not in answer.text
    assert answer.json()["remedy"]
    verifier.engine.broken = RuntimeError("swordfish: out of memory")
    answer = await caller.post("/v1/verify", json=body)
    assert (answer.status_code, answer.json()["code"]) == (503, "out_of_memory")
    assert "swordfish" not in answer.text
    assert answer.headers["retry-after"]
    verifier.engine.broken = None
    assert (await caller.post("/v1/verify", json=body)).json()["decision"] == "match"
