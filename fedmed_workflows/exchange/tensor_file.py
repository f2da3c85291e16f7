"""A safetensors file that is written tensor by tensor, so that nobody holds all of them in memory."""

from __future__ import annotations

import json
from types import TracebackType
from typing import BinaryIO

import torch

from fedmed_workflows.exchange.weights import TensorSpecs, tensor_spec

DTYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
"""The format's names of torch's types."""


class TensorFile:
    """Writes a safetensors file whose tensors are known by shape and type before their values are.

    The library's own writer takes all values at once. The format: the header's length in 8 bytes, little-endian; the
    header, JSON that ends on a multiple of 8; the values, one after the other.

    Parameters
    ----------
    file
        Open for writing bytes.
    forms
        Shape and type by name; the values may come in any order.
    """

    def __init__(self, file: BinaryIO, forms: TensorSpecs) -> None:
        self._file, self._missing = file, dict(forms)
        places = _places(forms)
        header = {name: _entry(*forms[name], *place) for name, place in places.items()}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        file.write(len(text).to_bytes(8, "little") + text)
        self._starts = {name: file.tell() + start for name, (start, _) in places.items()}

    def write(self, name: str, value: torch.Tensor) -> None:
        """Writes a tensor to its place.

        Raises
        ------
        ValueError
            The file has none of this name left, or its shape or type is another one.
        """
        expected, found = self._missing.pop(name, None), tensor_spec(value)
        if found != expected:
            raise ValueError(f"tensor file: tensor {name}: found {found}, expected {expected}")
        self._file.seek(self._starts[name])
        self._file.write(value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)

    def finish(self) -> None:
        """Refuses a file that is not whole.

        Raises
        ------
        ValueError
            Tensors are missing.
        """
        if self._missing:
            raise ValueError(f"tensor file: expected tensors {sorted(self._missing)} too")

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()


def _places(forms: TensorSpecs) -> dict[str, tuple[int, int]]:
    """Where each value begins and ends, in bytes behind the header."""
    places, end = {}, 0
    for name, (shape, dtype) in forms.items():
        start, end = end, end + torch.Size(shape).numel() * getattr(torch, dtype).itemsize
        places[name] = (start, end)
    return places


def _entry(shape: list[int], dtype: str, start: int, end: int) -> dict[str, object]:
    return {"dtype": DTYPES[dtype], "shape": shape, "data_offsets": [start, end]}
