"""The manifest: complete, consistent with the code, and strict."""

import tomllib

import pytest
from pydantic import ValidationError

from verifier.errors import ModelError
from verifier.models import embedder, liveness
from verifier.models.manifest import BUNDLED, bundled_manifest, parse_manifest
from verifier.models.prepare.build import bundled_recipes

TEXT = BUNDLED.read_text(encoding="utf-8")


def test_the_default_pack_may_be_sold():
    """The pack `open` is Apache-2.0 throughout, as its summary says."""
    assert {file.licence for file in bundled_manifest().members("open")} == {"Apache-2.0"}
    assert {file.commercial for file in bundled_manifest().members("open")} == {"yes"}


def test_the_packs_differ_in_the_embedder_only():
    """`edgeface` is `open` with another embedder, and says that its terms are to be checked."""
    ours, other = bundled_manifest().pack("open"), bundled_manifest().pack("edgeface")
    differing = {k for k, v in ours.model_dump().items() if v != other.model_dump()[k]}
    assert differing == {"embedder", "summary"}
    assert bundled_manifest().file(other.embedder).commercial == "check"


def test_a_pack_has_a_network_for_every_role():
    """Detector, embedder, three liveness networks, mesh and iris."""
    roles = [file.role for file in bundled_manifest().members("open")]
    assert roles == ["detector", "embedder", "liveness", "liveness", "liveness", "mesh", "iris"]


def test_only_exact_copies_have_an_address():
    """An upstream address stands where the bytes are the same, and is pinned to a commit."""
    for file in bundled_manifest().files.values():
        assert (file.upstream is not None) == (file.prepared == "byte for byte"), file.name
        if file.upstream is not None:
            assert file.upstream.endswith(
                f"/{file.origin.repository}/{file.origin.commit}/{file.origin.path}"
            )


def test_preparable_means_that_there_is_a_recipe():
    """The flag and the recipes name the same files, and every member of `open` can be had."""
    manifest = bundled_manifest()
    flagged = {name for name, file in manifest.files.items() if file.preparable}
    assert flagged == set(bundled_recipes().recipes)
    assert all(file.upstream or file.preparable for file in manifest.members("open"))


def test_embedder_contracts_say_what_the_code_does():
    """Side, colour order and scaling in the manifest are those of the embedder's contract."""
    for file in bundled_manifest().files.values():
        if file.role != "embedder":
            continue
        contract = embedder.CONTRACTS[file.contract]
        assert (file.input.height, file.input.width) == (contract.side, contract.side)
        assert (file.input.colour == "RGB") == contract.rgb
        assert file.input.mean == contract.mean
        assert 1 / file.input.divisor == pytest.approx(contract.scale)


def test_liveness_contracts_say_what_the_code_does():
    """The same for liveness, with the class that means live."""
    for file in bundled_manifest().files.values():
        if file.role != "liveness":
            continue
        contract = liveness.CONTRACTS[file.contract]
        assert (file.input.height, file.input.width) == (contract.side, contract.side)
        assert (file.input.colour == "RGB") == contract.rgb
        assert file.input.divisor == contract.divisor
        assert f"class {contract.live_class} is live" in file.outputs[0].meaning
        assert str(contract.scale) in file.input.crop


def test_variants_count_as_the_file_and_nothing_else_does():
    """Digest and size have to fit together."""
    file = bundled_manifest().file("minifasnet_v2_80x80_scale2.7")
    variant = file.variants[0]
    assert file.accepts(file.sha256, file.size)
    assert file.accepts(variant.sha256, variant.size)
    assert not file.accepts(file.sha256, file.size + 1)
    assert not file.accepts("0" * 64, file.size)
    assert file.max_size == max(file.size, variant.size)


def test_the_manifest_cannot_be_changed():
    """Records are frozen."""
    with pytest.raises(ValidationError, match="frozen"):
        bundled_manifest().file("iris").size = 1


@pytest.mark.parametrize("lookup", ["file", "pack", "members"])
def test_unknown_names_list_the_known_ones(lookup):
    """A misspelt name is answered with the right ones."""
    with pytest.raises(ModelError, match="'opne'") as caught:
        getattr(bundled_manifest(), lookup)("opne")
    assert ("yunet_n_dynamic" if lookup == "file" else "open, edgeface") in caught.value.remedy


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("size = 322906", "size = 322906\ncolour_order = 'BGR'", "colour_order"),
        ("size = 322906", "size = 0", "greater than 0"),
        ("size = 322906", "size = 99999999999", "less than or equal"),
        ('sha256 = "104e', 'sha256 = "XX4e', "pattern"),
        ('path = "open/iris.onnx"', 'path = "../iris.onnx"', "pattern"),
        ('path = "open/iris.onnx"', 'path = "open/other.onnx"', "does not end in iris.onnx"),
        ('detector = "yunet_n_dynamic"', 'detector = "yunet"', "names yunet, which is no file"),
        ('mesh = "facemesh"', 'mesh = "edgeface_xxs"', "uses edgeface_xxs as mesh"),
        ('licence = "BSD-3-Clause"\n', "", "licence"),
        ("version = 1", "version = 2", "version"),
        ("[packs.open]", "[packs.open", "not valid"),
        ("https://raw", "http://raw", "pattern"),
        ('onnx/yunet_n_dynamic.onnx"\norigin', 'onnx/yunet.onnx"\norigin', "not the address"),
        (
            "aa16efc7cbc1277c5a83949a5f7119d24e20a3f960816d445475da3a7d295bd9",
            "89bc4c80e092f4c0d62e65111426d0aa61127a6c6e6bc44af97c74b44fd83c17",
            "same digest",
        ),
    ],
)
def test_a_wrong_manifest_is_refused_by_name(before, after, message):
    """Unknown keys, impossible values and packs that do not fit are told with the file's name."""
    assert before in TEXT
    with pytest.raises(ModelError, match=message) as caught:
        parse_manifest(TEXT.replace(before, after), source="mine.toml")
    assert "mine.toml" in str(caught.value)


def test_the_manifest_names_no_machine():
    """Weights are described without paths of anybody's machine."""
    assert "/work/" not in TEXT
    assert "/home/" not in TEXT
    assert tomllib.loads(TEXT)["version"] == 1
