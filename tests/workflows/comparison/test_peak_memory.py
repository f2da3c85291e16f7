"""The largest memory while something runs: what was freed before does not count, what was held within does."""

from __future__ import annotations

import subprocess
import sys

SIZE = 300_000_000

MEASURED = """
import numpy as np
from fedmed_workflows.comparison.peak_memory import PeakMemory

for held in (1000, {size}, 1000):
    with PeakMemory() as memory:
        np.ones(held, dtype=np.uint8)
    print(memory.figures["peak_memory_bytes"])
"""
"""In a process of its own: one that has freed much takes an array from what it still holds."""


def test_a_peak_counts_within_its_own_span_alone() -> None:
    command = [sys.executable, "-c", MEASURED.format(size=SIZE)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    small, large, again = map(float, printed.split())
    assert 0.9 * SIZE < large - small < 1.2 * SIZE and again < small + 0.2 * SIZE
