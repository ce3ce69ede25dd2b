"""What never comes to a comparison: failures to enrol and to acquire, FTE and FTA."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.dataset import Dataset, Picture, Problem, Role
from benchmarks.observe import UNREADABLE
from verifier.pipeline.quality import COVERS

if TYPE_CHECKING:
    from benchmarks.observe import Observation

COVER_REASONS = frozenset(reason.value for reason in COVERS)
"""They excuse a face that does not match, but a face that matches all the same is a match, so such
pictures are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A picture and what the engine makes of it."""

    picture: Picture
    seen: Observation

    @property
    def comparable(self) -> bool:
        """Whether the product could let it match: no reason against it but a cover."""
        return self.seen.embedding is not None and COVER_REASONS.issuperset(self.seen.reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """Failures of the identity pictures of one source, or of all."""

    source: str
    persons: int
    pictures: int
    unreadable: int
    fta: float
    """Failure-to-acquire rate: share of pictures that cannot be compared, unreadable ones too."""
    fte_pictures: float
    """Share of pictures that cannot become a template."""
    fte: float
    """Failure-to-enrol rate: share of persons none of whose pictures can become a template."""
    reasons: tuple[tuple[str, int], ...]
    """Why pictures cannot be compared, the most frequent first; one picture may have several."""


def cleaned(
    dataset: Dataset, pictures: Sequence[Picture], seen: Sequence[Observation]
) -> tuple[list[Item], list[Problem]]:
    """Leave out excluded pictures, copies, and pictures that bear two persons' names.

    Unreadable pictures stay: they are failures to acquire. Each picture that is left out, and each
    that is unreadable, is listed with its place.
    """
    owners: dict[tuple[str, Role], set[str]] = {}
    for picture, one in zip(pictures, seen, strict=True):
        if one.digest:
            owners.setdefault((one.digest, picture.role), set()).add(picture.subject)
    kept: list[Item] = []
    problems: list[Problem] = []
    known: set[tuple[str, str]] = set()
    for picture, one in zip(pictures, seen, strict=True):
        why = ""
        if one.digest in dataset.excluded:
            continue
        if picture.role is Role.IDENTITY and len(owners.get((one.digest, picture.role), ())) > 1:
            why = "left out: the same picture bears the names of several persons"
        elif one.digest and (one.digest, picture.role) in known:
            why = "left out: a copy of an earlier picture"
        if why:
            problems.append(Problem(place=picture.place, why=why))
            continue
        known.add((one.digest, picture.role))
        if one.reasons == (UNREADABLE,):
            problems.append(Problem(place=picture.place, why=f"unreadable: {one.why}"))
        kept.append(Item(picture=picture, seen=one))
    return kept, problems


def acquisition(items: Sequence[Item]) -> list[Acquisition]:
    """Count the failures of each source of identities, and of all of them together first."""
    identities = [item for item in items if item.picture.role is Role.IDENTITY]
    sources = list(dict.fromkeys(item.picture.source for item in identities))
    every = [_row("all", identities)] if len(sources) > 1 else []
    return every + [
        _row(source, [item for item in identities if item.picture.source == source])
        for source in sources
    ]


def _row(source: str, items: Sequence[Item]) -> Acquisition:
    enrolled = {item.picture.subject for item in items if _can_enrol(item)}
    persons = {item.picture.subject for item in items}
    failed = [item for item in items if not item.comparable]
    reasons = Counter(
        reason for item in failed for reason in item.seen.reasons if reason not in COVER_REASONS
    )
    pictures = len(items)
    return Acquisition(
        source=source,
        persons=len(persons),
        pictures=pictures,
        unreadable=sum(item.seen.reasons == (UNREADABLE,) for item in items),
        fta=len(failed) / pictures if pictures else 0.0,
        fte_pictures=sum(not _can_enrol(item) for item in items) / pictures if pictures else 0.0,
        fte=(len(persons) - len(enrolled)) / len(persons) if persons else 0.0,
        reasons=tuple(reasons.most_common()),
    )


def _can_enrol(item: Item) -> bool:
    return item.seen.reasons != (UNREADABLE,) and not item.seen.enrolment_reasons
