"""How others do the same check with the same weights: the peers of `benchmarks.peers`.

Each does what its users do: one frame at a time, one face at a time, one onnxruntime session or
OpenCV network per file, graphs as they come. Nothing of ours helps or hinders them, but for one
thread per session: every peer is measured on one core.
"""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import cv2
import numpy as np

from benchmarks.graphs import PROVIDERS, fixed_graph, plain_options, plain_session
from verifier.errors import BenrenError, InstallationError, ModelError, ModelMissing
from verifier.models.embedder import REIDENTIFICATION
from verifier.models.liveness import SHIFTED_2_7, SHIFTED_4_0, SQUARE_1_5, LivenessContract

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verifier.models.liveness import Box
    from verifier.models.store import Store
    from verifier.types import Image, Vector

LIVENESS: Final = (
    ("minifasnet_v2_80x80_scale2.7", SHIFTED_2_7),
    ("minifasnet_v1se_80x80_scale4.0", SHIFTED_4_0),
    ("minifasnet_v2se_128x128_pad1.5", SQUARE_1_5),
)
SCRFD_SIDE: Final = 640
"""``FaceAnalysis.prepare(det_size=(640, 640))``, the value of InsightFace's examples."""
YUNET_SCORE: Final = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a check of one frame says."""

    embedding: Vector | None
    """(d,) float32, L2-normalised; None where no face was found."""
    similarity: float | None
    liveness: tuple[float, ...]
    """Probability of live of each network."""
    quality: tuple[float, ...] = ()


NOBODY: Final = Answer(embedding=None, similarity=None, liveness=())


class Checker(Protocol):
    """Does whole checks: decode, detect, align, quality, liveness, embed, compare."""

    def check(self, jpeg: bytes, reference: Vector | None) -> Answer:
        """Check one frame; without a reference nothing is compared."""
        ...


class PlainLiveness:
    """The three liveness networks as their authors run them: one face, one network at a time."""

    def __init__(self, store: Store) -> None:
        self._networks = [
            (plain_session(store.find(name).content), contract) for name, contract in LIVENESS
        ]

    def score(self, image: Image, box: Box) -> tuple[float, ...]:
        """Give each network's probability of live for a box x, y, width, height."""
        scores = []
        for session, contract in self._networks:
            crop = plain_crop(image, box, contract)
            if contract.rgb:
                crop = np.asarray(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB), dtype=np.uint8)
            blob = crop.transpose(2, 0, 1).astype(np.float32)[np.newaxis] / contract.divisor
            logits = session.run(None, {session.get_inputs()[0].name: blob.astype(np.float32)})
            odds = np.exp(logits[0][0] - logits[0][0].max())
            scores.append(float(odds[contract.live_class] / odds.sum()))
        return tuple(scores)


class InsightFace:
    """``insightface.app.FaceAnalysis`` with SCRFD-500M and EdgeFace-XS, and plain liveness."""

    def __init__(self, store: Store, scrfd: Path) -> None:
        """Raise InstallationError or ModelMissing where a part of it is not here."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                from insightface.app import FaceAnalysis  # noqa: PLC0415 - an extra
        except ImportError as missing:
            raise InstallationError(
                f"insightface is not installed or does not load: {missing}.",
                remedy="pip install 'benren[insightface]', or install from the project's lock.",
            ) from missing
        if not scrfd.is_file():
            raise ModelMissing(
                f"{scrfd.name} is not among the models.",
                remedy=f"Put it at research/{scrfd.name} of the models folder.",
            )
        # Upstream calls a function of scikit-image that is deprecated, at every face.
        warnings.filterwarnings("ignore", category=FutureWarning, module="insightface")
        embedder = store.find("edgeface_xs")
        # It opens its files again where it pleases, so the folder stays as long as it does.
        self._folder = tempfile.TemporaryDirectory(prefix="benren-peer-")
        folder = Path(self._folder.name)
        (folder / scrfd.name).write_bytes(scrfd.read_bytes())
        (folder / "edgeface_xs.onnx").write_bytes(embedder.content)
        self._app = FaceAnalysis(
            name=str(folder),
            allowed_modules=["detection", "recognition"],
            providers=list(PROVIDERS),
            sess_options=plain_options(),
        )
        # As its examples call it; the provider stays the CPU, for it is the only one given.
        self._app.prepare(ctx_id=0, det_size=(SCRFD_SIDE, SCRFD_SIDE))
        self._liveness = PlainLiveness(store)

    def check(self, jpeg: bytes, reference: Vector | None) -> Answer:
        """Check the largest face; `FaceAnalysis.get` embeds every face it finds."""
        image = plain_decode(jpeg)
        faces = self._app.get(image)
        if not faces:
            return NOBODY
        face = max(faces, key=lambda one: _area(one.bbox))
        x0, y0, x1, y1 = (float(v) for v in face.bbox)
        vector = np.asarray(face.normed_embedding, dtype=np.float32)
        return Answer(
            embedding=vector,
            similarity=None if reference is None else float(vector @ reference),
            liveness=self._liveness.score(image, (x0, y0, x1 - x0, y1 - y0)),
            quality=plain_quality(image, (x0, y0, x1 - x0, y1 - y0)),
        )


class OpenCv:
    """``cv2.FaceDetectorYN`` and ``cv2.dnn`` with the retail embedder, and plain liveness.

    The importer of OpenCV 4 takes no dynamic sizes, so YuNet is given with its sizes fixed and
    folded, as OpenCV's own model zoo has it. It refuses EdgeFace; folded, it computes it wrongly
    (cosine 0.4 to onnxruntime's result), so this peer embeds with reidentification-retail-0095.
    """

    def __init__(self, store: Store) -> None:
        yunet = fixed_graph(store.find("yunet_n_dynamic").content, (1, 3, 640, 640))
        with tempfile.TemporaryDirectory(prefix="benren-peer-") as folder:
            path = Path(folder) / "yunet.onnx"
            path.write_bytes(yunet)
            try:
                self._detector = cv2.FaceDetectorYN.create(
                    str(path), "", (640, 480), score_threshold=YUNET_SCORE
                )
                content = store.find("face_reidentification_retail_0095").content
                self._embedder = cv2.dnn.readNetFromONNX(np.frombuffer(content, dtype=np.uint8))
            except cv2.error as refused:
                raise ModelError(f"OpenCV {cv2.__version__} refuses a graph: {refused}") from (
                    refused
                )
        self._template = np.asarray(REIDENTIFICATION.template, dtype=np.float32)
        self._liveness = PlainLiveness(store)

    def check(self, jpeg: bytes, reference: Vector | None) -> Answer:
        """Check the largest face."""
        image = plain_decode(jpeg)
        self._detector.setInputSize((image.shape[1], image.shape[0]))
        found = self._detector.detect(image)[1]
        if found is None or not len(found):
            return NOBODY
        row = max(found, key=lambda one: one[2] * one[3])
        box = (float(row[0]), float(row[1]), float(row[2]), float(row[3]))
        matrix = cv2.estimateAffinePartial2D(row[4:14].reshape(5, 2), self._template)[0]
        side = REIDENTIFICATION.side
        crop = cv2.warpAffine(image, matrix, (side, side))
        self._embedder.setInput(cv2.dnn.blobFromImage(crop))
        raw = self._embedder.forward().reshape(-1)
        vector = np.asarray(raw / np.linalg.norm(raw), dtype=np.float32)
        return Answer(
            embedding=vector,
            similarity=None if reference is None else float(vector @ reference),
            liveness=self._liveness.score(image, box),
            quality=plain_quality(image, box),
        )


def plain_decode(jpeg: bytes) -> Image:
    """Decode with ``cv2.imdecode``; raises where the bytes are no picture."""
    image = cv2.imdecode(np.frombuffer(jpeg, dtype=np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise BenrenError("A frame of the benchmark is no picture.")
    return np.asarray(image, dtype=np.uint8)


def plain_quality(image: Image, box: Box) -> tuple[float, float]:
    """Measure sharpness and brightness of the face, the two that everybody looks at."""
    x, y, width, height = (int(v) for v in box)
    part = image[max(y, 0) : max(y + height, 1), max(x, 0) : max(x + width, 1)]
    grey = cv2.resize(cv2.cvtColor(part, cv2.COLOR_BGR2GRAY), (112, 112))
    return float(cv2.Laplacian(grey, cv2.CV_64F).var()), float(grey.mean())


def plain_crop(image: Image, box: Box, contract: LivenessContract) -> Image:
    """Cut what a liveness network wants, by the geometry of its authors' repositories."""
    height, width = image.shape[:2]
    x, y, box_width, box_height = box
    side = contract.side
    if contract.geometry == "shifted":
        scale = min((height - 1) / box_height, (width - 1) / box_width, contract.scale)
        x0, x1 = _shifted(x + box_width / 2, box_width * scale, width)
        y0, y1 = _shifted(y + box_height / 2, box_height * scale, height)
        part = image[y0 : y1 + 1, x0 : x1 + 1]
        return np.asarray(cv2.resize(part, (side, side)), dtype=np.uint8)
    length = int(max(box_width, box_height) * contract.scale)
    left = int(x + box_width / 2 - length / 2)
    top = int(y + box_height / 2 - length / 2)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + length, width), min(top + length, height)
    square = cv2.copyMakeBorder(
        image[y0:y1, x0:x1],
        y0 - top,
        top + length - y1,
        x0 - left,
        left + length - x1,
        cv2.BORDER_REFLECT_101,
    )
    method = cv2.INTER_AREA if length > side else cv2.INTER_LANCZOS4
    return np.asarray(cv2.resize(square, (side, side), interpolation=method), dtype=np.uint8)


def _shifted(centre: float, length: float, limit: int) -> tuple[int, int]:
    first = max(min(centre - length / 2, limit - 1 - length), 0.0)
    return int(first), min(int(first + length), limit - 1)


def _area(box: NDArray[np.float32]) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))
