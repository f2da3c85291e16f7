"""Finds the file of the weights that a CLIP's name or tag stands for, so that exactly this file is loaded."""

from __future__ import annotations

import tempfile
from pathlib import Path

import open_clip
import torch
from open_clip.factory import _find_checkpoint_in_dir  # the file that open_clip itself would load from the folder
from open_clip.pretrained import download_pretrained_from_hf
from torch import nn

from fedmed_networks.checkpoint_file import check_finite, own_names, read_checkpoint

HUB, FOLDER = "hf-hub:", "local-dir:"
"""First characters of a CLIP's name that also stands for its weights."""


def check_single_source(name: str, weights: str | None) -> None:
    """Refuses weights beside a name that brings its own weights: open_clip would ignore them.

    Raises
    ------
    ValueError
        The message names both.
    """
    if weights is not None and name.startswith((HUB, FOLDER)):
        raise ValueError(
            f"weights {weights!r} of CLIP {name}: this name brings its own weights, and these would be ignored; "
            "expected no weights beside it, or the name of an open_clip model"
        )


def checkpoint_file(name: str, weights: str | None) -> tuple[str, Path] | None:
    """Finds the file of weights of a CLIP, and downloads it if the name or the tag stands for a published file.

    Returns
    -------
    tuple
        The source for the record, and the file. None if there is nothing to load.

    Raises
    ------
    Exception
        open_clip does not find the file.
    """
    if name.startswith(FOLDER):
        folder = Path(name.removeprefix(FOLDER))
        found = _find_checkpoint_in_dir(folder)
        return (f"{FOLDER}{folder.name}", Path(found)) if found else None
    if name.startswith(HUB):
        return name, Path(download_pretrained_from_hf(name.removeprefix(HUB)))
    if weights is None:
        return None
    tagged = open_clip.get_pretrained_cfg(name, weights)
    if tagged:
        return f"tag {weights}", Path(open_clip.download_pretrained(tagged))
    if not Path(weights).is_file():
        raise ValueError("there is no such file")
    return f"file {Path(weights).name}", Path(weights)


def load_weights(model: nn.Module, path: Path) -> None:
    """Loads a file into a CLIP with open_clip's own conversions; layouts that open_clip does not know are read first.

    Raises
    ------
    Exception
        The file does not fit the CLIP, or holds values that are no finite numbers.
    """
    if path.suffix in (".npz", ".npy"):  # open_clip reads the arrays of big_vision
        open_clip.load_checkpoint(model, str(path))
    else:
        found = read_checkpoint(path)
        named = own_names(found.state, model.state_dict())
        if found.entries in ((), ("state_dict",)) and named.keys() == found.state.keys() and not found.unread:
            open_clip.load_checkpoint(model, str(path), weights_only=True)
        else:
            with tempfile.TemporaryDirectory() as folder:
                torch.save(named, Path(folder) / "state.pt")
                open_clip.load_checkpoint(model, str(Path(folder) / "state.pt"), weights_only=True)
    check_finite(model.state_dict(), path)


def check_activation(name: str, weights: str | None) -> None:
    """Refuses weights that were trained with another activation: open_clip would load them silently."""
    tagged = open_clip.get_pretrained_cfg(name, weights) if weights else None
    if not tagged:
        return
    quick = bool((open_clip.get_model_config(name) or {}).get("quick_gelu"))
    if bool(tagged.get("quick_gelu")) != quick:
        found, expected = ("QuickGELU", f"{name}-quickgelu") if not quick else ("GELU", name.removesuffix("-quickgelu"))
        raise ValueError(f"weights {weights!r} of CLIP {name}: trained with {found}; expected CLIP {expected!r}")
