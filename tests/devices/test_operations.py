"""The rules of operations on a pretended GPU: what CUDA refuses is refused, and what it allows passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch.nn import functional

from tests.devices.operations import GPU
from tests.devices.pretended import pretended_gpu

CPU = torch.device("cpu")

Work = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Work on a tensor of the CPU and on the same tensor on the GPU, both (3, 3) float32."""


@pytest.fixture
def pair() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    with pretended_gpu():
        values = torch.arange(9.0).reshape(3, 3)
        yield values, values.to(GPU)


REFUSED: dict[str, Work] = {
    "sum of two": lambda cpu, gpu: gpu + cpu,
    "row of the CPU": lambda cpu, gpu: gpu * cpu[0],
    "matrix product": lambda cpu, gpu: cpu @ gpu,
    "layer": lambda cpu, gpu: torch.nn.Linear(3, 2)(gpu),
    "concatenation": lambda cpu, gpu: torch.cat([gpu, cpu]),
    "stack of numbers": lambda cpu, gpu: torch.stack([gpu[0, 0], cpu[0, 0]]),
    "in place on the CPU": lambda cpu, gpu: cpu.add_(gpu),
    "number of the CPU in place": lambda cpu, gpu: cpu[0, 0].add_(gpu[0, 0]),
    "given output": lambda cpu, gpu: torch.add(gpu, 1, out=cpu),
    "indices of the GPU": lambda cpu, gpu: cpu[gpu[0].long()],
    "mask of the GPU": lambda cpu, gpu: cpu[gpu > 3],
    "values of the CPU": lambda cpu, gpu: gpu.index_put((torch.tensor([0, 1]),), cpu[:2]),
    "gather": lambda cpu, gpu: gpu.gather(0, cpu.long().clamp(max=2)),
    "index of another device": lambda cpu, gpu: gpu.index_select(0, torch.tensor([0, 1])),
    "embedding": lambda cpu, gpu: functional.embedding(torch.tensor([0]), gpu),
    "labels": lambda cpu, gpu: functional.cross_entropy(gpu, torch.tensor([0, 1, 2])),
    "weights of classes": lambda cpu, gpu: functional.cross_entropy(gpu, gpu[0].long(), weight=torch.ones(3)),
    "masked fill": lambda cpu, gpu: gpu.masked_fill(cpu > 3, 0),
    "where": lambda cpu, gpu: torch.where(gpu > 3, gpu, cpu),
    "comparison": lambda cpu, gpu: torch.tensor(torch.equal(cpu, gpu)),
    "attention": lambda cpu, gpu: functional.scaled_dot_product_attention(
        gpu[None, None], gpu[None, None], gpu[None, None], attn_mask=cpu
    ),
    "lists of tensors": lambda cpu, gpu: torch._foreach_add([gpu, gpu], [gpu, cpu])[0],
    "batch normalisation": lambda cpu, gpu: functional.batch_norm(gpu, torch.zeros(3), torch.ones(3)),
    "zeros of one_hot": lambda cpu, gpu: functional.one_hot(gpu[0].long()) + functional.one_hot(cpu[0].long()),
    "zeros without a device": lambda cpu, gpu: gpu + torch.zeros(3),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cuda_refuses(pair: tuple[torch.Tensor, torch.Tensor], name: str) -> None:
    with pytest.raises(RuntimeError, match="expected all tensors to be on the same device"):
        REFUSED[name](*pair)


ALLOWED: dict[str, Work] = {
    "number of the CPU": lambda cpu, gpu: gpu + torch.tensor(2.0),
    "number of the CPU first": lambda cpu, gpu: torch.tensor(2.0) * gpu,
    "number of the CPU in where": lambda cpu, gpu: torch.where(gpu > 3, gpu, torch.tensor(0.0)),
    "number of the CPU as a fill": lambda cpu, gpu: gpu.masked_fill(gpu > 3, torch.tensor(0.0)),
    "weight of a class": lambda cpu, gpu: functional.binary_cross_entropy_with_logits(
        gpu, gpu / 9, pos_weight=torch.tensor(2.0)
    ),
    "indices of the CPU": lambda cpu, gpu: gpu[torch.tensor([0, 2])],
    "mask of the CPU": lambda cpu, gpu: gpu[cpu > 3],
    "assignment by a mask of the CPU": lambda cpu, gpu: gpu.index_put((cpu > 3,), torch.tensor(0.0)),
    "assignment of a row": lambda cpu, gpu: gpu.clone().copy_(cpu),
    "one_hot": lambda cpu, gpu: functional.one_hot(gpu[0].long()) + gpu,
    "like another": lambda cpu, gpu: torch.zeros_like(gpu) + gpu.new_ones(3) + gpu.new_tensor([1, 2, 3]),
    "given device": lambda cpu, gpu: gpu + torch.zeros(3, device=gpu.device) + torch.tensor([1.0] * 3, device="cuda"),
    "view": lambda cpu, gpu: gpu.T[1:].flatten() + gpu.reshape(9)[:6],
    "lists of tensors": lambda cpu, gpu: torch._foreach_add([gpu, cpu], [gpu, cpu])[0],
    "layer": lambda cpu, gpu: torch.nn.Linear(3, 2).to(gpu.device)(gpu),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_cuda_allows(pair: tuple[torch.Tensor, torch.Tensor], name: str) -> None:
    cpu, gpu = pair
    torch.manual_seed(0)
    found = ALLOWED[name](cpu, gpu)
    assert found.device == GPU and cpu.device == CPU
    torch.manual_seed(0)
    expected = ALLOWED[name](cpu, cpu) if name != "given device" else cpu + 1
    assert torch.equal(found.cpu(), expected)


def test_lists_of_tensors_keep_their_devices(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    cpu, gpu = pair
    assert [value.device for value in torch._foreach_mul([gpu, cpu], 2.0)] == [GPU, CPU]


def test_a_number_that_is_read_comes_to_the_cpu(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    _, gpu = pair
    assert (float(gpu.sum()), gpu[0].tolist(), bool(gpu.any())) == (36.0, [0.0, 1.0, 2.0], True)


def test_a_backward_pass_is_checked_too(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    class Scaled(torch.autograd.Function):
        """Multiplies by one; its backward pass multiplies by ones that are made on the CPU."""

        @staticmethod
        def forward(ctx: object, value: torch.Tensor) -> torch.Tensor:
            return value * 1

        @staticmethod
        def backward(ctx: object, *gradients: torch.Tensor) -> torch.Tensor:
            return gradients[0] * torch.ones(3)

    with pytest.raises(RuntimeError, match="same device"):
        Scaled.apply(pair[1].requires_grad_()).sum().backward()
