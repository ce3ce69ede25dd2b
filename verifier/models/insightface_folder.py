"""What an InsightFace folder holds: which file detects, which embeds, and what each wants.

The rules are those of the ``insightface`` package: a manifest of version 2 decides, else the
shapes of the networks do. Only the graphs are read here; nothing runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import onnx
from google.protobuf.message import DecodeError

from verifier.errors import InstallationError, ModelAltered, ModelError, ModelMissing
from verifier.models.embedder import ARCFACE, EmbedderContract
from verifier.models.manifest import MAX_FILE_BYTES, Manifest
from verifier.models.pixels import Pixels
from verifier.models.weights import Weights

_SCRFD_OUTPUTS: Final = 9
"""Scores, boxes and landmarks at three strides."""
_ARCFACE_SIDE: Final = 112
_SCRFD_SCALING: Final = (127.5, 128.0)
"""InsightFace's own, where no manifest says otherwise."""

Task: TypeAlias = Literal["detector", "embedder"]

_NEEDED: Final[dict[Task, str]] = {
    "detector": "SCRFD detector with landmarks (nine outputs)",
    "embedder": "ArcFace embedder (112×112 in, one output)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderContent:
    """What Benren uses of an InsightFace folder."""

    folder: Path
    detector: Weights
    sides: tuple[int, ...] | None
    """The only picture sizes that the detector takes, px; None where multiples of 32 will do."""
    scaling: tuple[float, float]
    """What is taken off the values 0..255 of a picture, and what they are divided by."""
    embedder: Weights
    contract: EmbedderContract
    """What the embedder wants of its crops."""

    @property
    def pixels(self) -> Pixels:
        """What becomes of the pixels of the detector's pictures."""
        mean, divisor = self.scaling
        return Pixels(rgb=True, mean=mean, scale=1 / divisor)

    @property
    def digests(self) -> dict[str, str]:
        """File name -> SHA-256 of both files."""
        return {weights.path.name: weights.sha256 for weights in (self.detector, self.embedder)}


def read_folder(folder: Path, manifest: Manifest) -> FolderContent:
    """Pick the detector and the embedder of `folder`, as the ``insightface`` package would.

    With a manifest of version 2 it decides; else the first file of each kind by name. Files that
    are neither (ages, dense landmarks) are left alone. Raises `ModelMissing` where one of the two
    is not there, `ModelAltered` where a file bears a name of Benren's manifest but not its digest.
    """
    package = _package(folder)
    paths = sorted(folder.glob("*.onnx")) if package is None else _package_paths(package)
    chosen: dict[Task, tuple[Weights, onnx.ModelProto]] = {}
    for path in paths:
        weights = _read(path)
        model = _parsed(weights)
        task = _task(model)
        if task is not None and task not in chosen:
            chosen[task] = (weights, model)
    for needed, what in _NEEDED.items():
        if needed not in chosen:
            raise ModelMissing(
                f"{folder} has no {what}; it holds"
                f" {', '.join(path.name for path in paths) or 'no .onnx file at all'}.",
                remedy="Use a folder with both, like that of buffalo_s.",
            )
        _check_known(chosen[needed][0], manifest)
    (detector, graph), (embedder, arcface) = chosen["detector"], chosen["embedder"]
    mean, divisor = _embedder_scaling(package, arcface)
    return FolderContent(
        folder=folder,
        detector=detector,
        sides=_fixed_sides(graph),
        scaling=_detector_scaling(package),
        embedder=embedder,
        contract=EmbedderContract(
            side=_ARCFACE_SIDE, template=ARCFACE.template, rgb=True, mean=mean, scale=1 / divisor
        ),
    )


def from_package(module: str, attribute: str) -> Callable[..., Any]:
    """Import a function of the ``insightface`` package; raises `InstallationError` without it."""
    try:
        found = __import__(module, fromlist=[attribute])
    except ImportError as missing:
        raise InstallationError(
            f"This needs the insightface package, which does not load: {missing}.",
            remedy="Run: pip install 'benren[insightface]' (without opencv-python, see README).",
        ) from missing
    function: Callable[..., Any] = getattr(found, attribute)
    return function


def _package(folder: Path) -> Any | None:
    """Return the package's descriptor of a folder with a manifest of version 2, else None."""
    if not (folder / "manifest.json").is_file():
        return None
    module = "insightface.model_zoo.package_manifest"
    if not from_package(module, "has_model_package_manifest")(folder):
        return None
    try:
        package = from_package(module, "load_model_package")(folder)
        for task in package.tasks.values():
            from_package(module, "verify_model_artifact")(task)
    except (OSError, RuntimeError, TypeError, ValueError) as wrong:
        raise ModelAltered(
            f"{folder / 'manifest.json'} and the files beside it do not fit: {wrong}.",
            remedy="Pull the pack again.",
        ) from wrong
    return package


def _package_paths(package: Any) -> Sequence[Path]:
    """List the detection and the recognition file of a package with a manifest."""
    tasks = (package.tasks.get(task) for task in ("detection", "recognition"))
    return [task.path for task in tasks if task is not None]


def _detector_scaling(package: Any | None) -> tuple[float, float]:
    """Say what is taken off the values of a picture, and what they are divided by."""
    return _SCRFD_SCALING if package is None else _stated(package, "detection")


def _embedder_scaling(package: Any | None, model: onnx.ModelProto) -> tuple[float, float]:
    """Say the same of an embedder's crop."""
    if package is not None:
        return _stated(package, "recognition")
    # Networks out of MXNet scale by themselves (insightface ``ArcFaceONNX.__init__``).
    first = [node.name for node in model.graph.node[:8]]
    subtracts = any(name.startswith(("Sub", "_minus")) for name in first)
    multiplies = any(name.startswith(("Mul", "_mul")) for name in first)
    return (0.0, 1.0) if subtracts and multiplies else (127.5, 127.5)


def _stated(package: Any, task: str) -> tuple[float, float]:
    given = package.tasks[task].metadata["preprocessing"]
    return (0.0, 1.0) if given == "embedded" else (given["mean"], given["std"])


def _read(path: Path) -> Weights:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ModelError(
                f"{path} is larger than {MAX_FILE_BYTES} bytes.", remedy="Use a smaller network."
            )
        return Weights.of(path, path.read_bytes())
    except OSError as refused:
        raise ModelError(
            f"{path} cannot be read: {refused.strerror or refused}.", remedy="Allow reading it."
        ) from refused


def _parsed(weights: Weights) -> onnx.ModelProto:
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(weights.content)
    except DecodeError as broken:
        raise ModelError(
            f"{weights.path} is not an ONNX file: {broken}.", remedy="Put the original there."
        ) from broken
    return model


def _task(model: onnx.ModelProto) -> Task | None:
    shape = _input_shape(model)
    if len(model.graph.output) == _SCRFD_OUTPUTS and len(shape) == 4:
        return "detector"
    if len(model.graph.output) == 1 and shape[1:] == (3, _ARCFACE_SIDE, _ARCFACE_SIDE):
        return "embedder"
    return None


def _fixed_sides(model: onnx.ModelProto) -> tuple[int, ...] | None:
    height, width = _input_shape(model)[2:]
    if height == 0 and width == 0:
        return None
    if height != width:
        raise ModelError(
            f"The detector takes pictures of {width}×{height} px only, which is no square.",
            remedy="Use a detector with open or square sizes.",
        )
    return (height,)


def _input_shape(model: onnx.ModelProto) -> tuple[int, ...]:
    """Shape of the only input, 0 for an open size; empty where there is not exactly one."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        return ()
    return tuple(dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim)


def _check_known(weights: Weights, manifest: Manifest) -> None:
    known = manifest.files.get(weights.name)
    if known is not None and known.sha256 != weights.sha256:
        raise ModelAltered(
            f"{weights.path} is altered: its SHA-256 is {weights.sha256}, expected {known.sha256}.",
            remedy="Put the original there, or give the file another name.",
        )
