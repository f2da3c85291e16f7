"""A file written tensor by tensor is one that safetensors reads; one that is not whole is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fedmed_workflows.exchange.tensor_file import DTYPES, TensorFile
from fedmed_workflows.exchange.weights import tensor_spec

TENSORS = {
    "ä \"name\"": torch.arange(12.0).reshape(3, 4).t(),  # not contiguous
    **{dtype: torch.tensor([1, 0, 1]).to(getattr(torch, dtype)) for dtype in DTYPES},
    "scalar": torch.tensor(-7),
    "none": torch.zeros(0, 3),
    "after none": torch.tensor([0.1], dtype=torch.bfloat16),
}
FORMS = {name: tensor_spec(value) for name, value in TENSORS.items()}


@pytest.mark.parametrize("order", [list(TENSORS), list(reversed(TENSORS))])
def test_safetensors_reads_every_type_and_shape(tmp_path: Path, order: list[str]) -> None:
    with (tmp_path / "file").open("wb") as file, TensorFile(file, FORMS) as tensors:
        for name in order:
            tensors.write(name, TENSORS[name])
    found = load_file(tmp_path / "file")
    assert set(found) == set(TENSORS)
    for name, value in TENSORS.items():
        assert found[name].dtype == value.dtype and torch.equal(found[name], value), name


def test_another_tensor_than_announced_is_refused(tmp_path: Path) -> None:
    forms = {"a": ([2], "float32"), "b": ([2], "float32")}
    for name, value in (("c", torch.zeros(2)), ("a", torch.zeros(3)), ("a", torch.zeros(2).double())):
        with (tmp_path / "file").open("wb") as file, pytest.raises(ValueError, match=f"tensor {name}: found"):
            TensorFile(file, forms).write(name, value)
    with (tmp_path / "file").open("wb") as file:
        tensors = TensorFile(file, forms)
        tensors.write("a", torch.zeros(2))
        with pytest.raises(ValueError, match="tensor a: found .*, expected None"):
            tensors.write("a", torch.zeros(2))
    with (tmp_path / "file").open("wb") as file, pytest.raises(ValueError, match=r"expected tensors \['b'\] too"):
        with TensorFile(file, forms) as tensors:
            tensors.write("a", torch.zeros(2))
