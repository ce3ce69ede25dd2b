"""Old-style PyTorch state dictionaries: read as numbers, never run."""

import io
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from verifier.errors import ModelError
from verifier.models.prepare import torch_state


class _Global:
    """Pickles as a call of `module.name(*arguments)` without importing it."""

    def __init__(self, module: str, name: str, arguments: tuple[Any, ...]) -> None:
        self.code = f"c{module}\n{name}\n".encode()
        self.arguments = arguments


class _Writer(pickle._Pickler):  # the Python version, so that globals can be written by name
    def save(self, value: Any, save_persistent_id: bool = True) -> None:
        if isinstance(value, _Global):
            self.write(value.code)
            if value.arguments:
                self.save(value.arguments)
                self.write(pickle.REDUCE)
        elif isinstance(value, tuple) and value and value[0] == "storage":
            for part in value:
                self.save(part)
            self.write(pickle.TUPLE if len(value) > 3 else pickle.EMPTY_TUPLE)
            self.write(pickle.BINPERSID)
        else:
            super().save(value, save_persistent_id)


def _file(state: Any, storages: dict[str, np.ndarray]) -> bytes:
    """Write a state dictionary as PyTorch did before 1.6."""
    file = io.BytesIO()
    for header in (torch_state.MAGIC, torch_state.PROTOCOL, {"little_endian": True}):
        pickle.dump(header, file, 2)
    file.write(pickle.PROTO + b"\x02")
    writer = _Writer(file, 2)
    writer.framer.file_write = file.write
    writer.save(state)
    file.write(pickle.STOP)
    pickle.dump(list(storages), file, 2)
    for array in storages.values():
        file.write(len(array).to_bytes(8, "little") + array.tobytes())
    return file.getvalue()


def _tensor(key: str, kind: str, count: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Any:
    return _Global(
        "torch._utils",
        "_rebuild_tensor_v2",
        (_Persistent(key, kind, count), 0, size, stride, False, OrderedDict()),
    )


class _Persistent(_Global):
    def __init__(self, key: str, kind: str, count: int) -> None:
        self.code = (
            b"(X\x07\x00\x00\x00storage"
            + f"ctorch\n{kind}\n".encode()
            + pickle.dumps(key, 2)[2:-1].replace(b"q\x00", b"")
            + b"X\x03\x00\x00\x00cpu"
            + pickle.dumps(count, 2)[2:-1]
            + b"NtQ"
        )
        self.arguments = ()


def test_tensors_come_back_with_names_shapes_and_values() -> None:
    """Two tensors of two types are read as they were written."""
    floats, longs = np.arange(6, dtype="<f4"), np.array([7], "<i8")
    state = {
        "w": _tensor("a", "FloatStorage", 6, (2, 3), (3, 1)),
        "n": _tensor("b", "LongStorage", 1, (), ()),
    }
    read = torch_state.read(_file(state, {"a": floats, "b": longs}))
    assert list(read) == ["w", "n"]
    np.testing.assert_array_equal(read["w"], floats.reshape(2, 3))
    assert read["n"] == 7


def test_nothing_of_the_file_is_executed(tmp_path: Path) -> None:
    """A pickle that would call `os.system` is refused, and the call does not happen."""
    proof = tmp_path / "executed"
    attack = {"w": _Global(os.system.__module__, "system", (f"touch {proof}",))}
    with pytest.raises(ModelError, match="only tensors"):
        torch_state.read(_file(attack, {}))
    assert not proof.exists()


def test_an_attack_in_the_header_is_refused_too() -> None:
    """The headers are read by an unpickler that admits no global at all."""
    with pytest.raises(ModelError, match="header"):
        torch_state.read(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.")


@pytest.mark.parametrize("keep", [0, 10, 60, 200, -1])
def test_a_cut_off_file_is_refused(keep: int) -> None:
    """Wherever the download stopped, the answer is a ModelError."""
    whole = _file({"w": _tensor("a", "FloatStorage", 6, (2, 3), (3, 1))}, {"a": np.zeros(6, "<f4")})
    with pytest.raises(ModelError):
        torch_state.read(whole[:keep])


def test_a_tensor_beyond_its_storage_is_refused() -> None:
    """A size larger than the storage, or strides that are no plain view, are refused."""
    for size, stride in (((3, 3), (3, 1)), ((2, 3), (1, 2))):
        state = {"w": _tensor("a", "FloatStorage", 6, size, stride)}
        with pytest.raises(ModelError, match="plain part"):
            torch_state.read(_file(state, {"a": np.zeros(6, "<f4")}))
