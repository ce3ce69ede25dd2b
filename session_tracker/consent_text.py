"""The text that a learner consents to: versioned files, one per language, told apart by digest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from verifier.errors import ConfigurationError

LANGUAGES: Final = ("zh", "en")
_FILE: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,60})\.(zh|en)\.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentText:
    """One version of the text, in every language."""

    version: str
    by_language: Mapping[str, str]

    def sha256(self, language: str) -> str:
        """Give the digest of the text in a language: what exactly was agreed to."""
        return hashlib.sha256(self.by_language[language].encode()).hexdigest()


def load_consent_text(folder: Path | None = None) -> ConsentText:
    """Read the newest version in a folder of ``VERSION.zh.txt`` and ``VERSION.en.txt`` files.

    Without a folder: the text that comes with the package. Names sort by age (``2026-11``).
    Raises ConfigurationError where a language is missing or the folder holds no text.
    """
    place: Traversable = folder or resources.files("session_tracker") / "consent"
    try:
        names = [entry.name for entry in place.iterdir()]
        found = [match for name in names if (match := _FILE.fullmatch(name))]
        version = max((match[1] for match in found), default="")
        texts = {
            match[2]: (place / match[0]).read_text(encoding="utf-8").strip()
            for match in found
            if match[1] == version
        }
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The consent text cannot be read: {error}.",
            remedy="Name a folder with VERSION.zh.txt and VERSION.en.txt (UTF-8).",
        ) from error
    missing = [name for name in LANGUAGES if not texts.get(name)]
    if missing:
        raise ConfigurationError(
            f"The consent text {version or '(none)'} is missing in: {', '.join(missing)}.",
            remedy="Each version needs VERSION.zh.txt and VERSION.en.txt.",
        )
    return ConsentText(version=version, by_language=texts)
