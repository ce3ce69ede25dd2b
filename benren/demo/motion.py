"""Smooth, seeded movement: how a hand holds a phone and how light drifts, as functions of time."""

from __future__ import annotations

import math

import numpy as np


class Sway:
    """One quantity that wanders within ±`amplitude`: a sum of three slow sines, the same every run.

    Frequencies lie between 0.02 and 0.4 Hz, where postural sway of a seated person and of a
    hand-held camera has most of its energy; frames 5 s apart therefore look unrelated, and frames
    of a burst look continuous.
    """

    def __init__(self, amplitude: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._amplitude = amplitude
        self._terms = tuple(
            (float(share), float(2 * math.pi * hz), float(phase))
            for share, hz, phase in zip(
                (0.5, 0.3, 0.2),
                np.exp(rng.uniform(math.log(0.02), math.log(0.4), 3)),
                rng.uniform(0, 2 * math.pi, 3),
                strict=True,
            )
        )

    def at(self, t_s: float) -> float:
        """Give the value at `t_s` seconds, within ±amplitude."""
        return self._amplitude * sum(
            share * math.sin(omega * t_s + phase) for share, omega, phase in self._terms
        )
