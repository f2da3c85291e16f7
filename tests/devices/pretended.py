"""A pretended GPU for tests: ``cuda:0`` on a machine without one, which computes on the CPU and refuses as CUDA does.

Inside :func:`pretended_gpu` everything that Python calls to make, move and read tensors knows the pretended device;
:mod:`tests.devices.operations` has the rules of the operations. It differs from a GPU in this:

- a tensor that TorchScript makes, and one of torch's old constructors (``torch.FloatTensor``), takes the device of the
  tensors that it meets;
- gradients are not checked where they are assigned;
- autocast is that of the CPU, tracing does not work, and ``torch.cuda.is_available()`` is False.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from importlib import import_module
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._device import _device_constructors

from tests.devices.operations import CPU, GPU, NOTE, DeviceRules, Placement

Function = Callable[..., Any]

OF_DATA = ("tensor", "as_tensor", "asarray")
"""Factories whose result lies on the device of the data, if these are a tensor and no device is given."""

LIKE = ("empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "randint_like")

NEW = ("new_empty", "new_zeros", "new_ones", "new_full", "new_empty_strided")

TO, CLONE, COPY_MEMORY = torch.Tensor.to, torch.Tensor.clone, torch.UntypedStorage.clone


@contextmanager
def pretended_gpu() -> Iterator[torch.device]:
    """Pretends a GPU, in this thread and in all that start meanwhile; at the beginning all tensors lie on the CPU."""
    import_module("torch._dynamo")  # its tables of torch's functions are filled when it is imported
    placement = Placement()
    with ExitStack() as stack:
        stack.callback(setattr, placement, "ended", True)
        for owner, name, value in _replaced(placement):
            kept = isinstance(value, (property, type))
            replacement = value if kept else _until_the_end(placement, getattr(owner, name), value)
            stack.enter_context(patch.object(owner, name, replacement))
        saved = [(0, *_saved_device(placement)), *torch.serialization._package_registry]
        stack.enter_context(patch.object(torch.serialization, "_package_registry", saved))
        stack.enter_context(DeviceRules(placement))
        yield GPU


def _until_the_end(placement: Placement, original: Function, replacement: Function) -> Function:
    """Makes a replacement the original again afterwards, for modules that have imported it by its name."""

    @wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        return (original if placement.ended else replacement)(*args, **kwargs)

    return call


def _replaced(placement: Placement) -> Iterator[tuple[Any, str, Any]]:
    """Yields what is replaced in torch: its owner, its name and the replacement."""
    for original in _device_constructors():
        if original.__name__ not in OF_DATA and getattr(torch, original.__name__, None) is original:
            yield torch, original.__name__, _factory(original, placement)
    yield from ((torch, name, _of_data(getattr(torch, name), placement)) for name in OF_DATA)
    yield from ((torch, name, _follower(getattr(torch, name), placement)) for name in LIKE)
    yield from ((torch.Tensor, name, _follower(getattr(torch.Tensor, name), placement)) for name in NEW)
    yield torch.Tensor, "new_tensor", _new_tensor(torch.Tensor.new_tensor, placement)
    yield from _properties(placement)
    yield from _moves(placement)
    for name in ("numpy", "__array__"):
        yield torch.Tensor, name, _for_cpu(getattr(torch.Tensor, name), "can't convert {} device type tensor to numpy.")
    yield torch.Tensor, "pin_memory", _for_cpu(lambda tensor, *_: tensor, "cannot pin a tensor of {}")
    yield torch.UntypedStorage, "clone", _copied_memory
    yield torch.cuda, "synchronize", lambda device=None: None
    yield torch.cuda, "is_available", lambda: False
    for owner in (torch, torch.amp):
        yield owner, "autocast", _Autocast
    yield threading.Thread, "run", _in_mode(threading.Thread.run, placement)


def _device(given: Any) -> torch.device:
    device = torch.device("cuda", given) if isinstance(given, int) else torch.device(given)
    return torch.device("cuda", 0) if device == torch.device("cuda") else device


def _factory(original: Function, placement: Placement) -> Function:
    """Makes a tensor on the device that is given, the CPU otherwise."""

    def make(*args: Any, device: Any = None, pin_memory: bool = False, **kwargs: Any) -> Any:
        place = CPU if device is None else _device(device)
        made = original(*args, **kwargs, device=CPU if place == GPU else place)
        placement.put(made, place)
        return made

    return make


def _of_data(original: Function, placement: Placement) -> Function:
    def make(data: Any, *args: Any, device: Any = None, pin_memory: bool = False, **kwargs: Any) -> Any:
        of_data = data.device if isinstance(data, torch.Tensor) else CPU
        place = of_data if device is None else _device(device)
        made = original(data, *args, **kwargs)
        if original.__name__ == "tensor":
            placement.put(made, place)
            return made
        return made.to(place)

    return make


def _follower(original: Function, placement: Placement) -> Function:
    """Makes a tensor on the device of another one, if none is given."""

    def make(tensor: torch.Tensor, *args: Any, device: Any = None, pin_memory: bool = False, **kwargs: Any) -> Any:
        place = tensor.device if device is None else _device(device)
        elsewhere = {} if place in (CPU, GPU) else {"device": place}
        made = original(tensor, *args, **kwargs, **elsewhere)
        placement.put(made, place)
        return made

    return make


def _new_tensor(original: Function, placement: Placement) -> Function:
    def make(tensor: torch.Tensor, data: Any, *, device: Any = None, **kwargs: Any) -> Any:
        made = original(tensor, data, **kwargs)
        placement.put(made, tensor.device if device is None else _device(device))
        return made

    return make


def _properties(placement: Placement) -> Iterator[tuple[Any, str, Any]]:
    def device(tensor: torch.Tensor) -> torch.device:
        return placement.device(tensor) or CPU

    yield torch.Tensor, "device", property(device)
    yield torch.Tensor, "is_cuda", property(lambda tensor: tensor.device.type == "cuda")
    yield torch.Tensor, "is_cpu", property(lambda tensor: tensor.device.type == "cpu")
    yield torch.Tensor, "get_device", lambda tensor: 0 if tensor.is_cuda else -1


def _moves(placement: Placement) -> Iterator[tuple[Any, str, Any]]:
    def copy_to(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
        copied: torch.Tensor = CLONE(tensor)
        placement.put(copied, device)
        return copied

    class Moved(torch.autograd.Function):
        """A copy on another device; its gradient goes back to the first one."""

        @staticmethod
        def forward(ctx: Any, tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
            ctx.source = tensor.device
            return copy_to(tensor, device)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            return copy_to(gradients[0], ctx.source), None

    def to(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        device, args, kwargs = _destination(tensor, *args, **kwargs)
        if device not in (CPU, GPU) or tensor.is_meta:
            return TO(tensor, CPU if device == GPU else device, *args, **kwargs)
        converted: torch.Tensor = TO(tensor, None, *args, **kwargs)
        if device == tensor.device:
            return converted
        return Moved.apply(converted, device) if converted.requires_grad else copy_to(converted, device)

    yield torch.Tensor, "to", to
    yield torch.Tensor, "cpu", lambda tensor, *_, **__: tensor.to(CPU)
    yield torch.Tensor, "cuda", lambda tensor, device=None, *_, **__: tensor.to(GPU if device is None else device)


def _destination(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[torch.device, tuple[Any, ...], Any]:
    """Takes the device out of the arguments of ``Tensor.to``; the others follow it there."""
    first = args[0] if args else kwargs.pop("other", kwargs.pop("device", None))
    if isinstance(first, torch.Tensor):
        return first.device, (first.dtype, *args[1:]), kwargs
    if isinstance(first, torch.dtype):
        return tensor.device, args, kwargs
    return tensor.device if first is None else _device(first), args[1:], kwargs


def _for_cpu(original: Function, refused: str) -> Function:
    """Refuses a tensor that is not on the CPU."""

    def read(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if tensor.device != CPU:
            found = refused.format(tensor.device)
            raise TypeError(f"{found} Use Tensor.cpu() to copy the tensor to host memory first.")
        return original(tensor, *args, **kwargs)

    return read


def _in_mode(original: Function, placement: Placement) -> Function:
    def run(thread: threading.Thread) -> None:
        with DeviceRules(placement):
            original(thread)

    return run


def _copied_memory(memory: torch.UntypedStorage) -> torch.UntypedStorage:
    """Copies a memory with its note, for ``copy.deepcopy``."""
    copied: torch.UntypedStorage = COPY_MEMORY(memory)
    if hasattr(memory, NOTE):
        setattr(copied, NOTE, getattr(memory, NOTE))
    return copied


def _saved_device(placement: Placement) -> tuple[Function, Function]:
    """What ``torch.save`` writes of a memory's device, and what ``torch.load`` does with it."""

    def written(memory: torch.UntypedStorage) -> str:
        return str(placement.device_of_memory(memory) or CPU)

    def restored(memory: torch.UntypedStorage, location: str) -> torch.UntypedStorage | None:
        if not location.startswith(("cpu", "cuda")):
            return None
        placement.note(memory, _device(location))
        return memory

    return written, restored


class _Autocast(torch.autocast):
    """Autocast of the CPU in the place of CUDA's."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu" if device_type == "cuda" else device_type, *args, **kwargs)
