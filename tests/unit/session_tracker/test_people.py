"""Names and identity numbers: encrypted, found, masked, and nowhere in clear."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from session_tracker.identity_number import IdentityNumberInvalid
from session_tracker.people import masked
from session_tracker.policy import load_policy
from session_tracker.testing import Studio
from verifier.errors import BadRequest, ConfigurationError, Conflict, NotFound

NUMBER = "11010519491231002X"


def contents(folder: Path) -> dict[str, bytes]:
    """Read every file of a folder."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
async def studio(database_url: str) -> AsyncIterator[Studio]:
    """A tracker with one learner."""
    made = Studio(database_url, policy=load_policy("foshan-2021"))
    await made.start()
    yield made
    await made.stop()


async def test_a_person_is_read_found_and_masked(studio: Studio) -> None:
    """What was recorded comes back; strangers see the first letter."""
    people, learner = studio.service.registry.people, studio.learner_id
    assert await people.read(learner) is None
    assert await people.masked_name(learner) is None
    made = await people.record(learner, name="  张  三丰 ", identity_number=NUMBER.lower())
    assert await people.read(learner) == made
    assert made.name == "张 三丰"
    assert await people.masked_name(learner) == "张 三*"
    assert made.masked_number == "110105***********X"
    assert await people.find(NUMBER) == learner
    corrected = await people.record(learner, name="张三丰", identity_number=None)
    assert await people.read(learner) == corrected
    assert corrected.masked_number is None


async def test_nothing_of_a_person_lies_in_clear(studio: Studio, tmp_path: Path) -> None:
    """Neither database, log of writes nor store of keys holds name or number."""
    people = studio.service.registry.people
    await people.record(studio.learner_id, name="Ouyang Feng", identity_number=NUMBER)
    stored = contents(tmp_path)
    assert {"tracker.sqlite3", "tracker.sqlite3.keys"} <= stored.keys()
    for content in stored.values():
        assert b"Ouyang" not in content
        assert NUMBER.encode() not in content


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\x00b"])
async def test_names_that_are_none_are_refused(studio: Studio, name: str) -> None:
    """Empty, endless and unprintable names."""
    with pytest.raises(BadRequest):
        await studio.service.registry.people.record(
            studio.learner_id, name=name, identity_number=None
        )


async def test_numbers_are_checked_and_belong_to_one(studio: Studio) -> None:
    """A wrong check digit, somebody else's number and an unknown learner are refused."""
    people = studio.service.registry.people
    with pytest.raises(IdentityNumberInvalid, match="check digit"):
        await people.record(studio.learner_id, name="A", identity_number=NUMBER[:-1] + "1")
    await people.record(studio.learner_id, name="A", identity_number=NUMBER)
    other, _ = await studio.enrol()
    with pytest.raises(Conflict, match="already"):
        await people.record(other, name="B", identity_number=NUMBER)
    assert await people.read(other) is None
    with pytest.raises(NotFound):
        await people.record("lrn_nobody", name="C", identity_number=None)


async def test_a_database_without_its_keys_is_not_started(studio: Studio, tmp_path: Path) -> None:
    """Where the keys' store is lost, nothing is overwritten by new keys."""
    await studio.service.stop()
    store = tmp_path / "tracker.sqlite3.keys"
    kept = store.read_bytes()
    store.unlink()
    with pytest.raises(ConfigurationError, match="keys are missing"):
        await studio.restart()
    store.write_bytes(kept)
    await studio.restart()
    lesson = await studio.open()
    await lesson.close()


def test_masks() -> None:
    """The first letter of every word stays."""
    assert masked("张三") == "张*"
    assert masked("欧阳锋") == "欧**"
    assert masked("John Smith") == "J*** S****"
