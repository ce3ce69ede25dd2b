"""MiniFASNet state dictionaries to ONNX: the same network as the pinned file."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from verifier.errors import ModelError
from verifier.models.prepare import minifasnet, torch_state

FILES = [
    ("2.7_80x80_MiniFASNetV2.pth", "minifasnet_v2_80x80_scale2.7.onnx"),
    ("4_0_0_80x80_MiniFASNetV1SE.pth", "minifasnet_v1se_80x80_scale4.0.onnx"),
]


def test_a_state_dictionary_of_something_else_is_refused() -> None:
    """Neither 49 nor 55 convolutions: not a MiniFASNet that we know."""
    with pytest.raises(ModelError, match="MiniFASNet"):
        minifasnet.convert({"module.conv.weight": np.zeros((1, 1, 3, 3), np.float32)})


@pytest.mark.models
def test_a_missing_weight_is_named(pack_dir: Path) -> None:
    """A dictionary with a hole says which weight is missing."""
    state = torch_state.read((pack_dir / "upstream" / FILES[0][0]).read_bytes())
    del state["module.bn.running_var"]
    with pytest.raises(ModelError, match=r"bn\.running_var"):
        minifasnet.convert(state)


@pytest.mark.models
@pytest.mark.parametrize(("source", "pinned"), FILES)
def test_the_network_is_the_pinned_one(pack_dir: Path, source: str, pinned: str) -> None:
    """Same nodes, names and shapes; weights within the last bits; logits within 1e-5."""
    built = minifasnet.convert(torch_state.read((pack_dir / "upstream" / source).read_bytes()))
    reference = onnx.load(pack_dir / "open" / pinned)
    assert list(built.graph.node) == list(reference.graph.node)
    assert built.graph.input == reference.graph.input
    assert built.graph.output == reference.graph.output
    for ours, theirs in zip(built.graph.initializer, reference.graph.initializer, strict=True):
        assert (ours.name, ours.dims) == (theirs.name, theirs.dims)
        np.testing.assert_allclose(
            numpy_helper.to_array(ours), numpy_helper.to_array(theirs), rtol=1e-4, atol=1e-6
        )
    x = np.random.default_rng(0).uniform(0, 255, (8, 3, 80, 80)).astype(np.float32)
    ours, theirs = (
        onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        ).run(None, {"x": x})[0]
        for model in (built, reference)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
