"""Folders, zips, TOML and lists of pairs: read as documented, refused with the reason."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from benchmarks.dataset import DatasetUnusable, Role
from benchmarks.sources import load_dataset
from benchmarks.testing import paint, save, save_identities
from verifier.errors import ImageTooLarge, ImageUnreadable
from verifier.pipeline.intake import DEFAULT_LIMITS


def identities(root: Path) -> Path:
    """Write two persons with two pictures each."""
    save_identities(root, 2)
    return root


def toml(root: Path, text: str) -> Path:
    """Write a dataset.toml."""
    path = root / "dataset.toml"
    path.write_text(f'name = "ours"\n{text}', encoding="utf-8")
    return path


def test_folders_by_convention(tmp_path: Path) -> None:
    """Persons, bona fide and attack types come from the names of folders."""
    identities(tmp_path)
    for name in ("bonafide/x.png", "bonafide/person-0001/y.png", "attack/print/z.png"):
        save(paint(9), tmp_path / name)
    save(paint(1), tmp_path / "attack/screen/person-0001/w.png")
    found = load_dataset(tmp_path)
    assert [one.subject for one in found.by_role(Role.IDENTITY)] == ["person-0000"] * 2 + [
        "person-0001"
    ] * 2
    live = {one.key: one.subject for one in found.by_role(Role.BONA_FIDE)}
    assert live == {"person-0001/y": "person-0001", "x": "bonafide:x.png"}
    attacks = {one.attack_type: (one.subject, one.victim) for one in found.by_role(Role.ATTACK)}
    assert attacks == {
        "print": ("attack:print/z.png", ""),
        "screen": ("person-0001", "person-0001"),
    }
    assert found.problems == ()


def test_what_is_no_picture_is_listed_and_left_out(tmp_path: Path) -> None:
    """Texts, pictures in no folder and attacks without a type are named; hidden files are not."""
    identities(tmp_path)
    (tmp_path / "identities/LICENCE.md").write_text("words", encoding="utf-8")
    (tmp_path / "identities/.DS_Store").write_bytes(b"x")
    save(paint(1), tmp_path / "identities/stray.png")
    save(paint(1), tmp_path / "bonafide/x.png")
    save(paint(1), tmp_path / "attack/print/x.png")
    save(paint(1), tmp_path / "attack/stray.png")
    found = load_dataset(tmp_path)
    assert {one.place: one.why.partition(":")[0] for one in found.problems} == {
        "identities/LICENCE.md": "no picture",
        "identities/stray.png": "no person",
        "attack/stray.png": "no attack type",
    }
    assert len(found.pictures) == 6


def test_toml_names_sources(tmp_path: Path) -> None:
    """Stems, prefixes, patterns to leave out, liveness and impostors only, relative to a root."""
    for name in ("Ann1", "Ann2", "Bob1"):
        save(paint(1), tmp_path / f"photos/family/{name}.png")
    save(paint(1), tmp_path / "photos/family/Bob1_cut.png")
    save_identities(tmp_path / "photos", 1)
    path = toml(
        tmp_path,
        """
        [[identities]]
        folder = "family"
        person = "stem"
        prefix = "family/"
        exclude = ["*_cut.png"]
        live = true

        [[identities]]
        name = "others"
        folder = "identities"
        genuine = false

        [[attack]]
        type = "print"
        folder = "family"
        name = "pretended"
        """,
    )
    found = load_dataset(path, root=tmp_path / "photos")
    people = found.by_role(Role.IDENTITY)
    assert [one.subject for one in people[:3]] == ["family/Ann", "family/Ann", "family/Bob"]
    assert [one.live for one in people] == [True] * 3 + [False] * 2
    assert [one.genuine for one in people] == [True] * 3 + [False] * 2
    assert {one.attack_type for one in found.by_role(Role.ATTACK)} == {"print"}
    assert found.name == "ours"


def test_a_zip_and_its_list_of_pairs(tmp_path: Path) -> None:
    """One common folder of a zip is no person; pairs name pictures as LFW does."""
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for person, count in (("Ann_A", 2), ("Bob_B", 1)):
            for number in range(1, count + 1):
                save(paint(number), tmp_path / "x.png")
                name = f"all/{person}/{person}_{number:04}.png"
                archive.write(tmp_path / "x.png", name)
    (tmp_path / "pairs.txt").write_text(
        "1\t2\nAnn_A\t1\t2\n\nAnn_A\t2\tBob_B\t1\n", encoding="utf-8"
    )
    path = toml(
        tmp_path,
        '[[identities]]\nzip = "faces.zip"\n[[pairs]]\nfile = "pairs.txt"\nsource = "faces"\n',
    )
    found = load_dataset(path)
    assert [one.subject for one in found.pictures] == ["Ann_A", "Ann_A", "Bob_B"]
    with zipfile.ZipFile(tmp_path / "faces.zip") as archive:
        assert found.pictures[0].read() == archive.read("all/Ann_A/Ann_A_0001.png")
    (pairs,) = found.pair_lists
    assert pairs.pairs == (
        ("Ann_A/Ann_A_0001", "Ann_A/Ann_A_0002"),
        ("Ann_A/Ann_A_0002", "Bob_B/Bob_B_0001"),
    )
    assert {one.key for one in found.pictures} >= {key for pair in pairs.pairs for key in pair}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[identities]]\n", "exactly one of folder and zip"),
        ('[[identities]]\nfolder = "a"\nzip = "b"\n', "exactly one of folder and zip"),
        ('[[identities]]\nfolder = "nowhere"\n', "no folder"),
        ('[[identities]]\nzip = "dataset.toml"\n', "no zip file"),
        ('[[identities]]\nfolder = "empty"\n', "holds no picture"),
        ('[[identitees]]\nfolder = "a"\n', "identitees"),
        ("name = 1", "not TOML"),
        ('[[identities]]\nfolder = "a"\n[[attack]]\nfolder = "a"\n', "two sources are called"),
        ('[[pairs]]\nfile = "p"\nsource = "a"\n', "not there"),
        ('exclude_sha256 = ["abc"]\n', "exclude_sha256"),
    ],
)
def test_a_wrong_toml_is_refused_with_the_place(tmp_path: Path, text: str, why: str) -> None:
    """Every mistake in the file is told apart."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetUnusable, match=why):
        load_dataset(toml(tmp_path, text))


@pytest.mark.parametrize("line", ["Ann 1", "Ann x 2", "Ann 1 Bob", "Ann 1 Bob 2 3"])
def test_a_wrong_line_of_pairs_is_named(tmp_path: Path, line: str) -> None:
    """The message gives the line's number and what was expected."""
    identities(tmp_path)
    (tmp_path / "pairs.txt").write_text(f"Ann 1 2\n{line}\n", encoding="utf-8")
    with pytest.raises(DatasetUnusable, match=r"line 2: expected 'name i j'"):
        load_dataset(tmp_path)


def test_an_empty_list_of_pairs_is_refused(tmp_path: Path) -> None:
    """A file that lists nothing is a mistake, not a wish for nothing."""
    identities(tmp_path)
    (tmp_path / "pairs.txt").write_text("5\t300\n", encoding="utf-8")
    with pytest.raises(DatasetUnusable, match="lists no pair"):
        load_dataset(tmp_path)


def test_where_there_is_no_data_set(tmp_path: Path) -> None:
    """A missing path, a foreign folder and a foreign file are told apart."""
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    for path, why in (
        (tmp_path / "nowhere", "There is no data set"),
        (tmp_path, "neither identities/"),
        (tmp_path / "notes.txt", "neither a folder nor a TOML"),
    ):
        with pytest.raises(DatasetUnusable, match=why):
            load_dataset(path)


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    """A gigabyte that calls itself a picture is refused after the limit, as on the network."""
    identities(tmp_path)
    path = tmp_path / "identities/person-0000/huge.jpg"
    with path.open("wb") as stream:
        stream.truncate(DEFAULT_LIMITS.max_bytes + 1_000_000)
    huge = next(one for one in load_dataset(tmp_path).pictures if one.key.endswith("huge"))
    with pytest.raises(ImageTooLarge):
        huge.read()


def test_a_file_that_went_away_is_unreadable(tmp_path: Path) -> None:
    """What vanishes between listing and reading is an error of that picture alone."""
    identities(tmp_path)
    first = load_dataset(tmp_path).pictures[0]
    os.unlink(tmp_path / first.place)  # noqa: PTH108 - the path is made of the place
    with pytest.raises(ImageUnreadable):
        first.read()


def test_a_damaged_entry_of_a_zip_is_unreadable(tmp_path: Path) -> None:
    """A flipped byte in one entry costs that picture and no other."""
    with zipfile.ZipFile(tmp_path / "f.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a/0.png", "a/1.png", "b/0.png"):
            archive.writestr(name, b"picture" * 100 + name.encode())
    data = bytearray((tmp_path / "f.zip").read_bytes())
    data[50] ^= 0xFF
    (tmp_path / "f.zip").write_bytes(data)
    found = load_dataset(toml(tmp_path, '[[identities]]\nzip = "f.zip"\n'))
    with pytest.raises(ImageUnreadable):
        found.pictures[0].read()
    assert found.pictures[1].read().endswith(b"a/1.png")
