"""Which lessons a programme offers: a versioned TOML file of media beside the policy.

Where a programme has a catalogue, sessions are opened for its media only, and no position beyond
a medium's end is believed. A catalogue that is marked as a stand-in is offered to the learner's
page and restricts nobody else: it is there so that a new installation has something to show.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from verifier.errors import BadRequest, ConfigurationError

_SLACK_MS: Final = 2_000
"""Players report a little more than the length that a container states."""

Title = Annotated[str, Field(min_length=1, max_length=200)]
Source = Annotated[
    str, Field(pattern=r"^(/[^/\\\s][^\\\s;,]*|https://[^/\s\\;,]+/[^\\\s;,]*)$", max_length=2_048)
]
"""A path of this service, or an https address."""


class Medium(BaseModel):
    """One lesson."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")
    title_zh: Title
    title_en: Title
    src: Source
    also: tuple[Source, ...] = Field(default=(), max_length=5, strict=False)
    """The same lesson in other containers, for devices that do not play the first."""
    duration_ms: int = Field(ge=1_000, le=24 * 3_600_000)

    @property
    def origins(self) -> frozenset[str]:
        """The other hosts that it comes from."""
        elsewhere = (s for s in (self.src, *self.also) if not s.startswith("/"))
        return frozenset("/".join(source.split("/")[:3]) for source in elsewhere)


class Course(BaseModel):
    """What one programme offers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    programme: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    version: str = Field(min_length=1, max_length=64)
    stand_in: bool = False
    """Whether it only shows how a course looks, until the operator names one."""
    media: tuple[Medium, ...] = Field(min_length=1, max_length=10_000, strict=False)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        ids = [medium.id for medium in self.media]
        if len(set(ids)) != len(ids):
            raise ValueError("two media have the same id")
        return self


class Catalogue:
    """The courses that are known, by programme."""

    def __init__(self, courses: Iterable[Course] = ()) -> None:
        self._courses: dict[str, Course] = {}
        for course in courses:
            if course.programme in self._courses:
                raise ConfigurationError(
                    f"There are two catalogues of the programme {course.programme}.",
                    remedy="Put all of its media into one file.",
                )
            self._courses[course.programme] = course

    def media(self, programme: str) -> tuple[Medium, ...]:
        """Give what the learner's page offers; empty where nothing is known."""
        course = self._courses.get(programme)
        return () if course is None else course.media

    def origins(self) -> tuple[str, ...]:
        """Name the other hosts that media come from."""
        media = (medium for course in self._courses.values() for medium in course.media)
        return tuple(sorted({origin for medium in media for origin in medium.origins}))

    def require(self, programme: str, media: Sequence[str], *, offered: bool = False) -> None:
        """Raise BadRequest where one of `media` is not in the programme's catalogue.

        A stand-in counts only for what is `offered` by the page itself.
        """
        course = self._courses.get(programme)
        if course is None or (course.stand_in and not offered):
            return
        known = {medium.id for medium in course.media}
        for name in media:
            if name not in known:
                raise BadRequest(
                    f"The programme {programme} has no medium {name!r}.",
                    remedy="Name media of its catalogue.",
                )

    def require_within(self, programme: str, media_id: str, media_ms: int) -> None:
        """Raise BadRequest for a position beyond the end of a known medium."""
        for medium in self.media(programme):
            if medium.id == media_id and media_ms > medium.duration_ms + _SLACK_MS:
                raise BadRequest(
                    f"The medium {media_id} ends at {medium.duration_ms} ms.",
                    remedy="Report the position of the player in this medium.",
                )


def parse_course(text: str, *, source: str) -> Course:
    """Read one catalogue from TOML; raises ConfigurationError that names what is wrong."""
    try:
        return Course.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        problems = str(error)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in e['loc']) or 'catalogue'}: {e['msg']}"
            for e in error.errors(include_url=False)
        )
    raise ConfigurationError(
        f"The catalogue {source} cannot be used: {problems}",
        remedy="Correct the file; session_tracker/courses/sample.toml shows a complete one.",
    )


def load_catalogue(paths: Sequence[str | Path], *, programmes: Iterable[str]) -> Catalogue:
    """Load the operator's catalogues, and those that come along for the other programmes."""
    courses = [_read(Path(path)) for path in paths]
    own = {course.programme for course in courses}
    folder = resources.files("session_tracker") / "courses"
    for name in sorted(set(programmes) - own):
        file = folder / f"{name}.toml"
        if file.is_file():
            courses.append(parse_course(file.read_text(encoding="utf-8"), source=name))
    return Catalogue(courses)


def _read(path: Path) -> Course:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The catalogue {path} cannot be read: {error}.",
            remedy="Give the path of a TOML file; docs/operations.md shows one.",
        ) from error
    return parse_course(text, source=str(path))
