"""Published checkpoints of a SAM with TinyViT, under the names of the network here."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

ENCODER = "image_encoder"
STAGES = rf"{ENCODER}\.layers\."
HEAD = rf"{ENCODER}\.(head|norm_head)\."
"""Of the classifier that TinyViT was before: no SAM uses it."""

RENAMED = (
    (rf"^{ENCODER}\.patch_embed\.seq\.0\.", rf"{ENCODER}.patch_embed.conv1."),
    (rf"^{ENCODER}\.patch_embed\.seq\.2\.", rf"{ENCODER}.patch_embed.conv2."),
    (rf"^{STAGES}", rf"{ENCODER}.stages."),
    (rf"^({ENCODER}\..+)\.c\.weight$", r"\1.conv.weight"),
)
"""Patterns of names and what takes their place, one after the other."""


def timm_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state with TinyViT under the names of its authors' code, under those of timm; any other state as it is.

    Parameters
    ----------
    state
        Of a whole SAM, as MobileSAM (``mobile_sam.pt``) publishes it.

    Notes
    -----
    timm counts the step between two stages to the later one, the published code to the earlier one. Sources: Wu et al.,
    "TinyViT", arXiv 2207.10666; Zhang et al., "MobileSAM", arXiv 2306.14289.
    """
    if not any(re.match(STAGES, name) for name in state):
        return dict(state)
    return {_timm_name(name): value for name, value in state.items() if not re.match(HEAD, name)}


def _timm_name(name: str) -> str:
    name = re.sub(rf"^{STAGES}(\d+)\.downsample\.", lambda found: _next_stage(int(found[1])), name)
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _next_stage(stage: int) -> str:
    return f"{ENCODER}.stages.{stage + 1}.downsample."
