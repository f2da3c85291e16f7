"""Profiles of a FedMSA step and of loading onto the device: where a kernel of our own could gain something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity

from benchmarks import sam_step
from benchmarks.gpu.part import PartRun
from benchmarks.gpu.parts.sites import SAM

ROWS = 20


def profile(run: PartRun) -> None:
    """Records the operations that take most time of a step in bfloat16, and of loading a series and a NIfTI file."""
    import nibabel
    import numpy as np

    from benchmarks.loading import slice_of, write_series
    from fedmed_transforms import load_image

    model, size, batch, slices = (SAM, 96, 1, 4) if run.small else ("vit_b", 1024, 4, 60)
    network = sam_step.build("bfloat16", model, size, run.device)
    optimizer = torch.optim.Adam([value for value in network.parameters() if value.requires_grad], lr=1e-4)
    image = torch.rand(batch, 3, size, size, device=run.device)
    label = (torch.rand(batch, 1, size // 4, size // 4, device=run.device) > 0.7).float()
    _record(run, "step", lambda: sam_step.step(network, optimizer, image, label))
    series = write_series(run.folder / "series", slices, True)
    volume = np.stack([slice_of(number).astype(np.int16) for number in range(slices)], axis=-1)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), run.folder / "volume.nii.gz")
    _record(run, "loading JPEG-LS", lambda: load_image(series, device=run.device))
    _record(run, "loading NIfTI", lambda: load_image(run.folder / "volume.nii.gz", device=run.device))


def _record(run: PartRun, name: str, work: Callable[[], Any]) -> None:
    for _ in range(1 if run.small else 3):
        work()
    run.synchronize()
    gpu = [ProfilerActivity.CUDA] if run.device.type == "cuda" else []
    with torch.profiler.profile(activities=[ProfilerActivity.CPU, *gpu]) as profiled:
        work()
        run.synchronize()
    averages = profiled.key_averages()
    order = "self_device_time_total" if gpu else "self_cpu_time_total"
    print(averages.table(sort_by=order, row_limit=2 * ROWS))
    longest = sorted(averages, key=lambda entry: -getattr(entry, order))[:ROWS]
    rows = [[entry.key[:90], round(getattr(entry, order) / 1e3, 3), entry.count] for entry in longest]
    whole = sum(getattr(entry, order) for entry in averages) / 1e3
    run.record(**{name: {"milliseconds": round(whole, 3), "longest": rows}})
