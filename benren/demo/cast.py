"""The script of the demo: who is enrolled, who sits there when, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from benren.demo.album import Album, Person
from benren.demo.answering import Interviewed, Obedient
from benren.demo.attacks import Beside, Covered, Room, left_size, on_screen, printed, right_size
from benren.demo.cameras import (
    AS_RECORDED,
    PHONE,
    VGA,
    Camera,
    Cuts,
    Handheld,
    Scene,
    Size,
    as_picture,
)
from benren.demo.poses import PoseStudio
from verifier.errors import ConfigurationError

LESSON_S = 570
"""Length of every lesson. The recording has 122 frames; one is sent about every 5 s."""


class Sitter(StrEnum):
    """What is in front of the camera."""

    LEARNER = "learner"
    OTHER = "other"
    """Somebody else, alone."""
    BOTH = "both"
    """The learner, and somebody else beside."""
    PRINT = "print"
    """A printed photograph of the learner."""
    SCREEN = "screen"
    """A photograph of the learner on a screen."""
    NOBODY = "nobody"
    COVERED = "covered"
    """A hand on the lens; who sits behind it does not matter."""


HIMSELF = frozenset({Sitter.LEARNER, Sitter.BOTH})
"""The learner himself is there, alive."""


class Expectation(StrEnum):
    """What the script demands of the credit."""

    FULL = "full"
    """At least 95 % of the seconds outside the first and the last bracket."""
    NOTHING = "nothing"
    """Not a single second."""
    OWN_ONLY = "own_only"
    """Of the seconds in which the learner is away, none beyond one bracket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """From when to when somebody or something is there, in seconds of the lesson."""

    start_s: int
    end_s: int
    sitter: Sitter


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One learner's lesson."""

    key: str
    title: str
    story: str
    """What happens, in plain words."""
    learner: str
    """Who is enrolled: a name of the album."""
    other: str
    """Who else may sit there: a name of the album."""
    stays: tuple[Stay, ...]
    expectation: Expectation
    from_recording: bool = False
    """Whether the camera shows real moving pictures."""
    cheats: bool = False
    """Whether the player is a manipulated one that runs on whatever it is told."""
    seed: int = 0

    def present(self) -> tuple[tuple[float, float], ...]:
        """When the learner himself is before the camera, as (start, end) in seconds."""
        return tuple((s.start_s, s.end_s) for s in self.stays if s.sitter in HIMSELF)

    def away(self) -> tuple[tuple[float, float], ...]:
        """When he is not, as (start, end) in seconds."""
        return tuple((s.start_s, s.end_s) for s in self.stays if s.sitter not in HIMSELF)


def _stays(*parts: tuple[int, Sitter]) -> tuple[Stay, ...]:
    """From (start, sitter) pairs; the last one stays until the lesson ends."""
    ends = [start for start, _ in parts[1:]] + [LESSON_S]
    return tuple(
        Stay(start_s=start, end_s=end, sitter=sitter)
        for (start, sitter), end in zip(parts, ends, strict=True)
    )


CAST: tuple[Role, ...] = (
    Role(
        key="genuine_recording",
        title="The learner himself, real recording",
        story="Enrolled from a still picture; the camera shows every frame of a real recording "
        "once: he moves, sings, and holds hands and a microphone before his face.",
        learner="leo",
        other="wei",
        stays=_stays((0, Sitter.LEARNER)),
        expectation=Expectation.FULL,
        from_recording=True,
        seed=100,
    ),
    Role(
        key="genuine",
        title="The learner himself",
        story="Enrolled from one photograph; a hand-held camera simulated from two others.",
        learner="tom",
        other="wei",
        stays=_stays((0, Sitter.LEARNER)),
        expectation=Expectation.FULL,
        seed=200,
    ),
    Role(
        key="other_person",
        title="Another person",
        story="Somebody else sits there from the first to the last minute.",
        learner="tom",
        other="wei",
        stays=_stays((0, Sitter.OTHER)),
        expectation=Expectation.NOTHING,
        cheats=True,
        seed=300,
    ),
    Role(
        key="swap",
        title="A swap in mid-lesson",
        story="The learner starts the lesson; after four minutes somebody else takes the seat.",
        learner="ana",
        other="mei",
        stays=_stays((0, Sitter.LEARNER), (240, Sitter.OTHER)),
        expectation=Expectation.OWN_ONLY,
        cheats=True,
        seed=400,
    ),
    Role(
        key="swap_back",
        title="A swap out and back",
        story="The learner leaves the seat to somebody else for two and a half minutes, "
        "then comes back.",
        learner="tom",
        other="wei",
        stays=_stays((0, Sitter.LEARNER), (200, Sitter.OTHER), (350, Sitter.LEARNER)),
        expectation=Expectation.OWN_ONLY,
        cheats=True,
        seed=500,
    ),
    Role(
        key="fetches_learner",
        title="An impostor who covers the lens and fetches the learner",
        story="After two minutes somebody else watches. Again and again a hand covers the lens, "
        "the learner shows his face for half a minute, the lens is covered, the other goes on.",
        learner="ana",
        other="mei",
        stays=_stays(
            (0, Sitter.LEARNER),
            (130, Sitter.COVERED),
            (145, Sitter.OTHER),
            (230, Sitter.COVERED),
            (265, Sitter.LEARNER),
            (300, Sitter.COVERED),
            (315, Sitter.OTHER),
            (400, Sitter.COVERED),
            (435, Sitter.LEARNER),
            (470, Sitter.COVERED),
            (485, Sitter.OTHER),
        ),
        expectation=Expectation.OWN_ONLY,
        cheats=True,
        seed=600,
    ),
    Role(
        key="printed_photo",
        title="A printed photograph",
        story="A paper print of the learner is held before the camera.",
        learner="tom",
        other="wei",
        stays=_stays((0, Sitter.PRINT)),
        expectation=Expectation.NOTHING,
        cheats=True,
        seed=700,
    ),
    Role(
        key="photo_on_screen",
        title="A photograph on a screen",
        story="A tablet that shows the learner is held before the camera.",
        learner="ana",
        other="mei",
        stays=_stays((0, Sitter.SCREEN)),
        expectation=Expectation.NOTHING,
        cheats=True,
        seed=800,
    ),
    Role(
        key="nobody",
        title="Nobody there",
        story="The lesson runs before an empty chair.",
        learner="mei",
        other="wei",
        stays=_stays((0, Sitter.NOBODY)),
        expectation=Expectation.NOTHING,
        cheats=True,
        seed=900,
    ),
    Role(
        key="second_face",
        title="A second face joins",
        story="Somebody sits down beside the learner for three minutes and watches along.",
        learner="ana",
        other="wei",
        stays=_stays((0, Sitter.LEARNER), (200, Sitter.BOTH), (380, Sitter.LEARNER)),
        expectation=Expectation.FULL,
        seed=1000,
    ),
    Role(
        key="lens_covered",
        title="A lens covered for a while",
        story="The learner is there all the time, but something lies on the lens for a minute "
        "and a half.",
        learner="tom",
        other="wei",
        stays=_stays((0, Sitter.LEARNER), (220, Sitter.COVERED), (310, Sitter.LEARNER)),
        expectation=Expectation.OWN_ONLY,
        seed=1100,
    ),
)

_SEAM = 0.56
"""Where the second person begins, as a share of the frame's width."""


def camera_of(role: Role, album: Album, studio: PoseStudio) -> Camera:
    """Set up the camera that plays the script; raises ConfigurationError for an unknown name."""
    learner, other = _person(album, role.learner), _person(album, role.other)
    if role.from_recording and (recording := album.scene_of_recording()) is not None:
        answering = Interviewed(recording, studio, role.seed)
        return Camera(answering, seed=role.seed, lens=AS_RECORDED)
    wide = any(stay.sitter is Sitter.BOTH for stay in role.stays)
    scenes: dict[Sitter, Scene] = {
        stay.sitter: _scene(stay.sitter, learner, other, role.seed, studio, wide=wide)
        for stay in role.stays
    }
    return Camera(
        Cuts([(stay.start_s, scenes[stay.sitter]) for stay in role.stays]), seed=role.seed
    )


def _person(album: Album, name: str) -> Person:
    if name not in album.people:
        raise ConfigurationError(f"Nobody in the album is called {name}.")
    return album.people[name]


def _scene(
    sitter: Sitter, learner: Person, other: Person, seed: int, studio: PoseStudio, *, wide: bool
) -> Scene:
    """One scene; in a wide frame there is room beside the learner."""

    def seated(person: Person, place: Size, seed: int) -> Scene:
        reliefs = [studio.relief(as_picture(pose.view), size=place) for pose in person.poses]
        return Obedient(reliefs, seed)

    size = VGA if wide else PHONE
    if wide and sitter in HIMSELF:
        right = right_size(size, _SEAM)
        beside: Scene = (
            Handheld(other.poses, right, seed + 40)
            if sitter is Sitter.BOTH
            else Room(right, seed + 60)
        )
        return Beside(seated(learner, left_size(size, _SEAM), seed), beside, size, seam=_SEAM)
    scenes: dict[Sitter, Callable[[], Scene]] = {
        Sitter.LEARNER: lambda: seated(learner, size, seed),
        Sitter.OTHER: lambda: seated(other, size, seed + 40),
        Sitter.PRINT: lambda: printed(learner.portrait, size, seed),
        Sitter.SCREEN: lambda: on_screen(learner.portrait, size, seed),
        Sitter.NOBODY: lambda: Room(size, seed),
        Sitter.COVERED: lambda: Covered(size, seed),
    }
    return scenes[sitter]()
