"""When the next random check comes: drawn without memory; no stretch is known to be unchecked."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

Draw: TypeAlias = Callable[[], float]
"""A number in [0, 1) from a cryptographic generator (``secrets.SystemRandom().random``)."""


def truncated_exponential(u: float, *, mean: float, low: float, high: float) -> float:
    """Give the `u`-quantile, 0 <= u < 1, of the exponential with this mean, cut to [low, high].

    Inverse of its distribution function, F(x) = (e^(-low/m) - e^(-x/m)) / (e^(-low/m) -
    e^(-high/m)). Cut off, its own mean is smaller than `mean`: for 360 s on [20 s, 720 s] it is
    263 s.
    """
    if not (0 <= u < 1 and 0 <= low <= high and mean > 0):
        raise ValueError(f"want 0 <= u < 1, 0 <= low <= high, mean > 0: {u}, {low}, {high}, {mean}")
    # Relative to `low`, so that nothing underflows however large it is.
    kept = -math.expm1(-(high - low) / mean)
    return min(high, low - mean * math.log1p(-u * kept))


def next_random_check_ms(
    draw: Draw, *, now_ms: int, last_check_ms: int, mean_ms: int, min_ms: int, max_ms: int
) -> int:
    """Draw the instant of the next random check, anew at `now_ms`.

    The bounds count from the last one (the learner has no hand in it), the draw from now. A
    truncated exponential that has not struck yet is again a truncated exponential with the same
    end: drawing anew after each pass changes nothing of its distribution, and nobody, we included,
    knows a moment for long. (One that has struck must not be drawn anew.)
    """
    low = max(0, last_check_ms + min_ms - now_ms)
    high = max(low, last_check_ms + max_ms - now_ms)
    return now_ms + round(truncated_exponential(draw(), mean=mean_ms, low=low, high=high))
