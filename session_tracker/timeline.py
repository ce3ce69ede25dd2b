"""Puts stamps of several boots on one axis: milliseconds of UTC, steady within a boot.

Within a boot the wall clock is asked once, for the anchor; from there on only the monotonic
clock counts, so that setting the wall clock moves nothing. Across boots UTC is all there is.
"""

from __future__ import annotations

from collections.abc import Mapping

from verifier.clock import Stamp
from verifier.errors import BadRequest


def anchor_of(stamp: Stamp, anchors: Mapping[str, Stamp]) -> Stamp:
    """Find the first stamp known of this boot: the one given, where none is known yet."""
    return anchors.get(stamp.boot_id, stamp)


def to_utc_ms(stamp: Stamp, anchors: Mapping[str, Stamp]) -> int:
    """Place a stamp, in UTC ms; `anchors` holds the first stamp of each boot by its id.

    Raises BadRequest for a boot without an anchor: taking the stamp's own UTC would let a step
    of the wall clock into durations.
    """
    anchor = anchors.get(stamp.boot_id)
    if anchor is None:
        raise BadRequest(
            f"the stamp belongs to boot {stamp.boot_id!r}, of which no first stamp is known",
            remedy="Store the first stamp of a boot before placing others of it.",
        )
    return anchor.utc_ms + stamp.monotonic_ms - anchor.monotonic_ms


def step_ms(stamp: Stamp, anchors: Mapping[str, Stamp]) -> int:
    """Tell how far the wall clock has moved against the monotonic one since the boot's anchor.

    More than ``clock.step_s`` of the policy, either way, is a system fault (`SystemFault`).
    """
    return stamp.utc_ms - to_utc_ms(stamp, anchors)


def ran_backwards_ms(last: Stamp, first: Stamp, anchors: Mapping[str, Stamp]) -> int:
    """Tell by how much a new boot begins before the last stamp of the one before it, or 0.

    Time that passed between two boots cannot be told from a step forward; a step backward can.
    """
    return max(0, to_utc_ms(last, anchors) - first.utc_ms)
