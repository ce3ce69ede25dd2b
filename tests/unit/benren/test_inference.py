"""Photographs from files through an engine: in order, in batches, errors one by one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest

from benren.config import Config
from benren.inference import BATCH, assess_files, load_inference, read_frame
from verifier.errors import ImageTooLarge, ImageUnreadable
from verifier.pipeline.intake import Limits
from verifier.settings import Batching
from verifier.types import Evidence, Frame

LIMITS = Limits(max_bytes=20_000, max_pixels=100_000)


class CountingEngine:
    """Tells each frame's grey level, and how large the batches were."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def assess(
        self, frames: Sequence[Frame], *, references: Sequence[Any], embed: bool
    ) -> list[Evidence]:
        """Give evidence whose digest is the mean grey level."""
        assert len(references) == len(frames)
        self.batches.append(len(frames))
        return [Evidence(digest=str(round(frame.pixels.mean())), faces=()) for frame in frames]


def _picture(path: Path, grey: int) -> Path:
    cv2.imwrite(str(path), np.full((40, 40, 3), grey, np.uint8))
    return path


@pytest.mark.parametrize("workers", [1, 3])
def test_order_is_kept_and_errors_stay_with_their_file(tmp_path: Path, workers: int) -> None:
    """Results come in the order of the files; an unreadable one has its error, others go on."""
    paths = [_picture(tmp_path / f"{n}.png", 5 * n) for n in range(20)]
    broken = tmp_path / "broken.jpg"
    broken.write_text("not a picture")
    paths.insert(3, broken)
    engine = CountingEngine()
    judged = list(assess_files(cast("Any", engine), paths, LIMITS, workers=workers))
    assert [one.path for one in judged] == paths
    assert isinstance(judged[3].error, ImageUnreadable)
    assert judged[3].evidence is None
    good = [one.evidence.digest for one in judged if one.evidence is not None]
    assert good == [str(5 * n) for n in range(20)]
    assert max(engine.batches) <= BATCH
    assert sum(engine.batches) == 20


def test_nothing_readable_asks_nothing_of_the_engine(tmp_path: Path) -> None:
    """Where no file can be read the engine is left alone."""
    engine = SimpleNamespace()
    (judged,) = assess_files(cast("Any", engine), [tmp_path / "missing.jpg"], LIMITS, workers=1)
    assert isinstance(judged.error, ImageUnreadable)
    assert "missing.jpg" in judged.error.detail


def test_long_file_is_refused_unread(tmp_path: Path) -> None:
    """A file beyond the limit is refused with its name; a directory is no picture."""
    long = tmp_path / "long.png"
    long.write_bytes(b"\0" * (LIMITS.max_bytes + 1))
    with pytest.raises(ImageTooLarge, match=r"long\.png"):
        read_frame(long, LIMITS)
    with pytest.raises(ImageUnreadable, match="cannot be read"):
        read_frame(tmp_path, LIMITS)


def test_the_settings_reach_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Provider, threads, lanes and the limit of GPU memory are those set; 0 is no limit."""
    asked: list[tuple[str, dict[str, Any]]] = []

    class Refused(Exception):
        """Ends the loading where enough is known."""

    def runtime(provider: str, **options: Any) -> None:
        asked.append((provider, options))
        raise Refused

    monkeypatch.setattr("verifier.models.runtime.Runtime", runtime)
    gpu = Config(provider="cuda", threads=3, gpu_memory_mb=512, batching=Batching(lanes=3))
    for config in (Config(), gpu):
        with pytest.raises(Refused):
            load_inference(config)
    assert asked == [
        ("cpu", {"threads": 1, "memory_limit_mb": None, "lanes": 2}),
        ("cuda", {"threads": 3, "memory_limit_mb": 512, "lanes": 3}),
    ]
