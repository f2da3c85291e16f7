"""Compressed frames on a GPU through nvImageCodec, where it is installed."""

from __future__ import annotations

import torch

from fedmed_transforms.planes import Slice


def is_available() -> bool:
    """Whether nvImageCodec is installed and a GPU is there."""
    return False


def decode(frames: list[bytes], slices: list[Slice], device: torch.device) -> torch.Tensor | None:
    """The frames' words on the device, or None where they have to be decoded on the CPU."""
    return None
