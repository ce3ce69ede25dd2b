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
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Self

import httpx

from benren.problems import UnexpectedAnswer, json_object, raise_for_problem, unreachable
from benren.ways import PeerWay, SocketWay
from verifier.errors import StreamGone, Unauthorised
from verifier.streaming.cues import Cue
from verifier.streaming.framing import BURST_TYPE, FramedPicture, pack_burst

_SIGNATURES = {b"\x89PNG": "image/png", b"RIFF": "image/webp"}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStatus:
    """Where a session stands, as the learner may know it."""

    state: str
    reason: str | None
    """Why the player stands still, as a plain code."""
    play: bool
    """Whether the player may run."""
    credited_s: int
    course_credited_s: int
    target_s: int
    certificate: str | None
    """Number of the certificate, once issued."""
    report_every_s: int


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
        self._tracker = _Line(tracker_url, api_key, timeout_s, transport)
        self._verifier = _Line(verifier_url or tracker_url, api_key, timeout_s, transport)
        # What a learner's device holds: the same addresses, without the API key.
        self._device_tracker = _Line(tracker_url, "", timeout_s, transport)
        self._device_verifier = _Line(verifier_url or tracker_url, "", timeout_s, transport)

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
            raise _not_as_documented("template", error) from error

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

    async def confirm_template(
        self, learner_id: str, *, reason: str, template_version: int | None = None
    ) -> dict[str, Any]:
        """Say that staff, or a match with the ID photo, confirmed an enrolment.

        Of the newest face, or of `template_version`, also where it was replaced since.
        """
        path = f"/v1/learners/{learner_id}/template/confirm"
        body = {"reason": reason, "template_version": template_version}
        return await self._tracker.ask("POST", path, body)

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
            raise _not_as_documented("invitation", error) from error

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
                status=_status(answer["session"]),
            )
        except (KeyError, TypeError) as error:
            raise _not_as_documented("session", error) from error

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


class StudySession:
    """One session from the side of the learner's device; made by `BenrenClient.open_session`."""

    def __init__(
        self,
        tracker: _Line,
        verifier: _Line,
        *,
        session_id: str,
        session_token: str,
        stream: Mapping[str, Any],
        status: SessionStatus,
    ) -> None:
        self.id = session_id
        self.status = status
        """As of the last answer of the tracker."""
        self._tracker = tracker
        self._verifier = verifier
        self._token = session_token
        self._frames_path = ""
        self._socket_path = ""
        self._offer_path = ""
        self._ice_servers: list[Mapping[str, Any]] = []
        self._client_token = ""
        self.sample_period_ms = 0
        """Wished time between two frames; the device adds jitter."""
        self._frame_seq = 0
        self._report_seq = 0
        self._use(stream)

    async def push_frame(
        self, picture: bytes, *, captured_utc_ms: int | None = None, media_type: str | None = None
    ) -> Cue:
        """Send one JPEG, PNG or WebP picture.

        Where the stream was lost or the token is over, another stream is asked for, once, and
        the picture is sent again. Every other refusal is raised; the frame is then no sample.
        """
        self._frame_seq += 1
        try:
            return await self._push(picture, captured_utc_ms, media_type)
        except (StreamGone, Unauthorised):
            await self.renew_stream()
        self._frame_seq += 1
        return await self._push(picture, captured_utc_ms, media_type)

    async def push_burst(self, pictures: Sequence[bytes]) -> list[Cue]:
        """Send a few pictures (five at most) in one upload; each gets its cue."""
        frames = []
        for picture in pictures:
            self._frame_seq += 1
            frames.append(FramedPicture(seq=self._frame_seq, data=picture))
        response = await self._verifier.send(
            "POST",
            f"{self._frames_path.removesuffix('frames')}bursts",
            content=pack_burst(frames),
            token=self._client_token,
            headers={"Content-Type": BURST_TYPE},
        )
        try:
            return [Cue.from_json(cue) for cue in json_object(response)["cues"]]
        except (KeyError, TypeError, ValueError) as error:
            raise _not_as_documented("burst", error) from error

    def socket(self) -> AbstractAsyncContextManager[SocketWay]:
        """Open a WebSocket for frames; it takes over from every other way."""
        return SocketWay.open(self._verifier.url + self._socket_path, self._client_token)

    def peer(self) -> AbstractAsyncContextManager[PeerWay]:
        """Open a WebRTC connection for frames; it takes over from every other way."""
        token, path = self._client_token, self._offer_path

        async def ask(offer: Mapping[str, Any]) -> Mapping[str, Any]:
            return await self._verifier.ask("POST", path, offer, token=token)

        return PeerWay.open(ask, self._ice_servers)

    async def report(
        self,
        *,
        media_id: str,
        media_ms: int,
        playing: bool,
        interaction: bool = False,
        client_utc_ms: int | None = None,
    ) -> SessionStatus:
        """Say where the player is: at every change, and every `status.report_every_s`."""
        self._report_seq += 1
        body = {
            "seq": self._report_seq,
            "media_id": media_id,
            "media_ms": media_ms,
            "playing": playing,
            "interaction": interaction,
        }
        if client_utc_ms is not None:
            body["client_ms"] = client_utc_ms
        return await self._ask("POST", f"/v1/sessions/{self.id}/playback", body)

    async def look(self) -> SessionStatus:
        """Ask where the session stands."""
        return await self._ask("GET", f"/v1/sessions/{self.id}")

    async def close(self) -> SessionStatus:
        """End the session; ending twice is fine."""
        return await self._ask("POST", f"/v1/sessions/{self.id}/close")

    async def renew_stream(self) -> None:
        """Have another stream opened, after the old one was lost."""
        path = f"/v1/sessions/{self.id}/stream"
        self._use(await self._tracker.ask("POST", path, token=self._token))

    def _use(self, stream: Mapping[str, Any]) -> None:
        try:
            self._frames_path = str(stream["frames_path"])
            self._socket_path = str(stream["socket_path"])
            self._offer_path = str(stream["offer_path"])
            self._ice_servers = list(stream["ice_servers"])
            self._client_token = str(stream["client_token"])
            self.sample_period_ms = int(stream["sample_period_ms"])
        except (KeyError, TypeError, ValueError) as error:
            raise _not_as_documented("stream grant", error) from error
        self._frame_seq = 0

    async def _push(
        self, picture: bytes, captured_utc_ms: int | None, media_type: str | None
    ) -> Cue:
        headers = {
            "Content-Type": media_type or _SIGNATURES.get(picture[:4], "image/jpeg"),
            "Benren-Seq": str(self._frame_seq),
        }
        if captured_utc_ms is not None:
            headers["Benren-Captured-Ms"] = str(captured_utc_ms)
        response = await self._verifier.send(
            "POST", self._frames_path, content=picture, token=self._client_token, headers=headers
        )
        body = json_object(response)
        try:
            return Cue.from_json(body)
        except (KeyError, TypeError, ValueError) as error:
            raise _not_as_documented("cue", error) from error

    async def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> SessionStatus:
        self.status = _status(await self._tracker.ask(method, path, body, token=self._token))
        return self.status


class _Line:
    """A connection to one service, with or without an API key."""

    def __init__(
        self,
        url: str,
        api_key: str,
        timeout_s: float,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=_bearer(api_key),
            timeout=timeout_s,
            transport=transport,
            trust_env=False,
        )

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        token: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        try:
            return await self._http.request(
                method,
                path,
                json=body,
                params=params,
                content=content,
                headers={**_bearer(token), **(headers or {})},
            )
        except httpx.TransportError as error:
            raise unreachable(self.url, error) from error

    async def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        token: str = "",
    ) -> dict[str, Any]:
        return json_object(await self.send(method, path, body=body, params=params, token=token))

    async def aclose(self) -> None:
        await self._http.aclose()


def _status(body: Mapping[str, Any]) -> SessionStatus:
    try:
        return SessionStatus(
            state=str(body["state"]),
            reason=body["reason"],
            play=bool(body["play"]),
            credited_s=int(body["credited_s"]),
            course_credited_s=int(body["course_credited_s"]),
            target_s=int(body["target_s"]),
            certificate=body["certificate"],
            report_every_s=int(body["report_every_s"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _not_as_documented("session", error) from error


def _not_as_documented(what: str, error: Exception) -> UnexpectedAnswer:
    return UnexpectedAnswer(
        f"The service's {what} is not as documented: {error!r}.",
        remedy="Use the client and the services of one release.",
    )


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
