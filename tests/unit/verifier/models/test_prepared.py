"""Rewritten graphs on disk: made once, proven, and never used where anything is wrong with them."""

from __future__ import annotations

import errno
import json
import logging
import os
import pwd
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from verifier.errors import ModelDeviates, ModelError
from verifier.models import prepared as module
from verifier.models.ort import OnnxRuntime
from verifier.models.pixels import Pixels
from verifier.models.prepare.proof import Proof
from verifier.models.prepare.rewriting import EXACT, Rewriting
from verifier.models.prepared import PreparedGraphs
from verifier.models.runtime import Runtime
from verifier.models.weights import Weights

PIXELS = Pixels(rgb=True, mean=127.5, scale=1 / 127.5)


@pytest.fixture
def network() -> Weights:
    """A convolution of pictures and a PReLU: something to rewrite."""
    return make("network")


def make(name: str, seed: int = 9) -> Weights:
    """Weights of one name and seed."""
    random = np.random.default_rng(seed)
    constants = {
        "w": random.normal(size=(4, 3, 3, 3)),
        "b": random.normal(size=4),
        "s": random.uniform(0, 0.9, size=(4, 1, 1)),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1] * 4),
            helper.make_node("PRelu", ["c", "s"], ["p"]),
            helper.make_node("GlobalAveragePool", ["p"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4, 1, 1])],
        [numpy_helper.from_array(a.astype(np.float32), n) for n, a in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return Weights.of(Path(f"/nowhere/{name}.onnx"), model.SerializeToString())


def load(folder: Path | None, weights: Weights, *, anew: bool = False) -> PreparedGraphs:
    """Load a network with its graphs in `folder`, and give them."""
    graphs = PreparedGraphs(folder, anew=anew)
    Runtime(threads=1, warm_up=False, graphs=graphs).load(weights, PIXELS)
    return graphs


def entry(folder: Path) -> Path:
    """The one entry."""
    (path,) = folder.iterdir()
    return path


def test_a_graph_is_made_once(tmp_path: Path, network: Weights) -> None:
    """The second start finds what the first one proved, and is spared the work."""
    first = load(tmp_path / "deep" / "prepared", network)
    (proof,) = first.proofs
    assert proof.network == "network"
    assert proof.deviation <= proof.tolerance == EXACT
    assert proof.on == "4 crops of a drawn face"
    path = entry(tmp_path / "deep" / "prepared")
    header = json.loads(path.read_bytes().split(b"\n", 1)[0])
    assert header["network"] == network.id
    assert header["deviation"] == proof.deviation
    assert path.stat().st_mode & 0o777 == 0o644
    assert load(tmp_path / "deep" / "prepared", network).proofs == ()


def test_what_is_kept_is_what_was_made(
    tmp_path: Path, network: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes go to the engine at the second start."""
    given: list[bytes] = []
    original = OnnxRuntime._session

    def session(self: OnnxRuntime, weights: Weights, content: bytes) -> object:
        given.append(content)
        return original(self, weights, content)

    monkeypatch.setattr(OnnxRuntime, "_session", session)
    load(tmp_path, network)
    load(tmp_path, network)
    assert given == [network.content, given[1], given[1], given[1]]
    assert given[1] != network.content


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _behead(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":2', 1))


def _swap(path: Path) -> None:
    """Put the sound graph of another network there."""
    folder = path.parent / "other"
    load(folder, make("network", seed=10))
    path.write_bytes(entry(folder).read_bytes())


def _open_to_others(path: Path) -> None:
    path.chmod(0o666)


def _open_folder(path: Path) -> None:
    path.parent.chmod(0o777)


SPOILT: dict[str, tuple[Callable[[Path], None], str]] = {
    "a bit": (_flip, "digest"),
    "the end": (_cut, "digest"),
    "more than all": (_lengthen, "digest"),
    "nothing": (_empty, "first line"),
    "the first line": (_behead, "first line"),
    "another graph": (_swap, "something else"),
    "rights": (_open_to_others, "others may write"),
    "rights of the folder": (_open_folder, "others may write"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_what_is_damaged_is_made_again(
    tmp_path: Path, network: Weights, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """Whatever happened to an entry, it is not used, it is told, and a sound one comes."""
    spoil, told = SPOILT[how]
    load(tmp_path, network)
    path = entry(tmp_path)
    sound = path.read_bytes()
    spoil(path)
    caplog.clear()
    assert len(load(tmp_path, network).proofs) == 1
    assert told in caplog.text
    if how != "rights of the folder":  # nothing is kept there
        assert path.read_bytes() == sound
        assert load(tmp_path, network).proofs == ()


def test_an_entry_of_another_user_is_not_used(
    tmp_path: Path,
    network: Weights,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Only this user and root can stand in for a file whose digest is proven."""
    load(tmp_path, network)
    if os.geteuid() == 0:
        os.chown(entry(tmp_path), 12_345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12_345)
    assert len(load(tmp_path, network).proofs) == 1
    assert "belongs to user" in caplog.text


def test_a_graph_is_bound_to_all_that_made_it() -> None:
    """Another file, step, normalisation or engine is another graph."""
    steps = [
        Rewriting(blocks=True),
        Rewriting(blocks=True, pixels=PIXELS),
        Rewriting(blocks=True, pixels=Pixels(rgb=True, mean=127.5, scale=1 / 128)),
        Rewriting(half=True),
    ]
    keys = {one.key("a" * 64, "engine 1") for one in steps}
    keys |= {steps[0].key("b" * 64, "engine 1"), steps[0].key("a" * 64, "engine 2")}
    assert len(keys) == len(steps) + 2


def test_another_code_is_another_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new version of Benren or of onnx makes graphs anew."""
    from verifier.models.prepare import rewriting

    before = Rewriting(blocks=True).key("a" * 64, "e")
    monkeypatch.setattr(rewriting, "version", lambda: "another")
    assert Rewriting(blocks=True).key("a" * 64, "e") != before


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_costs_no_start(
    tmp_path: Path,
    network: Weights,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    """The graph is made and proven in memory at every start, and the log says what to do."""

    def refused(**_arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "mkstemp", refused)
    for _ in range(2):
        caplog.clear()
        assert len(load(tmp_path, network).proofs) == 1
        assert os.strerror(number) in caplog.text
        assert "BENREN_PREPARED" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_no_folder_costs_no_start(
    tmp_path: Path, network: Weights, caplog: pytest.LogCaptureFixture
) -> None:
    """A file in the way is told."""
    (tmp_path / "prepared").write_text("in the way")
    assert len(load(tmp_path / "prepared", network).proofs) == 1
    assert "is not kept" in caplog.text


def test_who_prepares_wants_it_kept(tmp_path: Path, network: Weights) -> None:
    """`benren models prepare` fails where it has prepared nothing."""
    (tmp_path / "prepared").write_text("in the way")
    with pytest.raises(ModelError, match="network is not kept") as caught:
        load(tmp_path / "prepared", network, anew=True)
    assert "BENREN_PREPARED" in caught.value.remedy


def test_anew_proves_what_is_there(tmp_path: Path, network: Weights) -> None:
    """Preparing again runs the proof again."""
    load(tmp_path, network)
    assert len(load(tmp_path, network, anew=True).proofs) == 1


def test_nothing_to_rewrite_leaves_nothing(tmp_path: Path, doubling: Weights) -> None:
    """A graph that stays as it is needs no second copy."""
    graphs = PreparedGraphs(tmp_path)
    Runtime(threads=1, warm_up=False, graphs=graphs).load(doubling)
    assert graphs.proofs == ()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("worse", [1 + 1e-3, float("nan")])
def test_a_rewriting_that_gives_other_numbers_is_refused(
    tmp_path: Path, network: Weights, monkeypatch: pytest.MonkeyPatch, worse: float
) -> None:
    """A tenth of a per cent more on every output is too much; nothing of it is kept."""
    import onnx

    apply = Rewriting.apply

    def broken(self: Rewriting, content: bytes) -> bytes:
        model = onnx.ModelProto.FromString(apply(self, content))
        last = model.graph.node[-1]
        model.graph.node.append(helper.make_node("Mul", ["y/right", "worse"], ["y"]))
        last.output[0] = "y/right"
        factor = numpy_helper.from_array(np.array(worse, np.float32), "worse")
        model.graph.initializer.append(factor)
        return model.SerializeToString()

    monkeypatch.setattr(Rewriting, "apply", broken)
    with pytest.raises(ModelDeviates, match="rewritten graph of network") as caught:
        load(tmp_path, network)
    assert "locked versions" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_bounded(
    tmp_path: Path, network: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was longest unused goes; reading counts as use, and the newest always stays."""
    monkeypatch.setattr(module, "MAX_ENTRIES", 3)
    for age, name in enumerate(("a", "b", "c")):
        load(tmp_path, make(name))
        (path,) = tmp_path.glob(f"{name}-*")
        os.utime(path, (time.time() - 100 + age,) * 2)
    load(tmp_path, make("a"))  # read: now "b" is the one longest unused
    load(tmp_path, network)
    assert {path.name[:1] for path in tmp_path.iterdir()} == {"a", "c", "n"}
    monkeypatch.setattr(module, "MAX_BYTES", 1_000_000)
    monkeypatch.setattr(module, "MAX_ENTRIES", 99)
    (tmp_path / f"old-{'0' * 32}.graph").write_bytes(bytes(1_000_000))
    os.utime(tmp_path / f"old-{'0' * 32}.graph", (1, 1))
    load(tmp_path, make("z"))
    assert {path.name[:1] for path in tmp_path.iterdir()} == {"a", "c", "n", "z"}


def test_what_dead_processes_left_goes(tmp_path: Path, network: Weights) -> None:
    """Half-written files of an hour ago are taken away, those of others at work are not."""
    dead, alive = tmp_path / ".x-0.graph.abc", tmp_path / ".y-0.graph.abc"
    for path in (dead, alive):
        path.write_bytes(b"half")
    os.utime(dead, (1, 1))
    load(tmp_path, network)
    assert not dead.exists()
    assert alive.exists()


PROCESS = """
import sys
from pathlib import Path
import numpy as np
from verifier.models.pixels import Pixels
from verifier.models.prepared import PreparedGraphs
from verifier.models.runtime import Runtime
from verifier.models.weights import Weights
path, folder = Path(sys.argv[1]), Path(sys.argv[2])
pixels = Pixels(rgb=True, mean=127.5, scale=1 / 127.5)
print("ready", flush=True)
sys.stdin.readline()
weights = Weights.of(path, path.read_bytes())
for _ in range(20):
    graphs = PreparedGraphs(folder, anew=sys.argv[3] == "anew")
    network = Runtime(threads=1, warm_up=False, graphs=graphs).load(weights, pixels)
print(network.run(np.ones((1, 16, 16, 3), np.uint8))[0].ravel().tolist())
"""


def test_two_processes_at_once(tmp_path: Path, network: Weights) -> None:
    """One writes and another reads for a while: both run, and one sound entry is left."""
    file, folder = tmp_path / "network.onnx", tmp_path / "prepared"
    file.write_bytes(network.content)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(file), str(folder), how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for how in ("anew", "anew", "read")
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    told = [process.communicate("go\n", timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], told
    assert len({out for out, _ in told}) == 1
    assert not any("is not used" in err or "is not kept" in err for _, err in told), told
    assert len(list(folder.iterdir())) == 1
    assert load(folder, network).proofs == ()


def test_the_folder_can_be_named() -> None:
    """BENREN_PREPARED, else the user's cache."""
    named = PreparedGraphs.default({"BENREN_PREPARED": "/srv/graphs", "HOME": "/h"})
    assert named.folder == Path("/srv/graphs")
    assert PreparedGraphs.default({"HOME": "/h"}).folder == Path("/h/.cache/benren/prepared")


@pytest.mark.parametrize("environ", [{}, {"BENREN_PREPARED": "~/graphs"}])
def test_who_has_no_home_starts_without_a_folder(
    environ: dict[str, str],
    network: Weights,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A uid of no account and no HOME, as in containers: graphs are made in memory."""
    homeless(monkeypatch)
    graphs = PreparedGraphs.default(environ)
    assert graphs.folder is None
    assert "HOME" in caplog.text
    assert "every start" in caplog.text
    Runtime(threads=1, warm_up=False, graphs=graphs).load(network, PIXELS)
    assert len(graphs.proofs) == 1
    with pytest.raises(ModelError) as refused:  # who has to keep them cannot
        PreparedGraphs.default(environ, anew=True)
    assert "BENREN_PREPARED" in refused.value.remedy
    named = PreparedGraphs.default({"BENREN_PREPARED": "/srv/graphs"})
    assert named.folder == Path("/srv/graphs")


def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as a user of no account."""

    def no_account(_: int) -> Any:
        raise KeyError("uid not found")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", no_account)


def test_a_start_is_told(
    tmp_path: Path, network: Weights, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says what was rewritten, for what, and how exactly."""
    caplog.set_level(logging.INFO, logger="benren.models")
    load(tmp_path, network)
    assert "network: rewritten for CPUExecutionProvider, off by" in caplog.text


def test_a_proof_says_itself_in_one_line() -> None:
    """For the log and for `benren models prepare`."""
    proof = Proof(
        network="n", provider="p", deviation=3e-7, tolerance=1e-4, on="4 crops of a drawn face"
    )
    assert proof.told() == "off by 3e-07 of 1e-04 on 4 crops of a drawn face"
