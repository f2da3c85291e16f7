"""Sizes of SAMs: published SAMs by name, small ones by a mapping of their sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedmed_networks.settings import check_number
from fedmed_networks.weights import plain

PATCH_SIZE = 16
"""Side of a patch in pixels. The mask decoder scales patches by four, so logits have a quarter of the image's side."""


@dataclass(frozen=True)
class VisionTransformer:
    """Sizes of SAM's image encoder.

    Attributes
    ----------
    width
        Length of a token.
    depth
        Number of blocks.
    heads
        Attention heads of a block.
    window_size
        Side, in tokens, of the windows within which most blocks attend.
    global_blocks
        Indices of the blocks that attend to the whole image.
    """

    width: int
    depth: int
    heads: int
    window_size: int
    global_blocks: tuple[int, ...]


@dataclass(frozen=True)
class SamArchitecture:
    """Sizes of a SAM.

    Attributes
    ----------
    encoder
        The image encoder; None stands for TinyViT (:class:`fedmed_networks.sam.tiny_vit.TinyVitEncoder`).
    neck
        Channels of the image embedding, the input of the mask decoder.
    decoder_depth, decoder_heads, decoder_mlp
        Blocks and attention heads of the two-way transformer, and the length of the hidden layer of its MLPs.
    """

    encoder: VisionTransformer | None
    neck: int = 256
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_mlp: int = 2048


PUBLISHED = {
    "vit_b": SamArchitecture(VisionTransformer(768, 12, 12, 14, (2, 5, 8, 11))),
    "vit_l": SamArchitecture(VisionTransformer(1024, 24, 16, 14, (5, 11, 17, 23))),
    "vit_h": SamArchitecture(VisionTransformer(1280, 32, 16, 14, (7, 15, 23, 31))),
    "tiny_vit": SamArchitecture(None),
}
"""SAM with its three published encoders (Kirillov et al., arXiv 2304.02643), and with TinyViT in their place."""

_KEYS = {field.name for kind in (VisionTransformer, SamArchitecture) for field in dataclasses.fields(kind)}
KEYS = frozenset(_KEYS - {"encoder"} | {"patch_size"})
"""Keys of a mapping that describes a SAM."""


def sam_architecture(model_type: str | Mapping[str, Any]) -> SamArchitecture:
    """Returns the sizes of a SAM for its name or for a mapping.

    Parameters
    ----------
    model_type
        ``vit_b``, ``vit_l``, ``vit_h``, ``tiny_vit``, or a mapping with all of :data:`KEYS`: the attributes of
        :class:`VisionTransformer` and :class:`SamArchitecture`, and ``patch_size``, which is 16.

    Raises
    ------
    ValueError
        The name is unknown, the mapping lacks a key or has an unknown one, or its sizes do not fit each other.
    """
    if isinstance(model_type, Mapping):
        sizes = plain(model_type)
        _check_keys(sizes)
        _check_sizes(sizes)
        return _from_sizes(sizes)
    if model_type not in PUBLISHED:
        raise ValueError(f"model_type {model_type!r}: expected one of {sorted(PUBLISHED)} or a mapping of sizes")
    return PUBLISHED[model_type]


def _from_sizes(sizes: dict[str, Any]) -> SamArchitecture:
    names = [field.name for field in dataclasses.fields(VisionTransformer)]
    encoder = VisionTransformer(**{**{name: sizes[name] for name in names}, "global_blocks": _blocks(sizes)})
    decoder = {name: sizes[name] for name in ("neck", "decoder_depth", "decoder_heads", "decoder_mlp")}
    return SamArchitecture(encoder, **decoder)


def _blocks(sizes: dict[str, Any]) -> tuple[int, ...]:
    return tuple(sorted(sizes["global_blocks"]))


def _check_keys(sizes: dict[str, Any]) -> None:
    unknown, missing = sorted(set(sizes) - KEYS), sorted(KEYS - set(sizes))
    if unknown or missing:
        raise ValueError(f"model_type: unknown keys {unknown}, missing keys {missing}; expected {sorted(KEYS)}")


def _check_sizes(sizes: dict[str, Any]) -> None:
    for name in sorted(KEYS - {"global_blocks"}):
        check_number(f"model_type: {name}", sizes[name], least=1, whole=True)
    blocks = sizes["global_blocks"]
    if not isinstance(blocks, list) or not set(blocks) <= set(range(sizes["depth"])):
        raise ValueError(f"model_type: global_blocks: expected places below depth {sizes['depth']}, found {blocks!r}")
    rules = {
        f"patch_size is {PATCH_SIZE}, a quarter of it a logit": sizes["patch_size"] == PATCH_SIZE,
        "width is a multiple of heads": sizes["width"] % sizes["heads"] == 0,
        "width is a multiple of 4, the adapters' reduction": sizes["width"] % 4 == 0,
        "neck is a multiple of 8": sizes["neck"] % 8 == 0,
        "neck is a multiple of twice decoder_heads": sizes["neck"] % (2 * sizes["decoder_heads"]) == 0,
    }
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        raise ValueError(f"model_type: found {sizes}, expected that {', and '.join(broken)}")
