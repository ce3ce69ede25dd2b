"""The catalogue: which media a programme offers, and what that forbids."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from session_tracker.catalogue import Catalogue, load_catalogue, parse_course
from session_tracker.policy import shipped_policies
from verifier.errors import BadRequest, ConfigurationError

MEDIUM = """
[[media]]
id = "a"
title_zh = "甲"
title_en = "A"
src = "https://media.example/a.mp4"
duration_ms = 60_000
"""
COURSE = f'programme = "p"\nversion = "1"\n{MEDIUM}'


def test_the_catalogues_that_come_along_are_sound() -> None:
    """Each belongs to a policy of its name."""
    folder = resources.files("session_tracker") / "courses"
    for file in folder.iterdir():
        course = parse_course(file.read_text(encoding="utf-8"), source=file.name)
        assert f"{course.programme}.toml" == file.name
        assert course.programme in shipped_policies()


def test_only_media_of_the_catalogue_are_played() -> None:
    """A programme with a catalogue takes its media, up to their end; others are free."""
    catalogue = Catalogue([parse_course(COURSE, source="test")])
    catalogue.require("p", ["a"])
    catalogue.require("another", ["anything"])
    with pytest.raises(BadRequest, match="'b'"):
        catalogue.require("p", ["a", "b"])
    catalogue.require_within("p", "a", 61_000)
    catalogue.require_within("another", "a", 10**9)
    with pytest.raises(BadRequest, match="60000"):
        catalogue.require_within("p", "a", 62_001)
    assert catalogue.origins() == ("https://media.example",)


def test_a_stand_in_restricts_the_page_only() -> None:
    """Until the operator names lessons, other clients play what they have."""
    course = parse_course(COURSE.replace('"1"\n', '"1"\nstand_in = true\n', 1), source="test")
    catalogue = Catalogue([course])
    catalogue.require("p", ["b"])
    with pytest.raises(BadRequest):
        catalogue.require("p", ["b"], offered=True)


def test_an_operators_catalogue_takes_the_place_of_ours(tmp_path: Path) -> None:
    """A file for a programme replaces the one that comes along."""
    file = tmp_path / "mine.toml"
    file.write_text(COURSE.replace('"p"', '"foshan-2021"'), encoding="utf-8")
    assert load_catalogue([], programmes=["foshan-2021"]).media("foshan-2021")[0].id != "a"
    mine = load_catalogue([file], programmes=["foshan-2021", "unknown"])
    assert [medium.id for medium in mine.media("foshan-2021")] == ["a"]
    assert mine.media("unknown") == ()
    with pytest.raises(ConfigurationError, match="two catalogues"):
        load_catalogue([file, file], programmes=[])


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (("https://media.example/a.mp4", "http://media.example/a.mp4"), "src"),
        (("https://media.example/a.mp4", "//media.example/a.mp4"), "src"),
        (("https://media.example/a.mp4", "javascript:alert(1)"), "src"),
        (("https://media.example/a.mp4", "https://a.example; script-src/x"), "src"),
        (("60_000", "0"), "duration_ms"),
        (('title_zh = "甲"', ""), "title_zh"),
        (("[[media]]", "more = 1\n[[media]]"), "more"),
        (('version = "1"', ""), "version"),
        (("[[media]]", "[[media"), "catalogue test"),
        ((MEDIUM, MEDIUM + MEDIUM), "same id"),
    ],
)
def test_a_wrong_catalogue_is_refused_by_name(change: tuple[str, str], names: str) -> None:
    """The error names the field and the file."""
    with pytest.raises(ConfigurationError, match=names):
        parse_course(COURSE.replace(*change), source="test")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A path that leads nowhere stops the start."""
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml"):
        load_catalogue([tmp_path / "nowhere.toml"], programmes=[])


def test_the_sample_lesson_is_as_long_as_the_catalogue_says() -> None:
    """Both containers play, last as long, and are small enough for a telephone."""
    import av

    catalogue = load_catalogue([], programmes=["sample"])
    (medium,) = catalogue.media("sample")
    for source in (medium.src, *medium.also):
        file = resources.files("session_tracker") / source.removeprefix("/")
        with resources.as_file(file) as path, av.open(str(path)) as container:
            assert container.duration is not None
            assert abs(container.duration / 1_000 - medium.duration_ms) < 100
            assert container.streams.video[0].codec_context.name in ("vp8", "h264")
            assert path.stat().st_size < 1_500_000
