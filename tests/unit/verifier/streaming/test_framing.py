"""Frames as bytes, alone and in bursts."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.errors import BadRequest
from verifier.streaming.framing import FramedPicture, pack, pack_burst, unpack, unpack_burst

FRAMES = st.builds(
    FramedPicture,
    seq=st.integers(0, 2**32 - 1),
    data=st.binary(min_size=1, max_size=100),
    captured_utc_ms=st.none() | st.integers(1, 2**64 - 1),
)


@given(frames=st.lists(FRAMES, min_size=1, max_size=5))
def test_what_is_packed_is_unpacked(frames: list[FramedPicture]) -> None:
    """Both ways give the same frames."""
    assert [unpack(pack(frame)) for frame in frames] == frames
    assert unpack_burst(pack_burst(frames), most=5) == frames


@given(body=st.binary(max_size=200))
def test_garbage_is_refused(body: bytes) -> None:
    """No bytes do anything but unpack or be refused."""
    assert unpack(body) is None or body.startswith(b"BNR1")
    with contextlib.suppress(BadRequest):
        assert unpack_burst(body, most=5)


def test_a_burst_is_whole_and_short() -> None:
    """Cut off, without a frame, or with too many: each named."""
    frame = FramedPicture(seq=1, data=b"x")
    whole = pack_burst([frame, frame])
    for cut in range(1, len(whole)):
        if cut != len(whole) // 2:
            with pytest.raises(BadRequest, match="is not one"):
                unpack_burst(whole[:cut], most=5)
    with pytest.raises(BadRequest, match="no frame"):
        unpack_burst(b"", most=5)
    with pytest.raises(BadRequest, match="at most 1"):
        unpack_burst(whole, most=1)
