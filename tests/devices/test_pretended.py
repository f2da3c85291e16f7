"""A pretended GPU where Python makes, moves, reads and saves tensors; and nothing of it is left afterwards."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from torch.utils._device import _device_constructors

from tests.devices.pretended import pretended_gpu

CPU = torch.device("cpu")


@pytest.fixture
def gpu() -> Iterator[torch.device]:
    with pretended_gpu() as device:
        yield device


def test_what_is_made_lies_where_it_is_said(gpu: torch.device) -> None:
    there = torch.ones(2, device="cuda")
    for value in (there, torch.tensor(1, device=gpu), torch.rand(2, device=0), torch.as_tensor([1], device=0)):
        assert value.device == gpu and value.is_cuda and not value.is_cpu and value.get_device() == 0
    like = torch.zeros_like(there, device="cpu")
    for value in (torch.ones(2), torch.tensor([1]), torch.from_numpy(np.ones(2)), like):
        assert value.device == CPU and value.is_cpu and value.get_device() == -1
    assert there.new_zeros(2).device == there.new_tensor([1]).device == torch.as_tensor(there).device == gpu
    assert there.new_zeros(2, device="cpu").device == CPU and torch.zeros(1, device="meta").device.type == "meta"
    with pytest.raises(RuntimeError, match="meta tensor"):
        torch.zeros(1, device="meta").to(gpu)


def test_every_function_of_torch_that_takes_a_device_is_replaced(gpu: torch.device) -> None:
    functions = {function.__name__: function for function in _device_constructors()}
    missed = [name for name, function in functions.items() if getattr(torch, name, None) is function]
    assert missed == [] and len(functions) > 30


def test_moves(gpu: torch.device) -> None:
    value = torch.tensor([1.5, 2.5])
    for moved in (value.to(gpu), value.cuda(), value.to("cuda", torch.float64), value.to(value.cuda())):
        assert moved.device == gpu and torch.equal(moved.cpu().float(), value)
    assert value.to(gpu, torch.int32).dtype == torch.int32 and value.to(device=gpu, dtype=torch.int8).is_cuda
    there = value.to(gpu)
    assert there.to(gpu) is there and value.to("cpu") is value and there.to(torch.float16).device == gpu
    there += 1
    assert value.tolist() == [1.5, 2.5] and there.tolist() == [2.5, 3.5]
    there.data = value
    assert there.device == CPU


def test_an_image_keeps_its_metadata(gpu: torch.device) -> None:
    image = MetaTensor(torch.ones(1, 2, 2), meta={"name": "a"}).to(gpu)
    assert isinstance(image, MetaTensor) and image.meta["name"] == "a" and image.affine.device == CPU
    assert (image + 1).device == image[0].device == image.as_tensor().device == gpu


def test_a_module_its_gradients_and_its_optimizer(gpu: torch.device) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).to(gpu)
    optimizer = torch.optim.Adam(module.parameters())
    start = torch.ones(4, 3, requires_grad=True)
    module(start.to(gpu)).square().sum().backward()
    optimizer.step()
    assert start.grad is not None and start.grad.device == CPU
    assert {value.device for value in [*module.state_dict().values(), *(p.grad for p in module.parameters())]} == {gpu}
    states = optimizer.state.values()
    assert {(state["step"].device, state["exp_avg"].device) for state in states} == {(CPU, gpu)}
    other = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    other.load_state_dict(module.state_dict())
    assert {value.device for value in other.state_dict().values()} == {CPU}
    assert {value.device for value in copy.deepcopy(module).state_dict().values()} == {gpu}


def test_numpy_reads_the_cpu_only(gpu: torch.device) -> None:
    value = torch.ones(2, device=gpu)
    for read in (np.asarray, torch.Tensor.numpy):
        with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
            read(value)
        read(value.cpu())
    assert value.cpu().numpy().tolist() == [1, 1]
    with pytest.raises(TypeError, match="cannot pin"):
        value.pin_memory()
    assert torch.ones(2).pin_memory().device == CPU


def test_a_file_remembers_the_device(gpu: torch.device) -> None:
    file = io.BytesIO()
    torch.save({"there": torch.ones(2, device=gpu), "here": torch.ones(2)}, file)
    for location, expected in ((None, (gpu, CPU)), ("cpu", (CPU, CPU)), (gpu, (gpu, gpu))):
        file.seek(0)
        found = torch.load(file, map_location=location, weights_only=True)
        assert (found["there"].device, found["here"].device) == expected


def test_threads(gpu: torch.device) -> None:
    value = torch.ones(2, device=gpu)
    with ThreadPoolExecutor(2) as pool:
        assert pool.submit(lambda: (value + 1).device).result() == gpu
        with pytest.raises(RuntimeError, match="same device"):
            pool.submit(lambda: value + torch.ones(2)).result()


def test_autocast_computes_in_bfloat16(gpu: torch.device) -> None:
    value = torch.ones(2, 2, device=gpu)
    with torch.autocast("cuda", torch.bfloat16):
        assert (value @ value).dtype == torch.bfloat16 and (value @ value).device == gpu


def test_nothing_is_left() -> None:
    before = dict(vars(torch.Tensor)), dict(vars(torch))
    with pretended_gpu() as gpu:
        kept, file, imported = torch.ones(2, device=gpu), io.BytesIO(), torch.ones
        torch.save(kept, file)
    assert (dict(vars(torch.Tensor)), dict(vars(torch))) == before
    assert kept.device == CPU and torch.equal(kept + torch.ones(2), torch.full((2,), 2.0))
    assert imported is not torch.ones and imported(2, device="meta").device.type == "meta"
    with pretended_gpu():
        assert kept.device == CPU
    file.seek(0)
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA device"):
            torch.load(file, weights_only=True)
        for ones in (torch.ones, imported):
            with pytest.raises((RuntimeError, AssertionError)):
                ones(2, device="cuda")
