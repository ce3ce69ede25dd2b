"""Tests of the engine: order of the rooms, choice of the face, batches, on scripted networks.

Frames are the drawn face, or several of it, in different tints; the embedder tells tints apart.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from verifier.errors import ConfigurationError, InferenceFailed
from verifier.models.drawing import LANDMARKS
from verifier.models.embedder import ARCFACE, ARCFACE_TEMPLATE
from verifier.models.packs import Pack
from verifier.pipeline import savings as saving
from verifier.pipeline.align import align
from verifier.pipeline.detect import canvases
from verifier.pipeline.engine import MAX_CANDIDATES, Engine
from verifier.pipeline.profile import load_profile
from verifier.pipeline.savings import Savings
from verifier.pipeline.selftest import drawn_face
from verifier.types import Decision, Face, Frame, Reason

MARKER = (255, 0, 255)
"""A pixel of this colour stands at the top left corner of every drawn face."""
SIZE = 320
BOX = (90.0, 90.0, 140.0, 178.0)
TINTS = {"anna": (1.0, 0.4, 0.4), "ben": (0.4, 1.0, 0.4), "carl": (0.4, 0.4, 1.0)}


def portrait(who: str, size: int = SIZE) -> np.ndarray:
    """The drawn face in somebody's tint, with some grain, marked for the detector."""
    grain = np.random.default_rng(3).normal(0, 8, (SIZE, SIZE, 1))
    tinted = np.clip((drawn_face().pixels + grain) * TINTS[who], 0, 250)
    return cv2.resize(tinted.astype(np.uint8), (size, size), interpolation=cv2.INTER_AREA)


def frame_of(*people: tuple[str, int]) -> Frame:
    """A frame with people side by side, each of a size in pixels."""
    width = sum(size for _, size in people) or 64
    pixels = np.full((SIZE, width, 3), 60, dtype=np.uint8)
    left = 0
    for who, size in people:
        pixels[:size, left : left + size] = portrait(who, size)
        pixels[0, left] = MARKER
        left += size
    return Frame(pixels=pixels, digest="-".join(f"{who}{size}" for who, size in people))


class MarkerDetector:
    """Finds people by their markers; takes the place of `detect.detect`."""

    id = "detector@00"
    sides = None

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.warmed: list[tuple[int, int]] = []
        self.score = 0.93

    def warm_up(self, sizes: list[tuple[int, int]]) -> None:
        """Remember the sizes."""
        self.warmed = list(sizes)

    def find(
        self, frames: list[Frame], _: object, *, small_first: bool = False
    ) -> list[tuple[Face, ...]]:
        """Give the faces of every frame, the largest first."""
        self.small_first = small_first
        self.calls.append(len(frames))
        return [self._of(frame) for frame in frames]

    def _of(self, frame: Frame) -> tuple[Face, ...]:
        starts = np.flatnonzero((frame.pixels[0] == MARKER).all(axis=1))
        ends = [*starts[1:], frame.pixels.shape[1]][: len(starts)]
        faces = []
        for start, end in zip(starts, ends, strict=True):
            scale = (end - start) / SIZE
            x, y, w, h = (scale * v for v in BOX)
            points = np.array(LANDMARKS, dtype=np.float32) * np.float32(scale) + (start, 0)
            box = (float(x + start), float(y), float(w), float(h))
            faces.append(Face(box=box, score=self.score, landmarks=points.astype(np.float32)))
        return tuple(sorted(faces, key=lambda face: -face.box[2]))


class TintEmbedder:
    """Embeds a crop by which channel is strongest: anna (1,0,0), ben (0,1,0), carl (0,0,1)."""

    id = "edgeface_xs@00"
    name = "edgeface_xs"
    contract = ARCFACE
    side = 112
    template = np.array(ARCFACE_TEMPLATE, dtype=np.float32)

    def __init__(self) -> None:
        self.batches: list[int] = []

    def embed(self, crops: list[np.ndarray]) -> np.ndarray:
        """Give unit vectors (B, 3), sharply different by tint."""
        self.batches.append(len(crops))
        means = np.stack([crop[40:100, 30:80].reshape(-1, 3).mean(axis=0) for crop in crops])
        vectors = (means / means.max(axis=1, keepdims=True)) ** 6
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class FixedLiveness:
    """Calls everybody live but carl."""

    id = "liveness@00"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def crop(self, pixels: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
        """The middle of the box."""
        x, y = round(box[0] + box[2] / 2), round(box[1] + box[3] / 2)
        return pixels[y - 2 : y + 2, x - 2 : x + 2]

    def score(self, crops: list[np.ndarray]) -> np.ndarray:
        """0.01 where red is strongest."""
        self.batches.append(len(crops))
        return np.array(
            [0.01 if crop.mean(axis=(0, 1)).argmax() == 2 else 0.99 for crop in crops], np.float32
        )


VECTORS = {name: np.eye(3, dtype=np.float32)[i] for i, name in enumerate(TINTS)}


class Parts:
    """An engine on scripted networks, and these networks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.detector, self.embedder = MarkerDetector(), TintEmbedder()
        self.liveness = (FixedLiveness(), FixedLiveness())
        fakes: dict[str, Any] = {
            "detector": self.detector, "embedder": self.embedder, "liveness": self.liveness,
        }  # fmt: skip
        self.pack = Pack(
            name="scripted",
            mesh=None,
            models={"embedder": "edgeface_xs@00"},
            licences={},
            providers={"embedder": "paper"},
            **fakes,
        )
        monkeypatch.setattr("verifier.pipeline.detect.detect", self.detector.find)
        self.engine = Engine(self.pack, load_profile())


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Parts:
    """A fresh engine."""
    return Parts(monkeypatch)


@pytest.mark.parametrize("small_looks", [True, False])
def test_the_detector_is_warmed_up_on_its_real_sizes(parts: Parts, small_looks: bool) -> None:
    """VGA frames in both orientations, at the looks that the savings leave."""
    engine = parts.engine.with_savings(Savings(small_looks=small_looks))
    engine.warm_up()
    assert parts.detector.warmed == canvases(parts.detector, small_looks=small_looks)  # type: ignore[arg-type]
    assert engine.providers == {"embedder": "paper"}


def test_frames_go_through_every_stage_in_one_batch(parts: Parts) -> None:
    """Four frames, one of them empty: one batch per stage, evidence in order."""
    frames = [frame_of(("anna", 320)), frame_of(), frame_of(("ben", 320)), frame_of(("carl", 320))]
    evidence = parts.engine.assess(frames)
    assert parts.detector.calls == [4]
    assert parts.embedder.batches == [3]
    assert [network.batches for network in parts.liveness] == [[3], [3]]
    assert [one.digest for one in evidence] == [frame.digest for frame in frames]
    assert [one.reasons for one in evidence] == [(), (Reason.NO_FACE,), (), ()]
    assert [len(one.faces) for one in evidence] == [1, 0, 1, 1]
    assert evidence[1].embedding is evidence[1].liveness_score is evidence[1].quality is None
    assert evidence[2].embedding == pytest.approx(VECTORS["ben"], abs=0.1)
    assert [one.liveness_score for one in evidence] == pytest.approx([0.99, None, 0.99, 0.01])


def test_judge_decides_over_evidence_of_one_person(parts: Parts) -> None:
    """Match, mismatch and spoof, from the same engine."""
    engine = parts.engine
    for who, decision in (
        ("anna", Decision.MATCH),
        ("ben", Decision.MISMATCH),
        ("carl", Decision.SPOOF),
    ):
        verdict = engine.judge(engine.assess([frame_of((who, 320))]), VECTORS["anna"])
        assert verdict.decision is decision
        assert verdict.models == engine.models
        assert verdict.profile_version == engine.profile.version


def test_stages_can_be_left_out(parts: Parts) -> None:
    """A presence sample needs neither embedding nor liveness, but quality."""
    (one,) = parts.engine.assess([frame_of(("anna", 320))], liveness=False, embed=False)
    assert one.embedding is None
    assert one.liveness_score is None
    assert one.quality is not None
    assert parts.embedder.batches == parts.liveness[0].batches == []


def test_known_faces_are_not_detected_again(parts: Parts) -> None:
    """`faces` saves the detection; the evidence is the same."""
    frames = [frame_of(("anna", 320)), frame_of(("ben", 320))]
    faces = parts.engine.detect(frames)
    parts.detector.calls.clear()
    given = parts.engine.assess(frames, faces=faces)
    assert parts.detector.calls == []
    assert [one.faces for one in given] == faces


def test_without_a_reference_the_largest_usable_face_speaks(parts: Parts) -> None:
    """And only that face is embedded."""
    (one,) = parts.engine.assess([frame_of(("ben", 200), ("anna", 320))])
    assert one.embedding == pytest.approx(VECTORS["anna"], abs=0.1)
    assert len(one.faces) == 2
    assert parts.embedder.batches == [1]


def test_with_a_reference_the_most_similar_face_speaks(parts: Parts) -> None:
    """The learner behind a larger stranger is found; several faces stay a flag, not a reason."""
    frame = frame_of(("ben", 320), ("anna", 260))
    (one,) = parts.engine.assess([frame], references=[VECTORS["anna"]])
    assert one.embedding == pytest.approx(VECTORS["anna"], abs=0.1)
    assert one.reasons == ()
    assert one.faces[0].box[0] > 320
    assert len(one.faces) == 2
    verdict = parts.engine.judge([one], VECTORS["anna"])
    assert (verdict.decision, verdict.reasons) == (Decision.MATCH, (Reason.SEVERAL_FACES,))


def test_each_frame_has_its_own_reference(parts: Parts) -> None:
    """One batch serves several learners, and frames without a reference."""
    frame = frame_of(("ben", 320), ("anna", 260))
    evidence = parts.engine.assess(
        [frame, frame, frame], references=[VECTORS["anna"], VECTORS["ben"], None]
    )
    vectors = [one.embedding for one in evidence]
    for vector, who in zip(vectors, ("anna", "ben", "ben"), strict=True):
        assert vector == pytest.approx(VECTORS[who], abs=0.1)


def test_a_similar_face_of_no_use_does_not_speak_for_the_frame(parts: Parts) -> None:
    """A stranger in front, the learner far too small behind: a mismatch, no excuse."""
    frame = frame_of(("ben", 320), ("anna", 60))
    (one,) = parts.engine.assess([frame], references=[VECTORS["anna"]])
    assert one.reasons == ()
    assert parts.engine.judge([one], VECTORS["anna"]).decision is Decision.MISMATCH


def test_at_most_a_few_faces_of_a_crowd_are_embedded(parts: Parts) -> None:
    """The work per frame is bounded; all faces are reported."""
    frame = frame_of(*[("ben", 150 + i) for i in range(9)])
    (one,) = parts.engine.assess([frame], references=[VECTORS["anna"]])
    assert parts.embedder.batches == [MAX_CANDIDATES]
    assert len(one.faces) == 9


def hidden_eyes(who: str) -> Frame:
    """A frame with a dark bar over the eyes."""
    frame = frame_of((who, 320))
    pixels = frame.pixels.copy()
    pixels[130:175, 90:230] = 20
    return Frame(pixels=pixels, digest=f"{who}-covered")


def test_covers_excuse_but_do_not_accuse(parts: Parts) -> None:
    """Behind dark glasses a stranger is no evidence, never a mismatch; the learner matches."""
    evidence = parts.engine.assess(
        [hidden_eyes("anna"), hidden_eyes("ben"), hidden_eyes("anna")],
        references=[VECTORS["anna"], VECTORS["anna"], None],
    )
    decisions = [parts.engine.judge([one], VECTORS["anna"]).decision for one in evidence]
    assert decisions == [Decision.MATCH, Decision.NO_EVIDENCE, Decision.NO_EVIDENCE]
    assert Reason.EYES_HIDDEN in evidence[1].reasons
    assert Reason.EYES_HIDDEN in evidence[2].reasons


def test_darkness_is_no_evidence_even_for_a_similar_face(parts: Parts) -> None:
    """Only covers are excused by a match; other faults are not."""
    frame = frame_of(("anna", 320))
    dark = (frame.pixels * 0.1).astype(np.uint8)
    dark[0, 0] = MARKER
    (one,) = parts.engine.assess([Frame(pixels=dark, digest="dark")], references=[VECTORS["anna"]])
    assert Reason.TOO_DARK in one.reasons
    assert parts.engine.judge([one], VECTORS["anna"]).decision is Decision.NO_EVIDENCE


def darkened(who: str) -> Frame:
    """Somebody in the dark."""
    pixels = (frame_of((who, 320)).pixels * 0.1).astype(np.uint8)
    pixels[0, 0] = MARKER
    return Frame(pixels=pixels, digest=f"dark {who}")


@pytest.mark.parametrize("reference", [None, VECTORS["anna"]], ids=["no reference", "reference"])
def test_what_cannot_be_evidence_costs_no_networks(
    parts: Parts, reference: np.ndarray | None
) -> None:
    """A face too dark to judge is not embedded nor judged for liveness; the verdict is the same."""
    frames, references = [darkened("anna"), frame_of(("anna", 320))], [reference] * 2
    saving = parts.engine.assess(frames, references=references)
    assert parts.embedder.batches == [1]
    assert parts.liveness[0].batches == [1]
    assert saving[0].embedding is saving[0].liveness_score is None
    full = Engine(parts.pack, load_profile(), Savings(early_exit=False))
    thorough = full.assess(frames, references=references)
    assert parts.embedder.batches == [1, 2]
    assert thorough[0].embedding is not None
    for engine in (parts.engine, full):
        assert str(engine.judge(saving, VECTORS["anna"])) == str(
            engine.judge(thorough, VECTORS["anna"])
        )


def test_a_question_of_liveness_alone_is_answered_whatever_the_quality(parts: Parts) -> None:
    """Where nobody asks for an identity, quality is no way out."""
    (one,) = parts.engine.assess([darkened("anna")], embed=False)
    assert one.liveness_score == pytest.approx(0.99)


def test_equal_frames_of_a_batch_are_computed_once(parts: Parts) -> None:
    """But for one person's reference only; each gets its evidence, in order."""
    anna, ben = frame_of(("anna", 320)), frame_of(("ben", 320))
    frames = [anna, ben, anna, anna]
    references = [VECTORS["anna"], VECTORS["ben"], VECTORS["anna"], VECTORS["ben"]]
    evidence = parts.engine.assess(frames, references=references)
    assert [one.digest for one in evidence] == [frame.digest for frame in frames]
    assert evidence[0] is evidence[2]
    assert evidence[3] is not evidence[0]
    assert parts.embedder.batches == [3]
    verdict = parts.engine.judge(evidence[:3:2], VECTORS["anna"])
    assert Reason.DUPLICATE_FRAME in verdict.reasons
    off = Engine(parts.pack, load_profile(), Savings(duplicates=False))
    off.assess(frames, references=references)
    assert parts.embedder.batches == [3, 4]


def test_a_reference_of_another_model_reaches_the_decision(parts: Parts) -> None:
    """Choosing a face does not stumble over it; `judge` says what is wrong."""
    foreign = np.ones(512, dtype=np.float32)
    (one,) = parts.engine.assess([frame_of(("anna", 320))], references=[foreign])
    with pytest.raises(Exception, match="512"):
        parts.engine.judge([one], foreign)


def test_only_enrolments_always_look_for_company_at_both_scales(parts: Parts) -> None:
    """A small bystander is a flag of a check, and a reason against a template."""
    parts.engine.detect([frame_of(("anna", 320))])
    assert parts.detector.small_first
    parts.engine.enrol(frame_of(("anna", 320)))
    assert not parts.detector.small_first


def test_an_enrolment_saves_nothing_that_was_switched_off(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has photographs looked at large has them looked at so for templates, too."""
    asked: list[Savings] = []
    look = saving.detect
    monkeypatch.setattr(
        "verifier.pipeline.savings.detect",
        lambda frames, detector, savings, last=None: (
            asked.append(savings)
            or look(frames, detector, replace(savings, small_looks=True), last)
        ),
    )
    parts.engine.with_savings(Savings(small_looks=False)).enrol(frame_of(("anna", 320)))
    assert asked == [Savings(small_looks=False, small_first=False)]


def test_enrolment_gives_an_embedding_or_reasons(parts: Parts) -> None:
    """Never both, never neither."""
    good = parts.engine.enrol(frame_of(("anna", 320)))
    assert good.reasons == ()
    assert good.embedding == pytest.approx(VECTORS["anna"], abs=0.1)
    assert good.quality is not None
    for frame, reason in (
        (frame_of(), Reason.NO_FACE),
        (frame_of(("anna", 320), ("ben", 200)), Reason.SEVERAL_FACES),
        (frame_of(("anna", 90)), Reason.FACE_TOO_SMALL),
        (hidden_eyes("anna"), Reason.EYES_HIDDEN),
    ):
        refused = parts.engine.enrol(frame)
        assert refused.embedding is None
        assert reason in refused.reasons


def test_somebody_far_behind_does_not_spoil_an_enrolment(parts: Parts) -> None:
    """A face below a third of the largest is background."""
    assert parts.engine.enrol(frame_of(("anna", 320), ("ben", 80))).reasons == ()


def test_a_reference_for_one_comparison_may_be_less_than_perfect(parts: Parts) -> None:
    """Company and covers are allowed then, the limits are those of a probe; no face is not."""
    for frame in (
        frame_of(("anna", 320), ("ben", 200)),
        hidden_eyes("anna"),
        frame_of(("anna", 90)),
    ):
        reference = parts.engine.enrol(frame, strict=False)
        assert reference.reasons == ()
        assert reference.embedding == pytest.approx(VECTORS["anna"], abs=0.2)
    assert parts.engine.enrol(frame_of(), strict=False).reasons == (Reason.NO_FACE,)


def test_timings_are_added_per_stage(parts: Parts) -> None:
    """One dictionary can collect several calls; verdicts carry it."""
    timings: dict[str, float] = {"decode": 3.0}
    evidence = parts.engine.assess([frame_of(("anna", 320))], timings_ms=timings)
    assert set(timings) == {"decode", "detect", "quality", "embed", "liveness"}
    before = dict(timings)
    parts.engine.assess([frame_of(("anna", 320))], timings_ms=timings)
    assert all(timings[stage] > before[stage] for stage in before if stage != "decode")
    verdict = parts.engine.judge(evidence, VECTORS["anna"], timings_ms=timings)
    assert verdict.timings_ms == timings


def test_lengths_must_agree(parts: Parts) -> None:
    """Faces and references belong to frames one by one."""
    with pytest.raises(ValueError, match="2 references"):
        parts.engine.assess([frame_of(("anna", 320))], references=[None, None])


def test_no_frames_no_evidence(parts: Parts) -> None:
    """An empty batch is no error."""
    assert parts.engine.assess([]) == []


def test_a_pack_without_thresholds_is_refused_at_once(parts: Parts) -> None:
    """An engine that could not judge is never built."""
    embedder: Any = TintEmbedder()
    embedder.name = "w600k_r50"
    with pytest.raises(ConfigurationError, match="w600k_r50"):
        Engine(replace(parts.pack, embedder=embedder), load_profile())


def test_threads_do_not_mix_people(parts: Parts) -> None:
    """Many batches at a time: everybody gets his own face, reference and score."""
    names = list(TINTS)

    def run(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        people = [names[i] for i in rng.integers(0, 3, 5)]
        frames = [frame_of((who, int(rng.integers(200, 320)))) for who in people]
        evidence = parts.engine.assess(frames, references=[VECTORS[who] for who in people])
        return all(
            one.digest == frame.digest
            and one.embedding is not None
            and float(one.embedding @ VECTORS[who]) > 0.9
            and one.liveness_score == pytest.approx(0.01 if who == "carl" else 0.99)
            for who, frame, one in zip(people, frames, evidence, strict=True)
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(24)))


def test_the_self_test_notices_a_detector_that_finds_nothing(parts: Parts) -> None:
    """The drawn face carries no marker, so this detector is blind to it."""
    with pytest.raises(InferenceFailed, match="0 faces") as caught:
        parts.engine.self_test()
    assert caught.value.remedy


@pytest.mark.parametrize("share", [1.0, 0.9])
def test_a_crop_that_serves_quality_and_embedder_is_cut_once(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """The embedder's own template is asked for only where it is another than the canonical."""
    cut: list[np.ndarray] = []

    def spy(frames: Any, faces: Any, template: np.ndarray, side: int) -> Any:
        cut.append(template)
        return align(frames, faces, template, side)

    parts.embedder.template = TintEmbedder.template * np.float32(share)
    engine = Engine(parts.pack, load_profile())
    monkeypatch.setattr("verifier.pipeline.engine.align", spy)
    monkeypatch.setattr("verifier.pipeline.embed.align", spy)
    (one,) = engine.assess([frame_of(("anna", 320))])
    assert one.embedding == pytest.approx(VECTORS["anna"], abs=0.1)
    assert len(cut) == (1 if share == 1.0 else 2)
    assert np.array_equal(cut[-1], parts.embedder.template)
