"""Learners who enrol themselves: the tracker's `Enroller`, in this process or over HTTP."""

from __future__ import annotations

import base64
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from benren.problems import error_of, json_object, raise_for_problem, unreachable
from session_tracker.enroller import FaceTaken
from verifier.streaming.advice import Advice, mend
from verifier.types import Decision, Reason

if TYPE_CHECKING:
    from verifier.pipeline.batching import Batcher
    from verifier.pipeline.templates import TemplateVault

_NOT_LIVE: Final = FaceTaken(template=None, advice=(Advice.NOT_LIVE,))
_NOBODY: Final = "look"
"""The subject of a template that is made to look only, and thrown away."""
_ANSWER_S: Final = 30.0


class LocalEnroller:
    """An `Enroller` on the verifier of this very process."""

    def __init__(self, batcher: Batcher, vault: TemplateVault) -> None:
        self._batcher = batcher
        self._vault = vault

    async def look(self, image: bytes) -> str:
        """Give live advice by the limits of an enrolment."""
        deadline = self._batcher.deadline()
        (frame,) = await self._batcher.decode([image], timeout_s=deadline.left_s)
        found = await self._batcher.enrol(frame, timeout_s=deadline.left_s)
        return _first(found.reasons)

    async def enrol(self, learner_id: str, image: bytes, *, live: bool) -> FaceTaken:
        """Make a template; a selfie that the liveness networks take for a picture is refused."""
        deadline = self._batcher.deadline()
        (frame,) = await self._batcher.decode([image], timeout_s=deadline.left_s, owner=learner_id)
        found = await self._batcher.enrol(frame, timeout_s=deadline.left_s, owner=learner_id)
        if found.reasons or found.embedding is None:
            return FaceTaken(template=None, advice=mend(found.reasons))
        if live:
            evidence = await self._batcher.assess(
                [frame],
                references=[found.embedding],
                timeout_s=deadline.left_s,
                owner=learner_id,
            )
            if self._batcher.judge(evidence, found.embedding).decision is Decision.SPOOF:
                return _NOT_LIVE
        quality = found.quality.by_ofiq_name() if found.quality is not None else {}
        blob = self._vault.seal(subject=learner_id, embedding=found.embedding, quality=quality)
        return FaceTaken(template=blob, advice=())


class RemoteEnroller:
    """An `Enroller` on a verifier elsewhere: ``/v1/templates``, and ``/v1/verify`` for liveness."""

    def __init__(self, verifier_url: str, *, api_key: str = "") -> None:
        self._url = verifier_url
        self._http = httpx.AsyncClient(
            base_url=verifier_url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=_ANSWER_S,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def look(self, image: bytes) -> str:
        """Give live advice by the limits of an enrolment."""
        _, reasons = await self._template(_NOBODY, image)
        return _first(reasons)

    async def enrol(self, learner_id: str, image: bytes, *, live: bool) -> FaceTaken:
        """Make a template; a selfie that the liveness networks take for a picture is refused."""
        template, reasons = await self._template(learner_id, image)
        if template is None:
            return FaceTaken(template=None, advice=mend(reasons))
        if live:
            text = _base64(image)
            body = {"reference_photo": text, "frames": [text]}
            verdict = json_object(await self._post("/v1/verify", body))
            if verdict.get("decision") == Decision.SPOOF:
                return _NOT_LIVE
        return FaceTaken(template=template, advice=())

    async def _template(
        self, subject: str, image: bytes
    ) -> tuple[bytes | None, tuple[Reason, ...]]:
        body = {"subject": subject, "photo": _base64(image)}
        response = await self._post("/v1/templates", body)
        if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
            reasons = _reasons(response)
            if not reasons:
                raise error_of(response)
            return None, reasons
        raise_for_problem(response)
        return base64.b64decode(json_object(response)["template"]), ()

    async def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        try:
            return await self._http.post(path, json=body)
        except httpx.TransportError as error:
            raise unreachable(self._url, error) from error


def _first(reasons: Collection[Reason]) -> str:
    advice = mend(reasons)
    return str(advice[0] if advice else Advice.OK)


def _reasons(response: httpx.Response) -> tuple[Reason, ...]:
    """Give the reasons of a refused photograph; none where the refusal is another one."""
    problem = response.json()
    named = problem.get("reasons") if isinstance(problem, dict) else None
    known = set(Reason)
    return tuple(Reason(name) for name in named or () if name in known)


def _base64(image: bytes) -> str:
    return base64.b64encode(image).decode("ascii")
