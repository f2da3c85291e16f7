"""A safetensors file that is written tensor by tensor, so that nobody holds all of them in memory."""

from __future__ import annotations

import json
from types import TracebackType
from typing import BinaryIO

import torch

from fedmed_workflows.exchange import Forms, form

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
        Shape and type by name, in the order in which the values will come.
    """

    def __init__(self, file: BinaryIO, forms: Forms) -> None:
        self._file, self._expected = file, iter(forms.items())
        text = json.dumps(_header(forms)).encode()
        text += b" " * (-len(text) % 8)
        file.write(len(text).to_bytes(8, "little") + text)

    def write(self, name: str, value: torch.Tensor) -> None:
        """Appends the next tensor.

        Raises
        ------
        ValueError
            It is another one than the file's next, or has another shape or type.
        """
        expected, found = next(self._expected, None), (name, form(value))
        if found != expected:
            raise ValueError(f"tensor file: found {found}, expected {expected}")
        self._file.write(value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)

    def finish(self) -> None:
        """Refuses a file that is not whole.

        Raises
        ------
        ValueError
            Tensors are missing.
        """
        missing = [name for name, _ in self._expected]
        if missing:
            raise ValueError(f"tensor file: expected tensors {missing} too")

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()


def _header(forms: Forms) -> dict[str, dict[str, object]]:
    header: dict[str, dict[str, object]] = {}
    end = 0
    for name, (shape, dtype) in forms.items():
        start = end
        end += torch.Size(shape).numel() * getattr(torch, dtype).itemsize
        header[name] = {"dtype": DTYPES[dtype], "shape": shape, "data_offsets": [start, end]}
    return header
