"""A writer of safetensors files that takes one tensor at a time, so that memory holds only one of them."""

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
"""Names of torch's types in the format."""


class TensorFile:
    """Writes a safetensors file tensor by tensor, from shapes and types that are known before the values.

    The writer of the safetensors library takes all values at once. The format has three parts: the length of the header
    in 8 bytes, little-endian; the header, JSON that is filled up to a multiple of 8 bytes; the values in one sequence.

    Parameters
    ----------
    file
        A file that is open for writing bytes.
    specs
        Shape and type of the tensors by name; their values may be written in any order.
    """

    def __init__(self, file: BinaryIO, specs: TensorSpecs) -> None:
        self._file, self._missing = file, dict(specs)
        places = _places(specs)
        header = {name: _entry(*specs[name], *place) for name, place in places.items()}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        file.write(len(text).to_bytes(8, "little") + text)
        self._starts = {name: file.tell() + start for name, (start, _) in places.items()}

    def write(self, name: str, value: torch.Tensor) -> None:
        """Writes a tensor to its place.

        Raises
        ------
        ValueError
            The file expects no tensor of this name (any more), or one of another shape or type.
        """
        expected, found = self._missing.pop(name, None), tensor_spec(value)
        if found != expected:
            raise ValueError(f"tensor file: tensor {name}: found {found}, expected {expected}")
        self._file.seek(self._starts[name])
        self._file.write(value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)

    def finish(self) -> None:
        """Refuses a file that lacks tensors.

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


def _places(specs: TensorSpecs) -> dict[str, tuple[int, int]]:
    """Computes where the values of each tensor begin and end, in bytes behind the header."""
    places, end = {}, 0
    for name, (shape, dtype) in specs.items():
        start, end = end, end + torch.Size(shape).numel() * getattr(torch, dtype).itemsize
        places[name] = (start, end)
    return places


def _entry(shape: list[int], dtype: str, start: int, end: int) -> dict[str, object]:
    return {"dtype": DTYPES[dtype], "shape": shape, "data_offsets": [start, end]}
