"""Our engine as a system among others, behind the interface of the peers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

from benchmarks.rivals import NOBODY, Answer
from verifier.models.packs import load_pack
from verifier.models.runtime import Runtime
from verifier.models.store import Store
from verifier.pipeline.engine import Engine
from verifier.pipeline.intake import decode
from verifier.pipeline.profile import load_profile
from verifier.pipeline.savings import Savings

if TYPE_CHECKING:
    from verifier.models.runtime import Provider
    from verifier.types import Vector


ALL_THE_WORK: Final = Savings(duplicates=False, early_exit=False)
"""What peers do for every frame, whatever it is worth."""


class Ours:
    """The engine of this project, one frame or several at a time."""

    def __init__(self, pack: str, store: Store, provider: str = "cpu") -> None:
        runtime = Runtime(cast("Provider", provider), threads=1)
        self.engine = Engine(load_pack(pack, store, runtime), load_profile(), ALL_THE_WORK)
        self.runs_on = runtime.provider
        """The engines that run its networks."""

    def check(self, jpeg: bytes, reference: Vector | None) -> Answer:
        """Check one frame."""
        return self.check_all([jpeg], reference)[0]

    def check_all(self, jpegs: Sequence[bytes], reference: Vector | None) -> list[Answer]:
        """Check frames in one batch, each for itself."""
        frames = [decode(jpeg) for jpeg in jpegs]
        evidence = self.engine.assess(frames, references=[reference] * len(frames))
        answers = []
        for one in evidence:
            if one.embedding is None:
                answers.append(NOBODY)
                continue
            known = one.embedding if reference is None else reference
            verdict = self.engine.judge([one], known)
            live = () if one.liveness_score is None else (one.liveness_score,)
            answers.append(
                Answer(embedding=one.embedding, similarity=verdict.similarity, liveness=live)
            )
        return answers
