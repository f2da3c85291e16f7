"""CLIP foundations of open_clip: each is built once in a process, frozen, and shared by all networks that use it."""

import functools
import hashlib
import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import open_clip
import torch
from torch import nn

from fedmed_networks.clip.published_weights import (
    FOLDER,
    HUB,
    check_activation,
    check_single_source,
    checkpoint_file,
    load_weights,
)
from fedmed_networks.file_digests import loaded_digest
from fedmed_networks.foundation_weights import FoundationWeights, loaded_weights, random_weights
from fedmed_networks.weights import plain

logger = logging.getLogger(__name__)

PUBLISHED = "ViT-B-32-quickgelu"
"""open_clip's name of the CLIP of the published implementations: OpenAI's ViT-B/32 with its activation."""

RANDOM_SEED = 20241014
"""Seed of random weights, so that every site of a federation has the same frozen encoder without a checkpoint."""


@dataclass(frozen=True)
class FrozenClip:
    """A CLIP with weights that never change.

    Attributes
    ----------
    visual
        Image encoder, (B, 3, S, S) -> (B, D).
    dim
        D, the length of a feature.
    weights
        The record of the weights that were loaded.
    """

    model: Any
    tokenizer: Any
    visual: nn.Module
    dim: int
    weights: FoundationWeights

    @property
    def scale(self) -> float:
        """exp(logit_scale), about 100 for trained CLIPs."""
        return float(self.model.logit_scale.detach().exp())

    @property
    def image_size(self) -> tuple[int, ...]:
        """Rows and columns of a picture; empty if the CLIP takes pictures of any size."""
        size = getattr(self.model.visual, "image_size", None)
        return tuple(size) if isinstance(size, (tuple, list)) else (size, size) if size else ()

    def tokens(self, prompts: Sequence[str]) -> torch.Tensor:
        """Splits prompts into tokens: C texts -> (C, L), whole numbers."""
        return cast(torch.Tensor, self.tokenizer(list(prompts)))

    @torch.no_grad()
    def embed_prompts(self, prompts: Sequence[str]) -> torch.Tensor:
        """Embeds prompts: C texts -> (C, D), L2-normalised."""
        tokens = self.tokens(prompts).to(self.model.logit_scale.device)
        return cast(torch.Tensor, self.model.encode_text(tokens, normalize=True)).float().cpu()

    def shared_prompts(self, prompts: Sequence[str]) -> torch.Tensor:
        """Embeds prompts as :meth:`embed_prompts` does, but only once in a process: all sites use the same prompts."""
        return _embedded(self, tuple(prompts), self.model.logit_scale.device).clone()


@functools.lru_cache(maxsize=64)
def _embedded(clip: FrozenClip, prompts: tuple[str, ...], device: torch.device) -> torch.Tensor:
    return clip.embed_prompts(prompts)


class _Latent(nn.Module):
    """Returns only the feature of an image encoder that also returns its tokens (CoCa)."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.visual(image)[0]


def shared_clip(clip: str | Mapping[str, Any], weights: str | Path | None = None) -> FrozenClip:
    """Returns the frozen CLIP of a name and weights; within a process always the same object.

    Parameters
    ----------
    clip
        An open_clip model name (``ViT-B-32-quickgelu``, ``hf-hub:org/repository``) or an open_clip model configuration
        (``{"embed_dim": ..., "vision_cfg": {...}, "text_cfg": {...}}``).
    weights
        An open_clip tag (``openai``), a local file, or None for random weights from a fixed seed. None beside a name
        that brings its own weights (``hf-hub:``, ``local-dir:``).

    Raises
    ------
    ValueError
        The name, the configuration or the tag is unknown, the weights of the tag were trained with another activation,
        the weights of the file do not fit the network, or weights are named beside a name that brings its own. The
        message names the file, the weights found and expected.
    """
    text = None if weights is None else str(weights)
    digest = loaded_digest(Path(text)) if text is not None and Path(text).is_file() else ""
    return _build(clip if isinstance(clip, str) else json.dumps(plain(clip), sort_keys=True), text, digest)


@functools.lru_cache(maxsize=4)
def _build(clip: str, weights: str | None, digest: str) -> FrozenClip:
    name = _registered(clip)
    check_single_source(name, weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        model, loaded = _create(name, weights)
    logger.log(logging.WARNING if loaded.random else logging.INFO, "%s, model %s", loaded, name)
    model.requires_grad_(False).eval()
    visual = _Latent(model.visual) if "multimodal_cfg" in (open_clip.get_model_config(name) or {}) else model.visual
    dim = int(model.text_projection.shape[-1]) if _has_tensor(model, "text_projection") else _text_dim(name)
    return FrozenClip(model, open_clip.get_tokenizer(name), visual, dim, loaded)


def _has_tensor(model: nn.Module, name: str) -> bool:
    return isinstance(getattr(model, name, None), torch.Tensor)


def _text_dim(name: str) -> int:
    return int((open_clip.get_model_config(name) or {})["embed_dim"])


def _create(name: str, weights: str | None) -> tuple[Any, FoundationWeights]:
    """Builds a CLIP and loads its weights; returns both with the record of the weights."""
    check_activation(name, weights)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # hides open_clip's warning of random weights; _build logs its own, with the seed
    try:
        found = checkpoint_file(name, weights)
        model = open_clip.create_model(name, load_weights=False, pretrained_text=False)
        if found is None:
            return model, random_weights("CLIP", name, model, RANDOM_SEED)
        load_weights(model, found[1])
        return model, loaded_weights("CLIP", name, model, *found)
    except Exception as error:  # open_clip and its readers of files raise errors of many kinds
        if weights is not None and Path(weights).is_file():
            raise ValueError(f"{weights}: these weights do not fit CLIP {name}: {error}") from error
        raise ValueError(_unknown(name, weights, error)) from error
    finally:
        root.setLevel(level)


def _unknown(name: str, weights: str | None, error: Exception) -> str:
    if weights is None:
        return f"CLIP {name} could not be built: {error}"
    tags = open_clip.list_pretrained_tags_by_model(name)
    return f"weights {weights!r} of CLIP {name}: expected a file that exists or one of the tags {tags}; {error}"


def _registered(clip: str) -> str:
    """Returns the name of a model in open_clip; registers a configuration under the name of its digest."""
    if not clip.startswith("{"):
        if not clip.startswith((HUB, FOLDER)) and open_clip.get_model_config(clip.replace("/", "-")) is None:
            raise ValueError(f"CLIP {clip!r}: expected an open_clip model name, one of {open_clip.list_models()}")
        return clip.replace("/", "-") if not clip.startswith((HUB, FOLDER)) else clip
    config = json.loads(clip)
    missing = {"embed_dim", "vision_cfg", "text_cfg"} - set(config)
    if missing:
        raise ValueError(f"CLIP configuration {clip}: lacks {sorted(missing)}")
    name = "fedmed-" + hashlib.sha256(clip.encode()).hexdigest()[:16]
    if name not in open_clip.list_models():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.json"
            path.write_text(clip)
            open_clip.add_model_config(path)
    return name
