"""Where the pictures of a data set lie: folders, zips, lists of pairs; by convention or TOML."""

from __future__ import annotations

import fnmatch
import re
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmarks.dataset import (
    LAYOUT,
    Dataset,
    DatasetUnusable,
    PairList,
    Picture,
    Problem,
    Role,
    checked,
)
from verifier.errors import ImageTooLarge, ImageUnreadable
from verifier.pipeline.intake import DEFAULT_LIMITS

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})
FILE_NAME: Final = "dataset.toml"
MAX_TEXT_BYTES: Final = 64 * 1024 * 1024
"""Of a TOML file or a list of pairs."""

Name = Annotated[str, Field(min_length=1, max_length=200)]
Entry = tuple[str, Callable[[], bytes]]
"""Path within the source, with slashes, and how to read it."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Table):
    """One folder or zip file of pictures."""

    name: Name = ""
    """For the report; by default that of the folder or file."""
    folder: str = ""
    zip: str = ""
    """Exactly one of the two, relative to the root."""
    exclude: tuple[Name, ...] = ()
    """Shell patterns of paths within the source to leave out."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if bool(self.folder) == bool(self.zip):
            raise ValueError("give exactly one of folder and zip")
        return self

    @property
    def place(self) -> str:
        """Path relative to the root."""
        return self.folder or self.zip

    @property
    def title(self) -> str:
        """How the report calls it."""
        return self.name or PurePosixPath(self.place).stem


class IdentitySource(Source):
    """Pictures of known persons."""

    person: Literal["folder", "stem"] = "folder"
    """`folder`: the picture's folder is the person; `stem`: the file's name up to its number."""
    prefix: str = ""
    """Put before the names of persons, where those of two sources do not mean the same people."""
    live: bool = False
    """Taken live (a phone, a webcam), so that they count as bona fide presentations too."""
    genuine: bool = True
    """Whether pictures of one person are compared; `false` makes a set of impostors only."""


class PresentationSource(Source):
    """Bona fide or attack pictures; a folder within it names the person, if there is one."""

    prefix: str = ""


class AttackSource(PresentationSource):
    """Attack pictures: of one type, or with a folder for each type."""

    type: str = ""
    """Without it the first folder is the type."""


class PairSource(_Table):
    """A list of pairs in the format of LFW: `name i j` or `name i name j`, tabs or blanks."""

    file: Name
    source: Name
    """Title of the identity source whose pictures it names."""
    name: Name = "pairs"


class DatasetFile(_Table):
    """A `dataset.toml`."""

    name: Name
    identities: tuple[IdentitySource, ...] = ()
    bonafide: tuple[PresentationSource, ...] = ()
    attack: tuple[AttackSource, ...] = ()
    pairs: tuple[PairSource, ...] = ()
    exclude_sha256: tuple[Annotated[str, Field(pattern="^[0-9a-f]{64}$")], ...] = ()
    """Pictures to leave out by their content, such as those known to bear another's name."""

    @model_validator(mode="after")
    def _titles(self) -> Self:
        titles = [one.title for one in (*self.identities, *self.bonafide, *self.attack)]
        doubles = sorted({title for title in titles if titles.count(title) > 1})
        if doubles:
            raise ValueError(f"two sources are called {doubles[0]!r}: give one another name")
        for pair in self.pairs:
            if pair.source not in {one.title for one in self.identities}:
                raise ValueError(f"pairs name the source {pair.source!r}, which is not there")
        return self


def load_dataset(path: Path, *, root: Path | None = None) -> Dataset:
    """Read a data set: a folder, or a TOML file whose paths are relative to `root` (its folder).

    Nothing is decoded yet; what no picture can be is left out and listed in `problems`. Raises
    DatasetUnusable.
    """
    if path.is_dir():
        file = path / FILE_NAME
        if file.is_file():
            return _assembled(_parsed(file), root or path)
        return _assembled(_by_convention(path), path)
    if not path.is_file():
        raise DatasetUnusable(f"There is no data set at {path}.", remedy=LAYOUT)
    if path.suffix != ".toml":
        raise DatasetUnusable(
            f"{path} is neither a folder nor a TOML file that names sources.", remedy=LAYOUT
        )
    return _assembled(_parsed(path), root or path.parent)


def _parsed(path: Path) -> DatasetFile:
    try:
        return DatasetFile.model_validate(tomllib.loads(_text(path)))
    except tomllib.TOMLDecodeError as error:
        raise DatasetUnusable(
            f"{path} is not TOML: {error}.", remedy="Correct the file."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DatasetUnusable(
            f"{path} is wrong at {where}: {first['msg']}.", remedy=LAYOUT
        ) from error


def _by_convention(root: Path) -> DatasetFile:
    """Find the folders that the convention names; an empty one is told apart from a missing one."""
    parts = {name: (root / name).is_dir() for name in ("identities", "bonafide", "attack")}
    if not any(parts.values()):
        raise DatasetUnusable(
            f"{root} holds neither identities/ nor bonafide/ and attack/, nor a {FILE_NAME}.",
            remedy=LAYOUT,
        )
    pairs = (root / "pairs.txt").is_file() and parts["identities"]
    return DatasetFile(
        name=root.resolve().name or "data set",
        identities=(IdentitySource(folder="identities"),) if parts["identities"] else (),
        bonafide=(PresentationSource(folder="bonafide"),) if parts["bonafide"] else (),
        attack=(AttackSource(folder="attack"),) if parts["attack"] else (),
        pairs=(PairSource(file="pairs.txt", source="identities"),) if pairs else (),
    )


def _assembled(file: DatasetFile, root: Path) -> Dataset:
    problems: list[Problem] = []
    pictures: list[Picture] = []
    for identity in file.identities:
        pictures += _filled(identity, _identities(identity, root, problems))
    persons = {one.subject for one in pictures}
    for bona_fide in file.bonafide:
        pictures += _filled(bona_fide, _presentations(bona_fide, root, problems, persons))
    for attack in file.attack:
        pictures += _filled(attack, _presentations(attack, root, problems, persons))
    return checked(
        Dataset(
            name=file.name,
            pictures=tuple(pictures),
            pair_lists=tuple(_pair_list(one, root) for one in file.pairs),
            problems=tuple(problems),
            excluded=frozenset(file.exclude_sha256),
        )
    )


def _filled(source: Source, found: Iterator[Picture]) -> list[Picture]:
    pictures = list(found)
    if not pictures:
        raise DatasetUnusable(
            f"{source.title} ({source.place}) holds no picture that could be used.",
            remedy=f"Pictures end in {', '.join(sorted(SUFFIXES))}. {LAYOUT}",
        )
    return pictures


def _identities(source: IdentitySource, root: Path, problems: list[Problem]) -> Iterator[Picture]:
    for name, read in _entries(source, root, problems):
        path = PurePosixPath(name)
        if source.person == "stem":
            person = re.sub(r"[\s_-]*\d*$", "", path.stem)
        else:
            person = path.parent.name
        if not person:
            why = "no person: it lies in no folder" if source.person == "folder" else "no name"
            problems.append(Problem(place=f"{source.place}/{name}", why=why))
            continue
        yield Picture(
            role=Role.IDENTITY,
            source=source.title,
            subject=source.prefix + person,
            place=f"{source.place}/{name}",
            key=str(path.with_suffix("")),
            read=read,
            live=source.live,
            genuine=source.genuine,
        )


def _presentations(
    source: PresentationSource,
    root: Path,
    problems: list[Problem],
    persons: set[str],
) -> Iterator[Picture]:
    """Read bona fide or attack pictures: the folders are the type (of attacks) and the person."""
    for name, read in _entries(source, root, problems):
        place = f"{source.place}/{name}"
        folders = list(PurePosixPath(name).parent.parts)
        is_attack = isinstance(source, AttackSource)
        kind = source.type if isinstance(source, AttackSource) else ""
        if is_attack and not kind:
            if not folders:
                problems.append(Problem(place=place, why="no attack type: it lies in no folder"))
                continue
            kind = folders.pop(0)
        person = source.prefix + folders[-1] if folders else ""
        victim = person if is_attack and person in persons else ""
        yield Picture(
            role=Role.ATTACK if is_attack else Role.BONA_FIDE,
            source=source.title,
            subject=person or f"{source.title}:{name}",
            place=place,
            key=str(PurePosixPath(name).with_suffix("")),
            read=read,
            attack_type=kind,
            victim=victim,
        )


def _entries(source: Source, root: Path, problems: list[Problem]) -> Iterator[Entry]:
    """List the pictures of a source in a fixed order; hidden files are passed over in silence."""
    path = root / source.place
    listed = _zip_entries(path) if source.zip else _folder_entries(path)
    for name, read in listed:
        pure = PurePosixPath(name)
        if any(part.startswith((".", "__MACOSX")) for part in pure.parts):
            continue
        if any(fnmatch.fnmatchcase(name, p) or pure.match(p) for p in source.exclude):
            continue
        if pure.suffix.lower() not in SUFFIXES:
            why = f"no picture: the name ends in {pure.suffix or 'nothing'}"
            problems.append(Problem(place=f"{source.place}/{name}", why=why))
            continue
        yield name, read


def _folder_entries(folder: Path) -> Sequence[Entry]:
    if not folder.is_dir():
        raise DatasetUnusable(f"There is no folder {folder}.", remedy=LAYOUT)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(path.relative_to(folder).as_posix(), _file_reader(path)) for path in files]


def _file_reader(path: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            with path.open("rb") as stream:
                data = stream.read(DEFAULT_LIMITS.max_bytes + 1)
        except OSError as error:
            raise ImageUnreadable(f"It cannot be read: {error.strerror}.") from error
        return _bounded(data, len(data))

    return read


def _zip_entries(path: Path) -> Sequence[Entry]:
    """List the files of a zip; the archive stays open as long as one of them may be read."""
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DatasetUnusable(f"{path} is no zip file that can be read: {error}.") from error
    files = sorted((one for one in archive.infolist() if not one.is_dir()), key=_zip_name)
    names = [PurePosixPath(one.filename).parts for one in files]
    # lfw90.zip holds one folder with everything in it: that folder is no person.
    common = 1 if names and min(map(len, names)) > 2 and len({n[0] for n in names}) == 1 else 0
    return [
        ("/".join(parts[common:]), _zip_reader(archive, info))
        for parts, info in zip(names, files, strict=True)
    ]


def _zip_name(info: zipfile.ZipInfo) -> str:
    return info.filename


def _zip_reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        # The size in the directory is a promise only; `read` below stops at the limit in any case.
        try:
            with archive.open(info) as stream:
                data = stream.read(DEFAULT_LIMITS.max_bytes + 1)
        except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
            raise ImageUnreadable(f"It cannot be unpacked: {error}.") from error
        return _bounded(data, info.file_size)

    return read


def _bounded(data: bytes, size: int) -> bytes:
    if len(data) > DEFAULT_LIMITS.max_bytes:
        raise ImageTooLarge(f"It has {size} bytes; {DEFAULT_LIMITS.max_bytes} are allowed.")
    return data


def _pair_list(source: PairSource, root: Path) -> PairList:
    """Read pairs; a first line of one or two numbers (folds, pairs) is passed over."""
    path = root / source.file
    lines = _text(path).splitlines()
    start = 1 if lines and all(word.isdigit() for word in lines[0].split()) else 0
    pairs = []
    for number, line in enumerate(lines[start:], start=start + 1):
        words = line.split("\t") if "\t" in line else line.split()
        if not words:
            continue
        if len(words) == 3:
            words = [words[0], words[1], words[0], words[2]]
        if len(words) != 4 or not (words[1].isdigit() and words[3].isdigit()):
            raise DatasetUnusable(
                f"{path}, line {number}: expected 'name i j' or 'name i name j', got {line!r}.",
                remedy=LAYOUT,
            )
        pairs.append((_lfw_name(words[0], words[1]), _lfw_name(words[2], words[3])))
    if not pairs:
        raise DatasetUnusable(f"{path} lists no pair.", remedy=LAYOUT)
    return PairList(name=source.name, source=source.source, pairs=tuple(pairs))


def _lfw_name(person: str, number: str) -> str:
    return f"{person}/{person}_{int(number):04}"


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise DatasetUnusable(f"{path} has more than {MAX_TEXT_BYTES} bytes.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetUnusable(f"{path} cannot be read: {error}.", remedy=LAYOUT) from error
