"""The file of published heads: JSON Lines, appended and synced, for others to copy and keep.

What is in it holds the ledger to its word even here: a database that lacks what a published head
covers is refused at the start.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from session_tracker.ledger import Head, read_head
from verifier.errors import ConfigurationError, StorageError


class PublishedHeads:
    """A file of signed heads, the oldest first. Raises ConfigurationError where it is no such."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: Head | None = None
        try:
            content = path.read_bytes() if path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]  # a line cut off by a crash is written anew
            for line in whole.splitlines():
                self._last = read_head(json.loads(line))
            if whole != content:
                os.truncate(path, len(whole))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{path} cannot be read as a file of signed heads.",
                remedy="Name another with heads_file, or restore it.",
            ) from error

    @property
    def last_size(self) -> int:
        """Size of the newest head that is there; -1 without any."""
        return -1 if self._last is None else self._last.size

    def add(self, heads: Sequence[Head]) -> None:
        """Write down the heads that are not there yet; durable when it returns.

        Raises StorageError where the newest head in the file is none of the ledger's.
        """
        if self._last is not None and self._last not in heads:
            raise StorageError(
                f"The ledger does not have the head of {self._last.size} entries that was"
                f" published in {self._path}.",
                remedy="The database was cut off or replaced: check it with `benren ledger verify"
                " --head`. To go on with a restored backup, move the file away and keep it.",
            )
        missing = [head for head in heads if head.size > self.last_size]
        if not missing:
            return
        lines = "".join(json.dumps(head.as_json()) + "\n" for head in missing)
        try:
            with self._path.open("ab") as file:
                file.write(lines.encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(
                f"The heads cannot be published in {self._path}: {error.strerror}.",
                remedy="Make the file writable, or free some disk space.",
            ) from error
        self._last = missing[-1]


__all__ = ["PublishedHeads"]
