"""Frames that speed is measured on."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.frames import MAX_FRAMES, VARIABLE, arms_length_frames, find_faces, near_frames
from verifier.errors import ConfigurationError
from verifier.pipeline.intake import decode


def test_a_folder_without_photographs_is_refused(tmp_path: Path) -> None:
    """The message names the folder, the remedy the option and the variable."""
    with pytest.raises(ConfigurationError, match=tmp_path.name) as caught:
        find_faces(tmp_path)
    assert "--faces" in caught.value.remedy
    assert VARIABLE in caught.value.remedy


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no option does."""
    for name in ("lfw10", "families"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert find_faces() == tmp_path
    with pytest.raises(ConfigurationError):
        find_faces(tmp_path / "elsewhere")


@pytest.mark.faces
def test_frames_are_vga_and_repeat(faces_dir: Path) -> None:
    """The same bytes on every machine, sixteen of each kind, 640 x 480."""
    frames = arms_length_frames(faces_dir)
    assert len(frames) == MAX_FRAMES
    assert decode(frames[0].jpeg).pixels.shape == (480, 640, 3)
    assert [one.jpeg for one in frames] == [one.jpeg for one in arms_length_frames(faces_dir)]
    assert len({one.jpeg for one in (*frames, *near_frames(faces_dir))}) == 2 * MAX_FRAMES
