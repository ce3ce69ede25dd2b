"""Old-style PyTorch state dictionaries (``.pth``), read without PyTorch and without running them.

The format (before PyTorch 1.6): pickles of a magic number, a protocol number, a description of
the machine and the object itself, whose tensors refer to storages by key; then a pickled list of
keys, then per key the number of elements as int64 and the raw values. The unpickler admits
dictionaries and tensors only: every other global is refused before it could be called.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.errors import ModelError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
_STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]
    count: int


@dataclass(frozen=True, slots=True)
class _Reference:
    """A tensor before its storage was read."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def _rebuild_tensor(
    storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_rest: object
) -> _Reference:
    return _Reference(storage, offset, tuple(size), tuple(stride))


class _TensorsOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Admit ordered dictionaries, tensors and the storages of numbers; refuse all else."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise ModelError(f"The state dictionary asks for {module}.{name}; only tensors are read.")

    def persistent_load(self, pid: Any) -> _Storage:
        """Take a storage's description; its numbers come later in the file."""
        kind, dtype, key, _location, count, *_view = pid
        if kind != "storage":
            raise ModelError(f"The state dictionary refers to a {kind!r}, not to a storage.")
        return _Storage(str(key), dtype, int(count))


class _NumbersOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Refuse every global: the headers hold plain numbers, texts, lists and dictionaries."""
        raise ModelError(f"The header asks for {module}.{name}.")


def read(content: bytes) -> dict[str, NDArray[Any]]:
    """Read every tensor of a state dictionary, in the file's order.

    Returns name -> array (float32 or int64). Raises ModelError on anything else.
    """
    file = io.BytesIO(content)
    try:
        if _NumbersOnly(file).load() != MAGIC or _NumbersOnly(file).load() != PROTOCOL:
            raise ModelError("The file is not an old-style PyTorch state dictionary.")
        if not _NumbersOnly(file).load().get("little_endian"):
            raise ModelError("The state dictionary was written on a big-endian machine.")
        references = _TensorsOnly(file).load()
        keys = _NumbersOnly(file).load()
        storages = _storages(file, references, keys)
        return {
            name: _view(storages[reference.storage.key], reference)
            for name, reference in references.items()
        }
    except ModelError:
        raise
    # whatever a broken pickle can raise: all of it means the same to the caller
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        IndexError,
    ) as error:
        raise ModelError(f"The state dictionary is damaged: {error!r}.") from error


def _storages(
    file: io.BytesIO, references: dict[str, _Reference], keys: list[str]
) -> dict[str, NDArray[Any]]:
    described = {ref.storage.key: ref.storage for ref in references.values()}
    storages: dict[str, NDArray[Any]] = {}
    for key in keys:
        storage = described[key]
        count = int.from_bytes(file.read(8), "little", signed=True)
        raw = file.read(storage.count * storage.dtype.itemsize)
        if count != storage.count or len(raw) != count * storage.dtype.itemsize:
            raise ModelError(f"Storage {key} is cut off or of another length than described.")
        storages[key] = np.frombuffer(raw, storage.dtype)
    return storages


def _view(storage: NDArray[Any], reference: _Reference) -> NDArray[Any]:
    count = int(np.prod(reference.size, dtype=np.int64))
    contiguous = tuple(
        int(np.prod(reference.size[axis + 1 :], dtype=np.int64))
        for axis in range(len(reference.size))
    )
    if reference.stride != contiguous or reference.offset + count > storage.size:
        raise ModelError("A tensor of the state dictionary is not a plain part of its storage.")
    return storage[reference.offset : reference.offset + count].reshape(reference.size)
