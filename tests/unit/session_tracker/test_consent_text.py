"""The text of the consent: versions, languages, and what may be missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from session_tracker.consent_text import load_consent_text
from verifier.errors import ConfigurationError


def test_the_text_that_comes_along_tells_what_the_law_asks() -> None:
    """Purpose, retention, withdrawal and the way without a face stand in both languages."""
    text = load_consent_text()
    for word in ("目的", "保存多久", "撤回", "不使用人脸", "90 天"):
        assert word in text.by_language["zh"]
    for word in ("Purpose", "How long", "withdraw", "without your face", "90 days"):
        assert word in text.by_language["en"]
    assert len(text.sha256("zh")) == 64
    assert text.sha256("zh") != text.sha256("en")


def test_the_newest_version_counts(tmp_path: Path) -> None:
    """Of several versions in a folder the last by name is shown."""
    for version in ("2026-11", "2027-02", "2026-12"):
        for language in ("zh", "en"):
            (tmp_path / f"{version}.{language}.txt").write_text(version, encoding="utf-8")
    (tmp_path / "notes.md").write_text("ignored", encoding="utf-8")
    text = load_consent_text(tmp_path)
    assert (text.version, text.by_language["en"]) == ("2027-02", "2027-02")


def test_both_languages_are_needed(tmp_path: Path) -> None:
    """A version without its Chinese or English text stops the start."""
    with pytest.raises(ConfigurationError, match="none"):
        load_consent_text(tmp_path)
    (tmp_path / "1.zh.txt").write_text("同意", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="en"):
        load_consent_text(tmp_path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_consent_text(tmp_path / "nowhere")
