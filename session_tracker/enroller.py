"""What the tracker asks of a verifier when a learner enrols a face: a picture in, a blob out.

The tracker hands bytes through and knows no pixels. `benren.enrolling` does it in one process or
over HTTP; the twin for tests is in `session_tracker.testing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceTaken:
    """The verifier's answer to a picture that shall be enrolled."""

    template: bytes | None
    """Opaque, encrypted, bound to the learner; None where the picture will not do."""
    advice: tuple[str, ...]
    """What to do better, the most helpful first; empty where it will do."""


class Enroller(Protocol):
    """Looks at pictures for enrolment. Raises ImageError for what is no picture."""

    async def look(self, image: bytes) -> str:
        """Give live advice for one picture, ``ok`` where it would do; nothing is kept."""
        ...

    async def enrol(self, learner_id: str, image: bytes, *, live: bool) -> FaceTaken:
        """Make a template; `live` asks for a living face (a photographed document has none)."""
        ...
