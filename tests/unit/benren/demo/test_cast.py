"""The script of the demo is complete, consistent and playable."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np
import pytest

from benren.demo.album import Album, Person, open_album
from benren.demo.cameras import Photograph, Size, as_picture
from benren.demo.cast import CAST, LESSON_S, Expectation, Role, Sitter, camera_of
from verifier.errors import ConfigurationError

if TYPE_CHECKING:
    from benren.demo.cameras import Picture
    from benren.demo.poses import PoseStudio


@pytest.fixture
def album() -> Album:
    """Five people whose pictures are plain colours."""
    people = {}
    for level, name in enumerate(("tom", "ana", "wei", "mei", "leo")):
        photograph = Photograph(pixels=np.full((120, 90, 3), 60 + 30 * level, np.uint8))
        people[name] = Person(id_photo=b"", portrait=photograph, poses=(photograph,))
    return Album(
        people=MappingProxyType(people), recording=None, source="test", mechanics_only=True
    )


@dataclasses.dataclass(frozen=True)
class Flat:
    """A photograph that looks the same from every side."""

    pixels: Picture

    def turned(self, yaw_deg: float, pitch_deg: float) -> Picture:
        """Show it."""
        return self.pixels


class PaintedStudio:
    """Makes reliefs of pictures without a face."""

    def relief(self, photograph: Picture, *, size: Size) -> Flat:
        """Bring it to the size of the frame."""
        return Flat(as_picture(cv2.resize(photograph, size)))


@pytest.mark.parametrize("role", CAST, ids=lambda role: role.key)
def test_stays_cover_the_lesson_without_holes(role: Role) -> None:
    """Somebody or something is in front of the camera at every second, once."""
    assert role.stays[0].start_s == 0
    assert role.stays[-1].end_s == LESSON_S
    for before, after in zip(role.stays, role.stays[1:], strict=False):
        assert before.end_s == after.start_s
        assert before.sitter is not after.sitter


def test_cast_is_the_one_asked_for() -> None:
    """Two genuine learners and nine others play, under different names and seeds."""
    assert len({role.key for role in CAST}) == len({role.seed for role in CAST}) == len(CAST) == 11
    sitters = {stay.sitter for role in CAST for stay in role.stays}
    assert sitters == set(Sitter)
    nothing = {role.key for role in CAST if role.expectation is Expectation.NOTHING}
    assert nothing == {"other_person", "printed_photo", "photo_on_screen", "nobody"}


@pytest.mark.parametrize("role", CAST, ids=lambda role: role.key)
def test_present_and_away_share_the_lesson(role: Role) -> None:
    """The learner is either there or not; both together are the lesson."""
    seconds = sum(end - start for start, end in (*role.present(), *role.away()))
    assert seconds == LESSON_S
    if role.expectation is Expectation.NOTHING:
        assert role.present() == ()


@pytest.mark.parametrize("role", CAST, ids=lambda role: role.key)
def test_every_role_can_be_filmed(role: Role, album: Album) -> None:
    """The camera of each role gives readable pictures of one size, at every cut."""
    camera = camera_of(role, album, cast("PoseStudio", PaintedStudio()))
    shapes = set()
    for n, stay in enumerate(role.stays):
        picture = cv2.imdecode(
            np.frombuffer(camera.frame(n, stay.start_s), np.uint8), cv2.IMREAD_COLOR
        )
        assert picture is not None
        shapes.add(picture.shape)
    assert len(shapes) == 1


def test_unknown_name_is_refused(album: Album) -> None:
    """A role whose learner is not in the album is an error that names him."""
    with pytest.raises(ConfigurationError, match="zoe"):
        camera_of(
            dataclasses.replace(CAST[0], learner="zoe"),
            album,
            cast("PoseStudio", PaintedStudio()),
        )


def test_named_folder_must_hold_photographs(tmp_path: Path) -> None:
    """A folder without the photographs is an error, never a silent fallback."""
    with pytest.raises(ConfigurationError, match="no photographs") as caught:
        open_album(tmp_path)
    assert caught.value.remedy


def test_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BENREN_FACES counts like a flag: what it names must hold the photographs."""
    monkeypatch.setenv("BENREN_FACES", str(tmp_path))
    with pytest.raises(ConfigurationError, match="no photographs"):
        open_album()


@pytest.mark.faces
def test_shared_album_enrols_from_other_pictures_than_it_shows(faces_dir: Path) -> None:
    """Except for the singer, no camera shows the photograph that was enrolled."""
    album = open_album(faces_dir)
    assert not album.mechanics_only
    assert album.recording is not None
    for name in ("tom", "ana", "wei", "mei"):
        person = album.people[name]
        for pose in person.poses:
            assert pose.pixels.tobytes() != person.portrait.pixels.tobytes()
