"""``/v1/templates`` on scripted pictures."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from verifier.api.testing import ScriptedVerifier
from verifier.streaming.testing import Person, embedding_of
from verifier.types import Reason


async def test_a_photograph_becomes_a_template(
    caller: httpx.AsyncClient, picture: Any, verifier: ScriptedVerifier
) -> None:
    """The answer names quality and models; the blob holds the person's embedding."""
    body = {"subject": "learner-1", "photo": picture("li")}
    answer = await caller.post("/v1/templates", json=body)
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert made["subject"] == "learner-1"
    assert made["quality"]["InterEyeDistance"] == 48
    assert made["models"]["embedder"] == "scripted@01"
    assert made["profile_version"] == "scripted-1"
    opened = verifier.vault.open(base64.b64decode(made["template"]), subject="learner-1")
    assert opened.embedding @ embedding_of("li") == pytest.approx(1, abs=1e-5)
    assert dict(opened.quality) == made["quality"]


@pytest.mark.parametrize(
    ("people", "reasons"),
    [
        ([], ["no_face"]),
        (["li", "wang"], ["several_faces"]),
        (
            [Person(who="li", reasons=(Reason.BLURRED, Reason.TOO_DARK))],
            ["blurred", "too_dark"],
        ),
    ],
)
async def test_useless_photographs_are_refused_with_reasons(
    caller: httpx.AsyncClient, picture: Any, people: Any, reasons: list[str]
) -> None:
    """A refusal is a problem with the reasons, by name."""
    answer = await caller.post("/v1/templates", json={"subject": "li", "photo": picture(*people)})
    assert answer.status_code == 422
    assert answer.json()["code"] == "template_refused"
    assert answer.json()["reasons"] == reasons
    assert answer.json()["remedy"]


async def test_what_is_no_image_is_told(caller: httpx.AsyncClient) -> None:
    """Unreadable bytes are another problem than a useless photograph."""
    photo = base64.b64encode(b"a text file named .jpg").decode()
    answer = await caller.post("/v1/templates", json={"subject": "li", "photo": photo})
    assert (answer.status_code, answer.json()["code"]) == (422, "image_unreadable")


async def test_either_alphabet_of_base64_is_understood(
    caller: httpx.AsyncClient, picture: Any
) -> None:
    """Standard or URL-safe, padded or not."""
    standard = picture("??>>", shot=3)
    assert {"+", "/"} & set(standard) or "=" in standard
    safe = standard.replace("+", "-").replace("/", "_").rstrip("=")
    for photo in (standard, safe):
        answer = await caller.post("/v1/templates", json={"subject": "li", "photo": photo})
        assert answer.status_code == 200


async def test_templates_and_refusals_are_counted(caller: httpx.AsyncClient, picture: Any) -> None:
    """Operators see how enrolment goes."""
    await caller.post("/v1/templates", json={"subject": "li", "photo": picture("li")})
    await caller.post("/v1/templates", json={"subject": "li", "photo": picture()})
    metrics = (await caller.get("/metrics")).text
    assert "benren_templates_total 1.0" in metrics
    assert 'benren_template_refusals_total{reason="no_face"} 1.0' in metrics


async def test_templates_are_compared_with_each_other(
    caller: httpx.AsyncClient, picture: Any, verifier: ScriptedVerifier
) -> None:
    """The same face under two subjects is a hit; the remote tracker reads the same answer."""
    made = {}
    for subject, who in (("s-1", "li"), ("s-2", "li"), ("s-3", "wang")):
        body = {"subject": subject, "photo": picture(who)}
        answer = await caller.post("/v1/templates", json=body)
        made[subject] = {"subject": subject, "template": answer.json()["template"]}
    body = {"probe": made["s-1"], "others": [made["s-2"], made["s-3"]]}
    answer = await caller.post("/v1/templates:compare", json=body)
    assert answer.status_code == 200, answer.text
    (hit,) = answer.json()["alike"]
    assert (hit["subject"], hit["similarity"]) == ("s-2", pytest.approx(1, abs=1e-5))
    assert (answer.json()["compared"], answer.json()["skipped"]) == (2, [])
    wrong = {"probe": {**made["s-1"], "subject": "s-9"}, "others": []}
    answer = await caller.post("/v1/templates:compare", json=wrong)
    assert (answer.status_code, answer.json()["code"]) == (422, "template_tampered")
