"""Loads published checkpoints of SAM, refuses those of another SAM, and fits them to another image size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from fedmed_networks.checkpoint_file import own_names, read_state
from fedmed_networks.sam.architecture import PUBLISHED
from fedmed_networks.sam.tiny_vit import timm_names
from fedmed_networks.weights import NAMED, differing_shapes

POSITIONS = "image_encoder.pos_embed"


def load_sam_weights(sam: nn.Module, path: Path, model_type: str) -> None:
    """Loads a checkpoint into a whole SAM of segment_anything.

    A checkpoint of another image size is fitted: the position embedding is interpolated bicubically (with antialiasing
    if it shrinks), the relative positions of global attention linearly, as segment_anything does in its forward pass.

    Parameters
    ----------
    sam
        A :class:`segment_anything.modeling.Sam`.
    path
        A state as segment_anything or MobileSAM publishes it (``.pth``, ``.pt``), one of a trainer, or one in
        safetensors, see :func:`fedmed_networks.checkpoint_file.read_checkpoint`. A prefix of all names is removed.
    model_type
        Model type of the network, for error messages.

    Raises
    ------
    ValueError
        The file is no checkpoint, or one of another network. The message names the file and both networks.
    """
    expected = sam.state_dict()
    state = timm_names(own_names(read_state(path), expected))
    missing, unknown = _names(set(expected) - set(state)), _names(set(state) - set(expected))
    fitted = {name: _fitted(name, value, expected) for name, value in state.items()}
    shapes = differing_shapes(fitted, expected)
    if missing or unknown or shapes:
        raise ValueError(
            f"{path}: expected the weights of a SAM {model_type} ({_describe(expected)}), found {_describe(state)}; "
            f"missing: {missing or 'none'}; unknown: {unknown or 'none'}; of other shapes: {_names(shapes) or 'none'}"
        )
    sam.load_state_dict(fitted)


def _fitted(name: str, value: torch.Tensor, expected: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Interpolates a tensor of positions to the image size of the network; other tensors are returned unchanged."""
    if name not in expected or value.shape == expected[name].shape:
        return value
    wanted = expected[name].shape
    if name == POSITIONS and value.ndim == 4 and value.shape[-1] == wanted[-1]:
        planes = value.float().permute(0, 3, 1, 2)  # (1, D, rows, columns)
        scaled = functional.interpolate(planes, (wanted[1], wanted[2]), mode="bicubic", antialias=True)
        return scaled.permute(0, 2, 3, 1)  # (1, rows, columns, D)
    if ".attn.rel_pos_" in name and value.ndim == 2 and value.shape[1] == wanted[1] and _is_global(name, expected):
        return functional.interpolate(value.float().t()[None], wanted[0], mode="linear")[0].t()
    return value


def _is_global(name: str, expected: Mapping[str, torch.Tensor]) -> bool:
    """Tells whether a table of relative positions covers the whole image."""
    return expected[name].shape[0] == 2 * expected[POSITIONS].shape[1] - 1


def _describe(state: Mapping[str, torch.Tensor]) -> str:
    if POSITIONS not in state or state[POSITIONS].ndim != 4:
        return f"{len(state)} tensors without {POSITIONS}" if state else "no tensors"
    width = state[POSITIONS].shape[-1]
    depth = len({name.split(".")[2] for name in state if name.startswith("image_encoder.blocks.")})
    of_size = [name for name, known in PUBLISHED.items() if known.encoder and known.encoder.width == width]
    return f"an image encoder of width {width} and depth {depth}{''.join(f', as {name} has' for name in of_size)}"


def _names(names: set[str] | list[str]) -> str:
    """Lists the first few of many names."""
    listed = sorted(names)
    return "; ".join(listed[:NAMED]) + (f" and {len(listed) - NAMED} more" if len(listed) > NAMED else "")
