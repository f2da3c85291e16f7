"""The rules by which torch lets tensors of two devices meet in one operation, over tensors that all lie on the CPU.

The values are real, so that code which reads them runs as it is. The device of a tensor is a note at its memory: views,
parameters and in-place operations share the note as they share the memory. Memory without a note is the CPU's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

CPU = torch.device("cpu")
GPU = torch.device("cuda", 0)

NOTE = "noted_device"
"""The attribute of a memory (an untyped storage) that holds the placement and its device."""

aten = torch.ops.aten

COPIES = {aten.copy_.default, aten.copy.default, aten._foreach_copy_.default}
"""Operations that copy from any device to any other."""

INDEXING = {
    *(aten.index.Tensor, aten._unsafe_index.Tensor, aten.index_put.default, aten.index_put_.default),
    *(aten._index_put_impl_.default, aten._unsafe_index_put.default),
}
"""Operations whose indices may lie on the CPU."""

WITH_CPU_SCALARS = {
    *(aten.where.self, aten.masked_fill.Tensor, aten.masked_fill_.Tensor, aten.fill.Tensor, aten.fill_.Tensor),
    *(aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default),
    aten.binary_cross_entropy_with_logits.default,
}
"""Operations besides the element by element ones that take a CPU tensor without axes as a number."""

real_device: Any = torch._C.TensorBase.device  # type: ignore[attr-defined]


class Placement:
    """The devices on which a test pretends that tensors lie.

    A tensor that an operation makes inside itself without an input, as ``one_hot`` makes its zeros, has no device until
    it meets a tensor that has one.

    Attributes
    ----------
    ended
        Whether the test does not pretend any more.
    """

    ended = False

    def device(self, tensor: torch.Tensor) -> torch.device | None:
        """The pretended device of a tensor; None for one that an operation has made inside itself."""
        with torch._C.DisableTorchFunctionSubclass():
            real: torch.device = real_device.__get__(tensor)
            if real != CPU or not torch._C._has_storage(tensor):
                return real
            return self.device_of_memory(tensor.untyped_storage())

    def device_of_memory(self, memory: torch.UntypedStorage) -> torch.device | None:
        """The pretended device of a memory on the CPU."""
        placement, device = getattr(memory, NOTE, (self, CPU))
        return device if placement is self else CPU

    def note(self, memory: torch.UntypedStorage, device: torch.device | None) -> None:
        """Notes the device of a memory on the CPU."""
        setattr(memory, NOTE, (self, device))

    def put(self, tensor: torch.Tensor, device: torch.device | None) -> None:
        """Notes the device of a tensor and of all that share its memory."""
        with torch._C.DisableTorchFunctionSubclass():
            if real_device.__get__(tensor) == CPU and torch._C._has_storage(tensor):
                self.note(tensor.untyped_storage(), device)


class DeviceRules(TorchDispatchMode):
    """Lets every operation pass that CUDA would let pass, refuses the others, and notes the device of each result."""

    def __init__(self, placement: Placement) -> None:
        super().__init__()
        self.placement = placement

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Runs one operation of torch, also one of a backward pass."""
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            inputs = list(_tensors((args, tuple(kwargs.values()))))
            devices = {self.placement.device(tensor) for tensor in inputs}
            common = [devices.pop()] if len(devices) == 1 else self._of_several(func, args, kwargs)
            result = func(*args, **kwargs)
            if func.overloadpacket is not aten.set_:  # which takes the memory of its input over
                self._note(common, list(_tensors(result)), {_memory(tensor) for tensor in inputs})
        return result

    def _of_several(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[torch.device | None]:
        """Finds the device of an operation, or of each element for an operation on lists of tensors."""
        return [self._common(func, group) for group in _groups(func, list(_arguments(func, args, kwargs)))]

    def _note(self, devices: Sequence[torch.device | None], made: Sequence[torch.Tensor], inputs: set[int]) -> None:
        """Notes the device of the tensors that an operation made; views of its inputs have their note already."""
        for tensor, device in zip(made, devices if len(devices) > 1 else [*devices] * len(made), strict=True):
            if _memory(tensor) not in inputs:
                self.placement.put(tensor, device)

    def _common(self, func: Any, group: Sequence[tuple[Any, torch.Tensor]]) -> torch.device | None:
        """Finds the device on which an operation runs, and refuses tensors of others."""
        if func in COPIES:
            return self.placement.device(group[0][1])
        placed = [(argument, tensor, self.placement.device(tensor)) for argument, tensor in group]
        bound = [item for item in placed if not _is_free(func, *item)]
        common = next((device for _, _, device in bound if device is not None), None)
        for _, _, device in bound:
            if device is not None and device != common:
                raise _two_devices(func, common, device)
        if common is None:  # numbers of the CPU, with nothing or with a tensor without a device
            return next((device for _, _, device in placed if device is not None), None)
        for _, tensor, device in placed:
            if device is None:
                self.placement.put(tensor, common)
        return common


def _is_free(func: Any, argument: Any, tensor: torch.Tensor, device: torch.device | None) -> bool:
    """Tells whether a tensor may lie on the CPU though the others do not."""
    if device != CPU or (argument.alias_info is not None and argument.alias_info.is_write):
        return False
    if func in INDEXING and argument.name == "indices":
        return True
    return tensor.dim() == 0 and (torch.Tag.pointwise in func.tags or func in WITH_CPU_SCALARS)


def _two_devices(func: Any, one: torch.device | None, other: torch.device) -> RuntimeError:
    found = f"expected all tensors to be on the same device, but found at least two devices, {one} and {other}"
    return RuntimeError(f"{func}: {found}")


def _arguments(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Yields the arguments of an operation, as its schema declares them, with their values."""
    declared = func._schema.arguments
    yield from zip(declared, args, strict=False)
    yield from ((argument, kwargs[argument.name]) for argument in declared if argument.name in kwargs)


def _groups(func: Any, given: Sequence[tuple[Any, Any]]) -> list[list[tuple[Any, torch.Tensor]]]:
    """The tensors that meet: all of an operation; element by element for the operations on lists of tensors."""
    flat = [(argument, list(_tensors(value))) for argument, value in given]
    if not func._schema.name.startswith("aten::_foreach_"):
        return [[(argument, tensor) for argument, tensors in flat for tensor in tensors]]
    lists = {argument.name: isinstance(value, (list, tuple)) for argument, value in given}
    length = max(len(tensors) for _, tensors in flat)
    return [
        [(argument, tensors[index if lists[argument.name] else 0]) for argument, tensors in flat if tensors]
        for index in range(length)
    ]


def _tensors(value: Any) -> Iterable[torch.Tensor]:
    """Yields the tensors of a value, and of lists in it."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata if torch._C._has_storage(tensor) else id(tensor)
