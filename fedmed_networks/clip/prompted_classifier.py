"""The base of classifiers with class prompts of CLIP: class names in the state, the size of pictures, refusals."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from fedmed_networks.clip.class_names import CLASS_NAMES, from_bytes, to_bytes
from fedmed_networks.clip.foundation import FrozenClip
from fedmed_networks.weights import NAMED, check_state_digest

PROMPT = "a picture of a {}"
"""The class prompt of FACMIC's published implementation."""


class PromptedClassifier(nn.Module, ABC):
    """Classifies pictures by the cosine between their features and the embeddings of class prompts.

    Such a network has ``prompts`` (C, D), L2-normalised, and ``scale``, exp(logit_scale). They are tensors of its state
    if they are frozen.

    Parameters
    ----------
    class_names
        The C classes, in the order of the logits. They are part of the state (``class_names_utf8``), so that the
        checkpoint of a network with other classes is refused.
    foundation
        The CLIP; it defines the size of the pictures. The attribute ``foundation_weights`` is the record of its
        weights.

    Raises
    ------
    ValueError
        Fewer than two classes, or a class named twice.
    """

    __jit_unused_properties__: tuple[str, ...] = ("class_names",)

    class_names_utf8: torch.Tensor

    def __init__(self, class_names: Sequence[str], foundation: FrozenClip) -> None:
        super().__init__()
        names = [class_names] if isinstance(class_names, str) else [str(name) for name in class_names]
        if len(names) < 2 or len(set(names)) < len(names):
            raise ValueError(f"class_names: expected two or more different names, found {names}")
        self.register_buffer(CLASS_NAMES, to_bytes(names))
        self.image_size = foundation.image_size
        self.foundation_weights = foundation.weights

    @property
    def class_names(self) -> list[str]:
        """The classes, in the order of the logits."""
        return from_bytes(self.class_names_utf8)

    @abstractmethod
    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """Computes the features of CLIP's image encoder: (B, 3, S, S) -> (B, D), not normalised."""

    @abstractmethod
    def adapt(self, features: torch.Tensor) -> torch.Tensor:
        """Computes the L2-normalised vectors that are compared with the prompts: (B, D) -> (B, D)."""

    @abstractmethod
    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Computes logits of features: (B, D) -> (B, C)."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Computes logits of pictures.

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
            The pictures have another size than those of the CLIP.
        """
        return self.classify(self.encode(image))

    @torch.jit.unused
    def _check_size(self, image: torch.Tensor) -> None:
        found = tuple(image.shape[1:])
        if image.ndim != 4 or found[0] != 3 or (self.image_size and found[1:] != self.image_size):
            rows, columns = self.image_size or ("S", "S")
            raise ValueError(f"image: expected shape (B, 3, {rows}, {columns}), found {tuple(image.shape)}")

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, metadata: dict[str, Any], strict: bool, *rest: Any
    ) -> None:
        check_state_digest(state_dict, prefix, metadata)
        stored = state_dict.get(f"{prefix}{CLASS_NAMES}")
        if stored is not None and from_bytes(stored) != self.class_names:
            raise ValueError(
                f"checkpoint: its classes are {from_bytes(stored)}, this network was made for {self.class_names}"
            )
        missing = [] if strict else sorted(name for name in self.state_dict() if f"{prefix}{name}" not in state_dict)
        if missing:  # the rest would keep random weights; torch itself refuses it only if loading is strict
            raise ValueError(
                f"checkpoint: expected the whole state of a {type(self).__name__}; it lacks {missing[:NAMED]} "
                f"({len(missing)} in all), and holds {sorted(map(str, state_dict))[:NAMED]}"
            )
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, *rest)
