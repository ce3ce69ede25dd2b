"""How much one stream, and all streams together, may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """Bounds of the hub; the worst case of memory is `max_streams` x `ring_bytes`."""

    max_streams: int = 1_000
    """Open streams; one more is refused as Overloaded."""
    idle_ms: int = 120_000
    """A stream without a frame for so long is closed: the programme's longest network gap."""
    token_life_ms: int = 600_000
    """Validity of a client token; the tracker may ask for another before it ends."""
    frame_bytes: int = 2 * 1024 * 1024
    """Longest picture: a 720p PNG fits, a VGA JPEG takes a twentieth of it."""
    frames_per_s: int = 5
    """Rate cap of one stream; as many may come at once (the burst after a doubtful check)."""
    ring_frames: int = 32
    """Frames that a stream keeps for its checks."""
    ring_bytes: int = 4 * 1024 * 1024
    """Bytes of those frames; the newest one always stays."""
    remembered_frames: int = 64
    """Digests and sequence numbers that a stream remembers, to know repeats: five minutes. What
    repeats later is known by its fingerprint."""
    remembered_checks: int = 8
    """Answers to checks that a stream remembers: who asks again does so within a minute."""
    events_waiting: int = 1_024
    """Events not yet taken by the tracker: 85 minutes of samples at one per 5 s."""
    closed_retention_ms: int = 600_000
    """How long the untaken events of a closed stream are kept."""
    retry_ms: int = 1_000
    """First pause before an event is offered again to a sink that raised; doubles up to..."""
    retry_longest_ms: int = 30_000
    """...this."""
    sweep_ms: int = 5_000
    """So often streams without frames are closed and pictures that are too old are dropped."""
    last_offer_ms: int = 5_000
    """When the process ends, a sink has so long to take what waits."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
