"""FACMIC: a frozen CLIP whose image features pass through a trained feature attention."""

import copy
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from fedmed_networks.clip import shared_clip
from fedmed_networks.feature_attention import FeatureAttention

PROMPT = "a picture of a {}"
"""The class prompt of the published implementation."""


class FACMIC(nn.Module):
    """Classifies pictures by the cosine between adapted CLIP features and the embeddings of class prompts.

    The image encoder f is frozen and shared by all networks of the process that ask for the same CLIP; the feature
    attention a is this network's own. The adapted feature is h(x) = a(f(x)) * f(x), L2-normalised; the logits are
    exp(logit_scale) times its cosine to the prompt ``a picture of a {class}`` of each class. The prompts are embedded
    once, on construction: the text encoder is no part of this module or of its checkpoints.

    Parameters
    ----------
    class_names
        The C classes, in the order of the logits.
    clip, weights
        The foundation, see :func:`fedmed_networks.clip.shared_clip`.

    Raises
    ------
    ValueError
        Fewer than two classes, a class named twice, an unknown CLIP, weights that do not fit.

    Notes
    -----
    Source: Wu et al., arXiv 2410.14707, section 2.2. The class names are part of the state (``class_names_utf8``), so
    that a checkpoint of other classes is refused instead of answering under wrong names.
    """

    __jit_unused_properties__ = ("class_names",)

    class_names_utf8: torch.Tensor
    prompts: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self, class_names: Sequence[str], clip: str | Mapping[str, Any] = "ViT-B-32", weights: str | Path | None = None
    ) -> None:
        super().__init__()
        names = [class_names] if isinstance(class_names, str) else [str(name) for name in class_names]
        if len(names) < 2 or len(set(names)) < len(names):
            raise ValueError(f"class_names: expected two or more different names, found {names}")
        foundation = shared_clip(clip, weights)
        self.visual = foundation.visual
        self.attention = FeatureAttention(foundation.dim)
        self.register_buffer("class_names_utf8", _to_bytes(names))
        self.register_buffer("prompts", foundation.embed_prompts([PROMPT.format(name) for name in names]))
        self.register_buffer("scale", torch.tensor(foundation.scale))
        size = getattr(foundation.model.visual, "image_size", None)
        self.image_size = tuple(size) if isinstance(size, (tuple, list)) else (size, size) if size else ()

    @property
    def class_names(self) -> list[str]:
        """The classes, in the order of the logits."""
        return _from_bytes(self.class_names_utf8)

    def train(self, mode: bool = True) -> "FACMIC":
        """Training mode for the feature attention; the frozen encoder always stays in evaluation mode."""
        super().train(mode)
        self.visual.eval()
        return self

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of pictures.

        Parameters
        ----------
        image
            (B, 3, S, S), rows downwards, columns to the right, normalised as CLIP was trained
            (:class:`fedmed_transforms.ClipPreprocessd`).

        Returns
        -------
        torch.Tensor
            (B, C) logits, scaled cosines.

        Raises
        ------
        ValueError
            The pictures are not of CLIP's size.
        """
        return self.classify(self.encode(image))

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """Features f(x) of the frozen encoder, as CLIP gives them: (B, 3, S, S) -> (B, D), not normalised."""
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            self._check_size(image)
        return self.visual(image)

    def adapt(self, features: torch.Tensor) -> torch.Tensor:
        """Adapted features h = a(f) * f of CLIP features f, L2-normalised: (B, D) -> (B, D)."""
        return functional.normalize(self.attention(features) * features, dim=1)

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Logits of CLIP features: (B, D) -> (B, C)."""
        return self.scale * self.adapt(features) @ self.prompts.t()

    @torch.jit.unused
    def _check_size(self, image: torch.Tensor) -> None:
        found = tuple(image.shape[1:])
        if image.ndim != 4 or found[0] != 3 or (self.image_size and found[1:] != self.image_size):
            rows, columns = self.image_size or ("S", "S")
            raise ValueError(f"image: expected shape (B, 3, {rows}, {columns}), found {tuple(image.shape)}")

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        self._check_class_names(state_dict, prefix)
        if self._encoder_differs(state_dict, f"{prefix}visual."):
            self.visual = copy.deepcopy(self.visual)  # other networks of this process go on with the shared one
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _check_class_names(self, state_dict: dict[str, Any], prefix: str) -> None:
        stored = state_dict.get(f"{prefix}class_names_utf8")
        if stored is not None and _from_bytes(stored) != self.class_names:
            raise ValueError(
                f"checkpoint: its classes are {_from_bytes(stored)}, this network was made for {self.class_names}"
            )

    def _encoder_differs(self, state_dict: dict[str, Any], prefix: str) -> bool:
        return any(
            prefix + name in state_dict and not _same(tensor, state_dict[prefix + name])
            for name, tensor in self.visual.state_dict().items()
        )


def checkpoint_class_names(path: str | Path, missing: Sequence[str] | None = None) -> list[str]:
    """The classes of a FACMIC checkpoint, in the order of its logits.

    Parameters
    ----------
    path
        A checkpoint as training writes it: ``{"model": state}`` or a plain state.
    missing
        Answer if there is no such file yet (a bundle that was not trained).

    Raises
    ------
    FileNotFoundError
        There is no such file and `missing` is None.
    ValueError
        The file is no FACMIC checkpoint.
    """
    if not Path(path).is_file():
        if missing is None:
            raise FileNotFoundError(f"{path}: no such checkpoint")
        return list(missing)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: not a FACMIC checkpoint: {error}") from error
    state = state.get("model", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or "class_names_utf8" not in state:
        found = sorted(map(str, state))[:5] if isinstance(state, dict) else type(state).__qualname__
        raise ValueError(f"{path}: not a FACMIC checkpoint, it has no class_names_utf8; found {found}")
    return _from_bytes(state["class_names_utf8"])


def _same(one: torch.Tensor, other: Any) -> bool:
    return isinstance(other, torch.Tensor) and one.shape == other.shape and torch.equal(one.cpu(), other.cpu())


def _to_bytes(names: Sequence[str]) -> torch.Tensor:
    return torch.tensor(list(json.dumps(list(names), ensure_ascii=False).encode()), dtype=torch.uint8)


def _from_bytes(stored: torch.Tensor) -> list[str]:
    names: list[str] = json.loads(bytes(stored.cpu().tolist()))
    return names
