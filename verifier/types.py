"""What travels between the rooms: Frame -> Face -> AlignedFace -> Evidence -> Verdict.

Everything is frozen: a stage makes a new value, it never enriches an old one. The lower half
(streams) is the contract between the verifier and the session tracker. Coordinates are pixels
of the upright image (EXIF orientation applied), origin at the top left, x to the right, y down;
*left* and *right* in landmark names are the person's own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeAlias

from verifier.clock import Stamp

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Image: TypeAlias = NDArray[np.uint8]
    """(height, width, 3) uint8, BGR, 0..255."""
    Points: TypeAlias = NDArray[np.float32]
    """(n, 2) float32, x and y in pixels."""
    Vector: TypeAlias = NDArray[np.float32]
    """(d,) float32, L2-normalised where it is an embedding."""


class Decision(StrEnum):
    """What a verdict says."""

    MATCH = "match"
    MISMATCH = "mismatch"
    SPOOF = "spoof"
    NO_EVIDENCE = "no_evidence"


class LivenessDecision(StrEnum):
    """What passive liveness says of one frame or of a burst."""

    LIVE = "live"
    SPOOF = "spoof"
    UNDECIDED = "undecided"


class Reason(StrEnum):
    """The closed list of reasons, for refusals, for `no_evidence` and as flags on a match."""

    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    FACE_TOO_SMALL = "face_too_small"
    FACE_CUT_OFF = "face_cut_off"
    BLURRED = "blurred"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    UNEVEN_LIGHT = "uneven_light"
    TURNED_AWAY = "turned_away"
    EYES_HIDDEN = "eyes_hidden"
    OCCLUDED = "occluded"
    TOO_FEW_FRAMES = "too_few_frames"
    DUPLICATE_FRAME = "duplicate_frame"
    NOT_THE_SAME_PERSON = "not_the_same_person"
    NOT_LIVE = "not_live"
    LIVENESS_UNDECIDED = "liveness_undecided"
    WRONG_TURN = "wrong_turn"
    """A challenge: the head turned elsewhere, or when it was not asked to."""
    TOO_SLOW = "too_slow"
    """A challenge: its time was over."""
    FACE_LOST = "face_lost"
    """A challenge: the face was out of sight, or another one took its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One decoded picture."""

    pixels: Image
    """(height, width, 3) uint8, BGR, upright."""
    digest: str
    """SHA-256 of the bytes as received, 64 hex digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One face that the detector found."""

    box: tuple[float, float, float, float]
    """x, y (top left corner), width, height, in pixels; may reach beyond the picture."""
    score: float
    """Detector confidence, 0..1."""
    landmarks: Points
    """(5, 2): right eye, left eye, nose tip, right corner of the mouth, left corner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedFace:
    """One face, warped to the template of the embedding network."""

    crop: Image
    """(side, side, 3) uint8, BGR."""
    face: Face


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Quality by the names of ISO/IEC 29794-5 (OFIQ); values are native measures, not 0..100."""

    sharpness: float
    """Variance of the second difference of the aligned grey crop, in its weaker direction (so that
    motion counts), in grey levels squared."""
    illumination_mean: float
    """Mean grey level of the aligned crop, 0..255."""
    illumination_uniformity: float
    """Overlap of the grey histograms of the two halves of the face, 0..1."""
    head_pose_yaw_deg: float
    """Positive: the person turns to their own left."""
    head_pose_pitch_deg: float
    """Positive: the person looks up."""
    head_pose_roll_deg: float
    """Positive: the head tilts to the person's own left shoulder."""
    inter_eye_distance_px: float
    """Distance of the two eye landmarks in the picture."""
    unified_quality_score: float
    """0..1, the smallest of the values above mapped to their limits."""

    def by_ofiq_name(self) -> dict[str, float]:
        """Give the values under their standard names, rounded for people."""
        return {
            "Sharpness": round(self.sharpness, 1),
            "IlluminationMean": round(self.illumination_mean, 1),
            "IlluminationUniformity": round(self.illumination_uniformity, 3),
            "HeadPoseYaw": round(self.head_pose_yaw_deg, 1),
            "HeadPosePitch": round(self.head_pose_pitch_deg, 1),
            "HeadPoseRoll": round(self.head_pose_roll_deg, 1),
            "InterEyeDistance": round(self.inter_eye_distance_px, 1),
            "UnifiedQualityScore": round(self.unified_quality_score, 3),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadPose:
    """Where a head is turned; signs as in `Quality`. Take differences: see `pipeline.pose`."""

    yaw_deg: float
    pitch_deg: float
    roll_deg: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one frame says about one face: the input of a decision."""

    digest: str
    """SHA-256 of the frame's bytes."""
    faces: tuple[Face, ...]
    """Every face found, the chosen one first; empty where there is none."""
    quality: Quality | None = None
    """Of the chosen face; None without a face or where the stage was not asked for."""
    reasons: tuple[Reason, ...] = ()
    """Why this frame cannot serve as evidence of identity; empty where it can."""
    embedding: Vector | None = None
    """(d,) float32, L2-normalised; None where the stage was skipped."""
    liveness_score: float | None = None
    """Fused probability of *live*, 0..1; None where the stage was skipped."""

    @property
    def usable(self) -> bool:
        """Whether it can speak for or against an identity."""
        return not self.reasons and self.embedding is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class LivenessResult:
    """Passive liveness over one or more frames."""

    score: float | None
    """0..1, the higher the more alive; None where there was nothing to judge."""
    threshold: float
    decision: LivenessDecision


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer to the question whether this is the registered person, alive."""

    decision: Decision
    reasons: tuple[Reason, ...]
    similarity: float | None
    """Median cosine similarity over the usable frames, -1..1; None without evidence."""
    threshold: float
    fmr_at_threshold: float
    """False match rate that the threshold profile claims at `threshold`."""
    liveness: LivenessResult
    quality: Quality | None
    """Of the best usable frame; of the best frame with a face where none is usable."""
    face: Face | None
    """Of that frame."""
    frames_judged: int
    """How many frames served as evidence."""
    frame_digests: tuple[str, ...]
    """SHA-256 of every frame given, in order."""
    models: Mapping[str, str]
    """Role -> ``id@sha256`` of the model that spoke."""
    profile_version: str
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    """Stage -> milliseconds of this request's batch."""


# --- Streams: the contract between the verifier and the tracker ---------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PresencePolicy:
    """How a stream is sampled; the tracker fills it from the programme policy."""

    sample_period_ms: int = 5_000
    """Wished time between two frames of the client; jittered by the client."""
    identity_share: float = 1 / 6
    """Probability that a presence sample also becomes an identity sample."""
    window_ms: int = 25_000
    """A check is judged on frames at most this old."""
    check_frames: int = 5
    """A check is judged on at most so many frames, the best by quality."""
    gap_ms: int = 12_000
    """Without a frame for longer than this, the next frame begins anew with an identity sample."""
    pictures: bool = False
    """Whether the events of failed checks carry a small picture, as evidence for a reviewer."""
    passive_vote: bool = True
    """Whether passive liveness speaks in verdicts; not for somebody whom it errs on, and whom
    staff have confirmed."""
    away_yaw_deg: int = 0
    """Yaw from the stream's own baseline beyond which a sample says *away*; 0: poses are not
    measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpec:
    """What the tracker asks for when it opens a stream."""

    session_id: str
    subject: str
    """The reference to which the template is bound."""
    template: bytes
    """The opaque blob of ``POST /v1/templates``."""
    policy: PresencePolicy = field(default_factory=PresencePolicy)
    fingerprints: bytes = b""
    """Fingerprints of the learner's earlier frames, one after the other, as events gave them: a
    recording that is played again is known by them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IceServer:
    """A STUN or TURN server for WebRTC (the RTCIceServer of browsers)."""

    urls: tuple[str, ...]
    """``stun:``, ``turn:`` or ``turns:`` addresses."""
    username: str | None = None
    credential: str | None = None
    """Goes to learners' devices: best one that is over soon."""

    def as_json(self) -> dict[str, object]:
        """Give the dictionary that ``new RTCPeerConnection`` takes."""
        body: dict[str, object] = {"urls": list(self.urls)}
        if self.username is not None:
            body |= {"username": self.username, "credential": self.credential}
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamGrant:
    """What the tracker hands on to the learning client; paths lie at the verifier's address."""

    stream_id: str
    client_token: str
    expires_utc_ms: int
    frames_path: str
    """Where the client posts frames."""
    socket_path: str
    """Where the client opens a WebSocket."""
    offer_path: str
    """Where the client posts a WebRTC offer."""
    sample_period_ms: int
    ice_servers: tuple[IceServer, ...] = ()


class EventKind(StrEnum):
    """What a stream reports."""

    PRESENCE = "presence"
    """A sample: how many faces, which track. No identity."""
    IDENTITY = "identity"
    """An identity sample: a presence sample with a verdict over this one frame."""
    CHECK = "check"
    """A check: a verdict over up to five frames."""
    CHALLENGE = "challenge"
    """An active challenge, answered or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEvent:
    """One fact about a stream. Ids count up from 1 without holes within a stream."""

    stream_id: str
    session_id: str
    event_id: int
    kind: EventKind
    at: Stamp
    """When the (newest judged) frame arrived at the verifier."""
    frame_seq: int
    """The client's number of that frame."""
    track: int
    """Counts up whenever the face was lost or jumped; 0 before the first face."""
    faces: int
    """Faces in that frame."""
    decision: Decision | None = None
    """None for presence."""
    reasons: tuple[Reason, ...] = ()
    since: Stamp | None = None
    """When the oldest judged frame arrived (checks)."""
    check_id: str | None = None
    similarity: float | None = None
    threshold: float | None = None
    liveness_score: float | None = None
    liveness_threshold: float | None = None
    frame_digests: tuple[str, ...] = ()
    picture_sha256: str = ""
    """Of `picture`, 64 hex digits; empty where there is none."""
    models: Mapping[str, str] = field(default_factory=dict)
    profile_version: str = ""
    turns: tuple[str, ...] = ()
    """What a challenge asked for, in its last attempt."""
    attempts: int = 0
    """How many attempts a challenge took; 0: a stranger sat there, and nothing was shown."""
    fingerprint: str = ""
    """Of the picture of a presence sample with a face, in hexadecimal: to be kept for a while, and
    handed in with the learner's next streams."""
    away: bool | None = None
    """Of a presence sample: whether the head is turned away; None where nobody asked or can say."""
    before: Stamp | None = None
    """Arrival of the oldest frame from before a challenge was shown that was judged and matched."""
    signature: str = ""
    """``key-id.base64url``: Ed25519 over everything above as canonical JSON; not for presence."""
    picture: bytes = b""
    """Small JPEG of the newest judged frame of a failed check, where the policy asks for it. Not
    signed itself, but by its digest above."""


EventSink: TypeAlias = Callable[[StreamEvent], Awaitable[None]]
"""Takes an event and returns once it is durable; raising keeps the event for a retry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """Judge the frames that are already there."""

    check_id: str
    """Chosen by the tracker; the same id gets the first answer again."""
    not_before: Stamp | None = None
    """Judge only frames from this instant on (a check called by a suspicion)."""
    awaited: bool = False
    """Whether the learner knows of it and waits: it goes before what is done in silence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeRequest:
    """Show the learner an active challenge."""

    check_id: str
    """Chosen by the tracker, single-use; the event that ends the challenge carries it."""
    turns: int = 4
    """Turns of the first attempt; every further one has one more. A guess succeeds in 4^-turns."""
    window_ms: int = 60_000
    """Time of one attempt."""
    attempts: int = 2
    not_before: Stamp | None = None
    """Whoever was seen from this instant on has to be the learner, too; None: the newest frames."""


class StreamVerifier(Protocol):
    """What the tracker needs of a verifier: called directly in one process, else over HTTP."""

    async def open_stream(self, spec: StreamSpec) -> StreamGrant:
        """Open a stream, or raise TemplateError."""
        ...

    async def check(self, stream_id: str, request: CheckRequest) -> StreamEvent:
        """Judge the current track's frames now; the event is also on the stream's list."""
        ...

    async def challenge(self, stream_id: str, request: ChallengeRequest) -> None:
        """Begin a challenge and return; one event of that kind follows on the stream's list."""
        ...

    async def resume(self, stream_id: str) -> None:
        """Make the next face an identity sample: a pause of the session is over."""
        ...

    async def close_stream(self, stream_id: str, *, taken_over: bool = False) -> None:
        """Forget the frames and revoke the client token; closing twice is fine.

        `taken_over`: another stream of the session takes its place, and whoever still sends to
        this one is told not to come back by himself.
        """
        ...

    def subscribe(self, sink: EventSink) -> None:
        """Give every event to `sink`, per stream in order, until it returns without an error."""
        ...

    def describe(self) -> Mapping[str, str]:
        """Models (``role -> id@sha256``) and ``profile`` for the ledger."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectTemplate:
    """A template and whose it is."""

    subject: str
    template: bytes
    """As `POST /v1/templates` returned it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """A subject whose template looks like the one that was asked about."""

    subject: str
    similarity: float
    """Cosine, -1..1."""
    threshold: float
    """At or above it two faces are taken for one person's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One template against many."""

    alike: tuple[Likeness, ...]
    """At or above the threshold, the most similar first."""
    compared: int
    skipped: tuple[str, ...]
    """Subjects whose template cannot be compared: made by another model, or unreadable."""


class TemplateComparer(Protocol):
    """Compares templates with each other: called directly in one process, else over HTTP."""

    async def compare_templates(
        self, probe: SubjectTemplate, others: Sequence[SubjectTemplate]
    ) -> Comparison:
        """Name who of `others` looks like `probe`, or raise TemplateError for the probe."""
        ...
