"""Who accepted which terms for which weights, and when: asked once, recorded, never assumed."""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from verifier.clock import Clock, SystemClock
from verifier.errors import LicenceNotAccepted, ModelError

MAX_RECORD_BYTES = 2**16

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Acceptance(BaseModel):
    """One accepted licence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pack: str
    terms: str
    """What was accepted, in words."""
    accepted_by: str
    """Name of the account."""
    accepted_at: AwareDatetime
    files: Mapping[str, Sha256]
    """File name -> SHA-256 of the weights that it was accepted for."""


class Licences:
    """The acceptances of one user, a JSON file each."""

    def __init__(self, folder: Path, *, clock: Clock | None = None) -> None:
        """Keep the records in `folder`, which need not exist yet."""
        self._folder = folder
        self._clock = clock if clock is not None else SystemClock()

    def require(self, pack: str, *, terms: str) -> Acceptance:
        """Return the record for `pack`; raises `LicenceNotAccepted` where there is none."""
        path = self._path(pack)
        try:
            with path.open("rb") as stream:
                content = stream.read(MAX_RECORD_BYTES)
        except FileNotFoundError:
            raise LicenceNotAccepted(
                f"The licence of the pack {pack} has not been accepted: {terms}",
                remedy=f"Read it, then run 'benren models pull {pack} --accept-licence'.",
            ) from None
        except OSError as refused:
            raise ModelError(
                f"{path} cannot be read: {refused.strerror or refused}.",
                remedy="Allow reading it, or accept the licence again.",
            ) from refused
        try:
            return Acceptance.model_validate_json(content)
        except ValidationError as wrong:
            raise LicenceNotAccepted(
                f"{path}, the record of the accepted licence, is not valid: {wrong}",
                remedy=f"Run 'benren models pull {pack} --accept-licence' again.",
            ) from wrong

    def accept(self, pack: str, *, terms: str, files: Mapping[str, str]) -> Acceptance:
        """Record that this user accepts `terms` for `files` (name -> SHA-256)."""
        record = Acceptance(
            pack=pack,
            terms=terms,
            accepted_by=_account(),
            accepted_at=self._clock.stamp().utc,
            files=files,
        )
        path = self._path(pack)
        try:
            _write(path, record.model_dump_json(indent=2) + "\n")
        except OSError as refused:
            raise ModelError(
                f"{path} cannot be written: {refused.strerror or refused}.",
                remedy="Set XDG_CACHE_HOME to a folder that can be written.",
            ) from refused
        return record

    def _path(self, pack: str) -> Path:
        readable = re.sub(r"[^A-Za-z0-9._-]+", "_", pack)[-60:]
        return self._folder / f"{readable}-{hashlib.sha256(pack.encode()).hexdigest()[:12]}.json"


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        return f"uid {os.getuid()}"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    part = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), 0o644)  # the service may run as another user
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
