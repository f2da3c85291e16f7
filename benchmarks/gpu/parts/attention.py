"""SAM's attention on the device, at the sizes of SAM: answers and gradients beside those in float64, and its kernels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.gpu.part import PartRun, expect

SIZES = {"window": (14, 64, 25), "global": (64, 64, 1), "window of vit_h": (14, 80, 25), "global of vit_h": (64, 80, 1)}
"""Side in tokens, length of a head, number of windows; two heads."""

SMALL = {"window": (6, 16, 4), "global": (12, 16, 1)}

TOLERANCES = {torch.float32: 2e-4, torch.bfloat16: 5e-2}
"""Of ||found - expected|| / ||expected||, of the answer and of the gradients."""

KERNELS = ("CUDNN_ATTENTION", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH")


def attention(run: PartRun) -> None:
    """Compares float32 and bfloat16 with float64 on the CPU; then tells which of torch's kernels take the shapes."""
    from fedmed_networks.sam import attention as module

    sizes = SMALL if run.small else SIZES
    for name, (side, length, windows) in sizes.items():
        inputs = _inputs(side, length, 2 * windows)
        expected = _results(module._folded, inputs, torch.float64, torch.device("cpu"))
        for dtype, tolerance in TOLERANCES.items():
            found = _results(module._folded, inputs, dtype, run.device)
            errors = [_relative(one, other) for one, other in zip(found, expected, strict=True)]
            run.record(**{f"{name}, {str(dtype).removeprefix('torch.')}": max(errors)})
            expect(max(errors) <= tolerance, f"{name}, {dtype}: {max(errors)}, expected at most {tolerance}")
    for name, (side, length, windows) in sizes.items():  # last: a kernel that fails may take the process down
        inputs = _inputs(side, length, 2 * windows)
        run.record(**{f"{name}, kernels in bfloat16": [kernel for kernel in KERNELS if _takes(kernel, inputs, run)]})


def _inputs(side: int, length: int, pairs: int) -> list[torch.Tensor]:
    """Queries, keys, values (P, N, D), and the terms of rows and columns (P, N, S)."""
    random = torch.Generator().manual_seed(side + length)
    widths = (length, length, length, side, side)
    return [torch.randn(pairs, side**2, width, generator=random) for width in widths]


def _results(attend: Any, inputs: list[torch.Tensor], dtype: torch.dtype, device: torch.device) -> list[torch.Tensor]:
    """The answer, and the gradients of all inputs for one direction."""
    leaves = [value.to(device, dtype, copy=True).requires_grad_() for value in inputs]
    answer = attend(*leaves)
    (answer * inputs[0].to(device, dtype)).sum().backward()
    return [answer.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def _relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    difference = found.cpu().double() - expected
    return float(difference.norm() / expected.norm())


def _takes(kernel: str, inputs: list[torch.Tensor], run: PartRun) -> bool:
    """Tells whether a kernel alone computes answer and gradients in bfloat16, with values shorter than keys."""
    from torch.nn.functional import scaled_dot_product_attention

    query, key, value, rows, _ = [part.to(run.device, torch.bfloat16)[:, None] for part in inputs]
    width = query.shape[3] + 2 * rows.shape[3]
    longer = [torch.nn.functional.pad(part, (0, width + -width % 8 - part.shape[3])) for part in (query, key)]
    leaves = [part.detach().requires_grad_() for part in (*longer, value)]
    try:
        with sdpa_kernel([getattr(SDPBackend, kernel)]):
            scaled_dot_product_attention(*leaves, scale=1.0).sum().backward()
        run.synchronize()
    except RuntimeError as error:
        print(kernel, str(error).splitlines()[0])
        return False
    return True
