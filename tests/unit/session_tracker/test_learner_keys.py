"""Learners' keys: one each, wrapped, found again, destroyed for good."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from session_tracker.learner_keys import LearnerKey, LearnerKeys, Realm
from session_tracker.store.database import parse_url
from verifier.clock import ManualClock
from verifier.errors import ConfigurationError, Conflict, SealBroken, StorageError
from verifier.keys import KeyRing

NUMBER = "11010519491231002X"


def names(folder: Path) -> list[str]:
    """Name every file of a folder."""
    return [file.name for file in folder.iterdir()]


@pytest.fixture
def clock() -> ManualClock:
    """A clock moved by hand."""
    return ManualClock()


@pytest.fixture
def ring(clock: ManualClock) -> KeyRing:
    """A ring of its own."""
    return KeyRing.generate(clock)


@pytest.fixture
async def keys(tmp_path: Path, ring: KeyRing, clock: ManualClock) -> AsyncIterator[LearnerKeys]:
    """A store that is open."""
    made = LearnerKeys(f"sqlite:///{tmp_path}/learner-keys.sqlite3", ring, clock)
    await made.open()
    yield made
    await made.close()


async def test_what_is_sealed_opens_for_its_learner_realm_and_purpose_only(
    keys: LearnerKeys,
) -> None:
    """Neither another learner nor another realm nor another purpose opens it."""
    key = await keys.ensure("lrn_1", Realm.PERSON)
    sealed = key.seal("name", "张三".encode())
    again = await keys.get("lrn_1", Realm.PERSON)
    assert again is not None
    assert again.open("name", sealed).decode() == "张三"
    others = [
        (again, "identity-number"),
        (await keys.ensure("lrn_2", Realm.PERSON), "name"),
        (await keys.ensure("lrn_1", Realm.FACE), "name"),
    ]
    for other, purpose in others:
        with pytest.raises(SealBroken):
            other.open(purpose, sealed)
    for broken in (b"", b"BLK\x01", sealed[:-1], b"plain"):
        with pytest.raises(SealBroken):
            again.open("name", broken)


async def test_a_destroyed_key_is_in_no_byte_of_the_store(
    keys: LearnerKeys, tmp_path: Path
) -> None:
    """What was wrapped is overwritten; a key made later is another one."""
    key = await keys.ensure("lrn_1", Realm.FACE)
    sealed = key.seal("template", b"face")
    await keys.index("lrn_1", NUMBER)
    file = tmp_path / "learner-keys.sqlite3"
    before = file.read_bytes()
    wrapped = before[before.index(b"BNR\x01") :][:96]
    assert await keys.destroy("lrn_1", Realm.FACE, Realm.PERSON) == (Realm.FACE,)
    assert wrapped not in file.read_bytes()
    assert names(tmp_path) == [file.name]  # no journal, no log
    assert await keys.get("lrn_1", Realm.FACE) is None
    assert await keys.find(NUMBER) is None
    assert await keys.destroy("lrn_1", Realm.FACE) == ()
    with pytest.raises(SealBroken):
        (await keys.ensure("lrn_1", Realm.FACE)).open("template", sealed)


async def test_identity_numbers_are_found_and_unique(keys: LearnerKeys) -> None:
    """The number itself is nowhere; the second learner with it is refused; correcting is fine."""
    await keys.index("lrn_1", NUMBER)
    await keys.index("lrn_1", NUMBER)
    assert await keys.find(NUMBER) == "lrn_1"
    with pytest.raises(Conflict, match="already"):
        await keys.index("lrn_2", NUMBER)
    await keys.index("lrn_1", "another")
    assert await keys.find(NUMBER) is None
    await keys.index("lrn_2", NUMBER)
    assert await keys.find(NUMBER) == "lrn_2"


async def test_numbers_are_found_after_the_ring_was_rotated(
    tmp_path: Path, ring: KeyRing, clock: ManualClock
) -> None:
    """A hash by an older key still finds; without any of the ring's keys nothing is found."""
    url = f"sqlite:///{tmp_path}/keys"
    old, newer = {"20260101-a": b"o" * 32}, {"20270101-a": b"n" * 32}
    found = []
    for sealing in (old, {**old, **newer}, newer):
        keys = LearnerKeys(url, KeyRing(sealing=sealing), clock)
        await keys.open()
        if sealing is old:
            await keys.index("lrn_1", NUMBER)
        found.append(await keys.find(NUMBER))
        await keys.close()
    assert found == ["lrn_1", "lrn_1", None]
    assert NUMBER.encode() not in (tmp_path / "keys").read_bytes()


async def test_a_restored_backup_of_the_keys_is_erased_again(
    keys: LearnerKeys, clock: ManualClock
) -> None:
    """Keys made before their erasure go; one that was made since then stays."""
    await keys.ensure("lrn_1", Realm.FACE)
    erased = clock.stamp().utc_ms
    clock.advance(1_000)
    await keys.ensure("lrn_2", Realm.FACE)
    assert await keys.destroy_older(Realm.FACE, {"lrn_1": erased, "lrn_2": erased}) == 1
    assert await keys.get("lrn_1", Realm.FACE) is None
    assert await keys.get("lrn_2", Realm.FACE) is not None


async def test_troubles_are_told(tmp_path: Path, ring: KeyRing, clock: ManualClock) -> None:
    """A place that cannot be opened, and a store that is closed."""
    with pytest.raises(StorageError):
        await LearnerKeys(f"sqlite:///{tmp_path}/no/where", ring, clock).open()
    closed = LearnerKeys(f"sqlite:///{tmp_path}/keys", ring, clock)
    with pytest.raises(ConfigurationError, match="not open"):
        await closed.find(NUMBER)


def test_keys_lie_beside_a_file_and_passwords_are_not_told(
    ring: KeyRing, clock: ManualClock
) -> None:
    """SQLite: a file beside it; elsewhere: the same database."""
    beside = LearnerKeys.beside(parse_url("sqlite:////data/b.sqlite3"), ring, clock)
    assert beside.place.endswith("/data/b.sqlite3.keys")
    there = LearnerKeys.beside(parse_url("postgresql://me:secret@host/b"), ring, clock)
    assert "secret" not in there.place


def test_a_tag_tells_the_same_text_and_nothing_else() -> None:
    """It is another for every learner, purpose, text and key."""
    key = LearnerKey("lrn_1", Realm.PERSON, b"k" * 32)
    tags = {
        key.tag("name", b"Ouyang"),
        key.tag("name", b"Feng"),
        key.tag("identity-number", b"Ouyang"),
        LearnerKey("lrn_2", Realm.PERSON, b"k" * 32).tag("name", b"Ouyang"),
        LearnerKey("lrn_1", Realm.PERSON, b"l" * 32).tag("name", b"Ouyang"),
    }
    assert len(tags) == 5
    assert LearnerKey("lrn_1", Realm.PERSON, b"k" * 32).tag("name", b"Ouyang") in tags
