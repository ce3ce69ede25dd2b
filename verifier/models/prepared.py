"""Rewritten graphs kept on disk, so that they are made and proven once and not at every start.

A file per graph, named by what it was made of and by what (`Rewriting.key`): a line of JSON, then
the graph. Written under another name and renamed, so that nobody reads half of one; read only where
its digest is the one of its first line. What is damaged is made again. As an entry stands in for a
file whose digest the manifest proves, it must belong to this user or to root, and nobody else may
be able to write it. A folder that cannot be used costs time, never the start.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from verifier.errors import ConfigurationError, ModelError
from verifier.models.prepare.crops import Portrait, drawn
from verifier.models.store import cache_folder, expanded

if TYPE_CHECKING:
    from verifier.models.prepare.proof import Proof
    from verifier.models.prepare.rewriting import Rewriting
    from verifier.models.weights import Weights

FOLDER_VARIABLE: Final = "BENREN_PREPARED"
MAX_ENTRIES: Final = 64
"""Both packs on both kinds of device are some 30; the one that was longest unused goes."""
MAX_BYTES: Final = 2**30
"""Of all entries together, and so of one."""
MAX_HEADER_BYTES: Final = 4_096
LEFT_BEHIND_S: Final = 3_600.0
"""A file under another name that is older was left by a process that died."""
SUFFIX: Final = ".graph"

_REMEDY: Final = (
    "Run 'benren models prepare' as a user who may write there, or set BENREN_PREPARED to a folder"
    " that is writable for this user alone."
)
_log = logging.getLogger("benren.models")


class Header(BaseModel):
    """The first line of an entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    network: str
    """``name@sha256`` of the original."""
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the graph."""
    size: Annotated[int, Field(gt=0, le=MAX_BYTES)]
    """Of the graph, bytes."""
    deviation: Annotated[float, Field(ge=0)]
    tolerance: Annotated[float, Field(gt=0)]
    on: str
    """What it was proven on, for readers."""


class PreparedGraphs:
    """The folder of rewritten graphs; several processes may share it."""

    def __init__(
        self,
        folder: Path | None,
        *,
        portraits: Sequence[Portrait] = (),
        anew: bool = False,
    ) -> None:
        """Keep graphs in `folder`, which is made when one is written; None: keep nothing.

        They are proven on `portraits`, by default on the drawn face. With `anew` every graph is
        made and proven, whatever is there, and has to be kept.
        """
        self.folder: Final = folder
        self.portraits: Final = tuple(portraits) or (drawn(),)
        self._anew = anew
        self._proofs: list[Proof] = []

    @classmethod
    def default(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        portraits: Sequence[Portrait] = (),
        anew: bool = False,
    ) -> PreparedGraphs:
        """Use the folder of ``BENREN_PREPARED``, else ``prepared`` in this user's cache.

        A user who has no home directory keeps none, which the log says; with `anew` that is a
        ModelError.
        """
        environ = os.environ if environ is None else environ
        named = environ.get(FOLDER_VARIABLE)
        try:
            folder = expanded(Path(named)) if named else cache_folder(environ) / "prepared"
        except ConfigurationError as refused:
            told = f"Rewritten graphs are not kept: {refused.detail}"
            if anew:
                raise ModelError(told, remedy=_REMEDY) from refused
            _log.warning("%s They are made and proven at every start. %s", told, _REMEDY)
            return cls(None, portraits=portraits)
        return cls(folder.absolute(), portraits=portraits, anew=anew)

    @property
    def proofs(self) -> tuple[Proof, ...]:
        """Of every graph that was made here; those that were found were proven before."""
        return tuple(self._proofs)

    def graph(
        self,
        weights: Weights,
        rewriting: Rewriting,
        make: Callable[[], tuple[bytes, Proof | None]],
        *,
        engine: str,
    ) -> bytes:
        """Give the graph that `rewriting` makes of `weights`: a kept one, or what `make` gives.

        `engine` is what proves it, with its version: for another one it is made and proven anew.
        Where `make` gives no proof there was nothing to rewrite, and nothing is kept.

        Raises what `make` raises. A folder that cannot be used is told in the log, and a
        `ModelError` only where a graph had to be kept.
        """
        key = rewriting.key(weights.sha256, engine)
        kept = None if self._anew else self._read(weights, key)
        if kept is not None:
            return kept
        content, proof = make()
        if proof is None:
            return content
        self._proofs.append(proof)
        header = Header(
            network=weights.id,
            key=key,
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
            deviation=proof.deviation,
            tolerance=proof.tolerance,
            on=proof.on,
        )
        _log.info("%s: rewritten for %s, %s", weights.name, proof.provider, proof.told())
        self._keep(weights, header, content)
        return content

    def path(self, weights: Weights, key: str) -> Path | None:
        """Say where the graph of that key is kept."""
        return self.folder and self.folder / f"{weights.name}-{key[:32]}{SUFFIX}"

    def _read(self, weights: Weights, key: str) -> bytes | None:
        path = self.path(weights, key)
        if path is None:
            return None
        try:
            content = _proven(path, key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as refused:
            _log.warning("%s is not used, and made again: %s", path, _reason(refused))
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # who was used last
        return content

    def _keep(self, weights: Weights, header: Header, content: bytes) -> None:
        path = self.path(weights, header.key)
        if path is None:
            return
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            _require_own(path.parent.stat(), path.parent)
            _write(path, header.model_dump_json().encode() + b"\n" + content)
            _prune(path.parent, spare=path)
        except (OSError, ValueError) as refused:
            told = (
                f"The rewritten graph of {weights.name} is not kept in {path.parent}:"
                f" {_reason(refused)}."
            )
            if self._anew:
                raise ModelError(told, remedy=_REMEDY) from refused
            _log.warning("%s It is made and proven at every start. %s", told, _REMEDY)


def _proven(path: Path, key: str) -> bytes:
    """Read an entry. Raises OSError, and ValueError where it is not what its first line says."""
    _require_own(path.parent.stat(), path.parent)
    with path.open("rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        _require_own(status, path)
        try:
            header = Header.model_validate_json(stream.readline(MAX_HEADER_BYTES))
        except ValidationError:
            raise ValueError("its first line is damaged") from None
        content = stream.read(header.size + 1)  # a byte too many does not pass
    if header.key != key:
        raise ValueError("it was made of something else")
    if len(content) != header.size or hashlib.sha256(content).hexdigest() != header.sha256:
        raise ValueError("its digest is not that of its first line")
    return content


def _require_own(status: os.stat_result, path: Path) -> None:
    """See that nobody but this user and root can have put something there."""
    if status.st_uid not in {0, os.geteuid()}:
        raise ValueError(f"{path} belongs to user {status.st_uid}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ValueError(f"others may write to {path} (chmod go-w)")


def _write(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _prune(folder: Path, *, spare: Path) -> None:
    """Take out what was longest unused beyond the bounds, and what dead processes left."""
    entries: list[tuple[float, int, Path]] = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # others prune too
            status = path.stat()
            if path.name.startswith(".") and SUFFIX in path.name:
                if time.time() - status.st_mtime > LEFT_BEHIND_S:
                    path.unlink(missing_ok=True)
            elif path.suffix == SUFFIX and path != spare:
                entries.append((status.st_mtime, status.st_size, path))
    count, size = 1, spare.stat().st_size
    for _, bytes_of_it, path in sorted(entries, reverse=True):
        count, size = count + 1, size + bytes_of_it
        if count > MAX_ENTRIES or size > MAX_BYTES:
            path.unlink(missing_ok=True)


def _reason(refused: OSError | ValueError) -> str:
    return (refused.strerror if isinstance(refused, OSError) else None) or str(refused)
