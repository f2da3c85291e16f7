"""The peak memory of this process during a run: from the Linux kernel, and from PyTorch on a GPU."""

from __future__ import annotations

import gc
import re
from pathlib import Path
from types import TracebackType

import torch

FORGET_PEAK = "5"
"""Text that makes the kernel reset the peak resident size to the present size."""


class PeakMemory:
    """Measures the peak memory inside a ``with`` block.

    Attributes
    ----------
    figures
        ``peak_memory_bytes`` of the process and ``peak_gpu_bytes``, after the block; None if unknown.
    """

    def __init__(self) -> None:
        self.figures: dict[str, float | None] = {"peak_memory_bytes": None, "peak_gpu_bytes": None}

    def __enter__(self) -> PeakMemory:
        gc.collect()
        try:
            Path("/proc/self/clear_refs").write_text(FORGET_PEAK)
            self._marked = True
        except OSError:  # not Linux, or no permission
            self._marked = False
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._marked:
            found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
            self.figures["peak_memory_bytes"] = int(found[1]) * 1024.0 if found else None
        if torch.cuda.is_available():
            self.figures["peak_gpu_bytes"] = float(torch.cuda.max_memory_allocated())
