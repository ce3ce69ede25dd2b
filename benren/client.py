"""A Python client of both services: for servers that integrate them, the demo and the tests.

`BenrenClient` is what a server holds (it has the API key); `StudySession` is what a learner's
device does (it has the tokens of one session only). Answers that callers act on are small
classes; whole records (verdicts, courses, explanations, certificates) are the JSON objects that
``/openapi.json`` documents. Refusals are exceptions: the services' own (`verifier.errors`), or
those of `benren.problems`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import httpx

from benren.line import Line, not_as_documented
from benren.problems import raise_for_problem
from benren.study import SessionStatus, StudySession, status_of

__all__ = ["BenrenClient", "EnrolledFace", "Invited", "SessionStatus", "StudySession"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolledFace:
    """A template, to be kept by the caller."""

    template: bytes
    quality: Mapping[str, float]
    """By OFIQ name."""
    models: Mapping[str, str]
    """Role -> ``id@sha256``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invited:
    """With what a learner's device signs in, once."""

    code: str
    code_expires_utc_ms: int
    link_token: str
    """For the page: ``/learn/#t=LINK_TOKEN``."""
    expires_utc_ms: int


class BenrenClient:
    """Speaks to a verifier and to a session tracker, which may share one address."""

    def __init__(
        self,
        tracker_url: str,
        *,
        verifier_url: str = "",
        api_key: str = "",
        timeout_s: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`transport` replaces the network, for tests."""
        self._tracker = Line(tracker_url, api_key, timeout_s, transport)
        self._verifier = Line(verifier_url or tracker_url, api_key, timeout_s, transport)
        # What a learner's device holds: the same addresses, without the API key.
        self._device_tracker = Line(tracker_url, "", timeout_s, transport)
        self._device_verifier = Line(verifier_url or tracker_url, "", timeout_s, transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        for line in (self._tracker, self._verifier, self._device_tracker, self._device_verifier):
            await line.aclose()

    # --- verifier ----------------------------------------------------------------------------

    async def enrol(self, subject: str, photo: bytes) -> EnrolledFace:
        """Make a template of a photograph, bound to `subject` (the learner's id)."""
        body = {"subject": subject, "photo": _base64(photo)}
        answer = await self._verifier.ask("POST", "/v1/templates", body)
        try:
            return EnrolledFace(
                template=base64.b64decode(answer["template"], validate=True),
                quality=answer["quality"],
                models=answer["models"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise not_as_documented("template", error) from error

    async def verify(
        self,
        frames: Sequence[bytes],
        *,
        template: bytes | None = None,
        subject: str | None = None,
        reference_photo: bytes | None = None,
    ) -> dict[str, Any]:
        """Judge 1-8 pictures against a template and its subject, or against a photograph."""
        body: dict[str, Any] = {"frames": [_base64(frame) for frame in frames]}
        if reference_photo is not None:
            body["reference_photo"] = _base64(reference_photo)
        if template is not None:
            body |= {"template": _base64(template), "subject": subject}
        return await self._verifier.ask("POST", "/v1/verify", body)

    # --- learners ----------------------------------------------------------------------------

    async def register(self, *, category: str, track: str, industry: str, business_ref: str) -> str:
        """Register a learner; returns the learner's id."""
        body = {
            "category": category,
            "track": track,
            "industry": industry,
            "business_ref": business_ref,
        }
        return str((await self._tracker.ask("POST", "/v1/learners", body))["learner_id"])

    async def put_template(
        self, learner_id: str, template: bytes, *, provenance: str = "id_photo"
    ) -> dict[str, Any]:
        """Hand a learner's template to the tracker."""
        body = {"template": _base64(template), "provenance": provenance}
        return await self._tracker.ask("PUT", f"/v1/learners/{learner_id}/template", body)

    async def confirm_template(self, learner_id: str, *, reason: str) -> dict[str, Any]:
        """Say that staff, or a match with the ID photo, confirmed the enrolment."""
        path = f"/v1/learners/{learner_id}/template/confirm"
        return await self._tracker.ask("POST", path, {"reason": reason})

    async def invite(self, learner_id: str) -> Invited:
        """Have a link and a code made for the learner's page; earlier ones are void then."""
        path = f"/v1/learners/{learner_id}/sign-in-codes"
        answer = await self._tracker.ask("POST", path)
        try:
            return Invited(
                code=str(answer["code"]),
                code_expires_utc_ms=int(answer["code_expires_utc_ms"]),
                link_token=str(answer["link_token"]),
                expires_utc_ms=int(answer["expires_utc_ms"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise not_as_documented("invitation", error) from error

    async def approve(
        self,
        learner_id: str,
        *,
        reason: str,
        face_compared: bool = False,
        template_version: int | None = None,
    ) -> dict[str, Any]:
        """Approve a learner's registration; needs a key with the scope `staff`.

        Say `face_compared` where the enrolled face was compared with the person or the identity
        card: credit under it is no longer provisional then. `template_version` is the face that
        was looked at: refused where another was enrolled since.
        """
        path = f"/v1/staff/learners/{learner_id}/approval"
        body = {
            "reason": reason,
            "face_compared": face_compared,
            "template_version": template_version,
        }
        return await self._tracker.ask("POST", path, body)

    async def give_consent(self, learner_id: str, *, text_version: str) -> str:
        """Record the learner's separate consent; returns its id."""
        body = {"text_version": text_version}
        answer = await self._tracker.ask("POST", f"/v1/learners/{learner_id}/consents", body)
        return str(answer["consent_id"])

    async def credit(self, learner_id: str, programme: str) -> dict[str, Any]:
        """Derive where a learner stands in a programme."""
        path = f"/v1/learners/{learner_id}/credit"
        return await self._tracker.ask("GET", path, params={"programme": programme})

    # --- sessions ----------------------------------------------------------------------------

    async def open_session(
        self,
        *,
        learner_id: str,
        consent_id: str,
        programme: str,
        media: Sequence[str],
        take_over: bool = False,
    ) -> StudySession:
        """Open a session; the returned object does what the learner's device does."""
        answer = await self._tracker.ask(
            "POST",
            "/v1/sessions",
            {
                "learner_id": learner_id,
                "consent_id": consent_id,
                "programme": programme,
                "media": list(media),
                "take_over": take_over,
            },
        )
        try:
            return StudySession(
                self._device_tracker,
                self._device_verifier,
                session_id=answer["session_id"],
                session_token=answer["session_token"],
                stream=answer["stream"],
                status=status_of(answer["session"]),
            )
        except (KeyError, TypeError) as error:
            raise not_as_documented("session", error) from error

    async def explain(self, session_id: str) -> dict[str, Any]:
        """Give the whole story of a session: every credited and every void second."""
        return await self._tracker.ask("GET", f"/v1/sessions/{session_id}/explain")

    # --- records -----------------------------------------------------------------------------

    async def certificate(self, number: str, *, code: str | None = None) -> dict[str, Any]:
        """Check a certificate by its number, and by its check code where given."""
        params = {} if code is None else {"code": code}
        return await self._tracker.ask("GET", f"/v1/certificates/{number}", params=params)

    async def certificate_document(self, number: str) -> bytes:
        """Give the signed document, byte for byte, for checking offline."""
        response = await self._tracker.send("GET", f"/v1/certificates/{number}/document")
        raise_for_problem(response)
        return response.content

    async def ledger_head(self) -> dict[str, Any]:
        """Give the newest signed head of the ledger."""
        return await self._tracker.ask("GET", "/v1/ledger/head")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
