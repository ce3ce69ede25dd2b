"""The ring of frames, and which of them a check takes."""

from __future__ import annotations

import pytest

from verifier.clock import Stamp
from verifier.streaming.testing import embedding_of
from verifier.streaming.window import Sample, Window, select
from verifier.types import Evidence, Quality, Reason


def stamp(ms: int) -> Stamp:
    """An instant of one boot."""
    return Stamp(boot_id="boot", monotonic_ms=ms, utc_ms=1_795_000_000_000 + ms)


def quality(unified: float) -> Quality:
    """A quality of which only the unified score matters."""
    return Quality(
        sharpness=1.0,
        illumination_mean=1.0,
        illumination_uniformity=1.0,
        head_pose_yaw_deg=0.0,
        head_pose_pitch_deg=0.0,
        head_pose_roll_deg=0.0,
        inter_eye_distance_px=1.0,
        unified_quality_score=unified,
    )


def sample(
    seq: int,
    *,
    ms: int | None = None,
    track: int = 1,
    size: int = 10,
    unified: float | None = 0.5,
    reasons: tuple[Reason, ...] = (),
) -> Sample:
    """A frame that arrived `seq` seconds after the start."""
    presence = Evidence(
        digest=f"{seq:064x}",
        faces=(),
        quality=None if unified is None else quality(unified),
        reasons=reasons,
    )
    return Sample(
        seq=seq,
        stamp=stamp(seq * 1_000 if ms is None else ms),
        track=track,
        data=bytes(size),
        presence=presence,
    )


def window(frames: int = 32, size: int = 1_000_000) -> Window:
    """A ring over 25 s."""
    return Window(window_ms=25_000, max_frames=frames, max_bytes=size)


def test_old_frames_leave() -> None:
    """A frame older than the window goes when a newer one comes."""
    ring = window()
    for seq in (1, 10, 26, 27):
        ring.add(sample(seq), None)
    assert [one.seq for one in ring.of_track(1, now=stamp(27_000), not_before=None)] == [10, 26, 27]


def test_old_frames_leave_without_a_newer_one() -> None:
    """Time alone empties the window, the newest frame included; what is not older stays."""
    ring = window()
    for seq in (1, 10):
        ring.add(sample(seq), Evidence(digest="0" * 64, faces=()))
    ring.age(stamp(26_000))
    assert (len(ring), ring.bytes) == (2, 20)
    ring.age(stamp(26_001))
    assert (len(ring), ring.bytes) == (1, 10)
    ring.age(stamp(35_001))
    assert (len(ring), ring.bytes, ring.newest, ring.evidence(10)) == (0, 0, None, None)


def test_frames_and_bytes_are_bounded() -> None:
    """Neither the number of frames nor their bytes grow beyond the bounds."""
    ring = window(frames=4, size=35)
    for seq in range(1, 100):
        ring.add(sample(seq, ms=seq), None)
        assert len(ring) <= 3
        assert ring.bytes <= 35


def test_the_newest_frame_stays_however_large() -> None:
    """A single picture above the bound is kept: without it there would be nothing to judge."""
    ring = window(size=35)
    ring.add(sample(1), None)
    ring.add(sample(2, size=100), None)
    assert len(ring) == 1
    assert ring.bytes == 100


def test_only_frames_of_the_track_from_the_instant_on() -> None:
    """Other tracks, frames before the instant and frames older than the window are left out."""
    ring = window()
    for seq, track in ((1, 1), (2, 2), (3, 2), (4, 2), (5, 0)):
        ring.add(sample(seq, track=track), None)
    assert [s.seq for s in ring.of_track(2, now=stamp(5_000), not_before=None)] == [2, 3, 4]
    assert [s.seq for s in ring.of_track(2, now=stamp(5_000), not_before=stamp(3_000))] == [3, 4]
    assert [s.seq for s in ring.of_track(2, now=stamp(28_000), not_before=None)] == [3, 4]


def test_evidence_leaves_with_its_frame() -> None:
    """What was computed on a frame is forgotten with it, and not kept once it is gone."""
    ring = window(frames=1)
    known = Evidence(digest="0" * 64, faces=(), embedding=embedding_of("li"))
    ring.add(sample(1), known)
    assert ring.evidence(1) is known
    ring.add(sample(2), None)
    assert ring.evidence(1) is None
    ring.remember(1, known)
    assert ring.evidence(1) is None
    ring.remember(2, known)
    assert ring.evidence(2) is known


def test_clearing_forgets_every_picture() -> None:
    """After clearing neither frames nor bytes remain."""
    ring = window()
    ring.add(sample(1), None)
    ring.clear()
    assert (len(ring), ring.bytes, ring.newest) == (0, 0, None)


def test_few_frames_are_all_taken() -> None:
    """Where there are no more than asked for, nothing is chosen away."""
    frames = [sample(seq) for seq in range(5)]
    assert select(frames, 5) == frames


def test_the_best_of_each_stretch_is_taken() -> None:
    """Ten frames in five stretches: the better one of each pair, in order of time."""
    frames = [sample(seq, unified=0.9 if seq % 2 else 0.1) for seq in range(10)]
    assert [one.seq for one in select(frames, 5)] == [1, 3, 5, 7, 9]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("total", [1, 4, 8, 13, 32])
def test_as_many_as_asked_for_in_order(count: int, total: int) -> None:
    """Whatever the numbers, the choice has its size, no repeats, and the order of time."""
    chosen = [one.seq for one in select([sample(seq) for seq in range(total)], count)]
    assert len(chosen) == min(count, total)
    assert chosen == sorted(set(chosen))


def test_unusable_frames_serve_only_where_there_are_no_others() -> None:
    """A dark frame is left out where good ones are there, and speaks for itself where not."""
    dark = [sample(seq, reasons=(Reason.TOO_DARK,)) for seq in range(3)]
    good = [sample(seq) for seq in range(3, 5)]
    assert select([*dark, *good], 5) == good
    assert select(dark, 2) == [dark[0], dark[2]]


def test_a_frame_without_quality_comes_last() -> None:
    """Where the quality stage said nothing, any measured frame is better."""
    frames = [sample(1, unified=None), sample(2, unified=0.1)]
    assert [one.seq for one in select(frames, 1)] == [2]
