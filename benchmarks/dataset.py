"""A data set to tune on: whose picture each file is, or what kind of attack; read and checked.

Either folders by convention (`identities/<person>/`, `bonafide/`, `attack/<type>/`) or a
`dataset.toml` that names sources (`benchmarks/sources.py`); `docs/tuning.md` documents both.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from verifier.errors import ConfigurationError

MAX_PICTURES: Final = 500_000
"""Of one data set; their vectors are held in memory (1 GB at 512 numbers)."""
LAYOUT: Final = "docs/tuning.md says how a data set is laid out."


class DatasetUnusable(ConfigurationError):
    """The data set cannot be used."""

    status = 422


class Role(StrEnum):
    """What a picture is for."""

    IDENTITY = "identity"
    """Compared with others."""
    BONA_FIDE = "bonafide"
    """A live person before a camera: must be found alive."""
    ATTACK = "attack"
    """A presentation attack: must not."""


class Partition(StrEnum):
    """On whom is recommended, and on whom reported: no person is in both."""

    TUNING = "tuning"
    REPORT = "report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One file of a data set, not yet read."""

    role: Role
    source: str
    """Name of the set it comes from."""
    subject: str
    """The person; for a presentation whose person is not known, the file itself."""
    place: str
    """Where it lies, for messages to the operator; never written into evidence."""
    key: str
    """Path within its source, without the suffix: what lists of pairs name."""
    read: Callable[[], bytes] = field(repr=False, compare=False)
    """Raises ImageError where the file cannot be read or is too large."""
    attack_type: str = ""
    """Presentation attack instrument species, as the folder is called; attacks only."""
    victim: str = ""
    """The person whom an attack shows, where known and among the identities."""
    live: bool = False
    """An identity picture that was taken live, and so counts as bona fide too."""
    genuine: bool = True
    """Whether it is compared with others of its person; otherwise it is an impostor only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairList:
    """A published list of comparisons within one source."""

    name: str
    source: str
    pairs: tuple[tuple[str, str], ...]
    """Keys of pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something of the data set that was left out, and why."""

    place: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Pictures in a fixed order, lists of pairs, and what was wrong with the rest."""

    name: str
    pictures: tuple[Picture, ...]
    pair_lists: tuple[PairList, ...] = ()
    problems: tuple[Problem, ...] = ()
    excluded: frozenset[str] = frozenset()
    """SHA-256 of pictures to leave out, such as those known to bear another's name."""

    def by_role(self, role: Role) -> tuple[Picture, ...]:
        """Give the pictures of one role."""
        return tuple(one for one in self.pictures if one.role is role)


def checked(dataset: Dataset) -> Dataset:
    """Refuse what nothing can be measured on. Raises DatasetUnusable with the reason.

    A person with a single picture is fine: he is an impostor to the others. A set of identities
    needs two persons and one genuine pair; bona fide and attack pictures need each other.
    """
    count = len(dataset.pictures)
    if not count:
        raise DatasetUnusable(f"{dataset.name} holds no picture.", remedy=LAYOUT)
    if count > MAX_PICTURES:
        raise DatasetUnusable(
            f"{dataset.name} holds {count} pictures; {MAX_PICTURES} can be measured at a time.",
            remedy="Take a random part of the persons.",
        )
    identities = dataset.by_role(Role.IDENTITY)
    persons = Counter(one.subject for one in identities)
    if identities and len(persons) < 2:
        raise DatasetUnusable(
            f"{dataset.name} holds pictures of one person only: nobody to be told apart from.",
            remedy="Put each person's pictures into a folder of identities/ of their own.",
        )
    within = Counter((one.subject, one.source) for one in identities if one.genuine)
    if identities and max(within.values(), default=0) < 2:
        raise DatasetUnusable(
            f"{dataset.name} holds no two pictures of one of {len(persons)} persons in one source:"
            " no genuine pair.",
            remedy="Add a second picture of some persons.",
        )
    bona_fide = any(one.role is Role.BONA_FIDE or one.live for one in dataset.pictures)
    attacks = any(one.role is Role.ATTACK for one in dataset.pictures)
    if bona_fide != attacks:
        there, missing = ("bona fide", "attack") if bona_fide else ("attack", "bona fide")
        raise DatasetUnusable(
            f"{dataset.name} holds {there} pictures but no {missing} pictures: liveness is measured"
            " on both or not at all.",
            remedy=f"Add {missing} pictures, or take the others out. {LAYOUT}",
        )
    return dataset


def partition_of(subject: str, seed: int, report_share: float = 0.5) -> Partition:
    """Put a person on one side for good: by a hash of name and seed, never by who else is there."""
    digest = hashlib.sha256(f"{seed}:{subject}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return Partition.REPORT if share < report_share else Partition.TUNING


def side_of(picture: Picture) -> str:
    """Name whose side a picture is on: an attack goes with its victim, if that is known."""
    return picture.victim or picture.subject


def dataset_digest(pictures: Iterable[tuple[Picture, str]], lists: Sequence[PairList] = ()) -> str:
    """Give one SHA-256 over all pictures (with their digests) and whose they are, in any order."""
    lines = sorted(
        f"{one.role}\t{one.source}\t{one.subject}\t{one.attack_type}\t{one.victim}\t{digest}"
        for one, digest in pictures
    )
    lines += [f"pairs\t{one.name}\t{a}\t{b}" for one in lists for a, b in one.pairs]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
