"""The machine: its GPU, its memory, the versions of the packages, and torch's defaults of precision."""

from __future__ import annotations

import platform
from importlib import metadata

import torch

from benchmarks.gpu.part import PartRun

PACKAGES = ("monai", "numpy", "open_clip_torch", "pydicom", "nibabel", "imagecodecs", "timm", "peft", "onnxruntime")


def machine(run: PartRun) -> None:
    """Records what the figures depend on."""
    run.record(device="the CPU in the place of a GPU", python=platform.python_version(), torch=torch.__version__)
    run.record(packages={name: version(name) for name in PACKAGES}, cpu_threads=torch.get_num_threads())
    if run.device.type == "cuda":
        _gpu(run)


def _gpu(run: PartRun) -> None:
    properties = torch.cuda.get_device_properties(run.device)
    run.record(
        device=properties.name,
        gpu_memory_gb=round(properties.total_memory / 1e9, 1),
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),
        tf32_of_products=torch.backends.cuda.matmul.allow_tf32,
        tf32_of_convolutions=torch.backends.cudnn.allow_tf32,
    )
    product = torch.rand(256, 256, device=run.device) @ torch.rand(256, 256, device=run.device)
    run.record(product_is_finite=bool(torch.isfinite(product).all()))


def version(name: str) -> str:
    """Returns the version of an installed package, or ``none``."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"
