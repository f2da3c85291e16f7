"""Fine-tuned CLIP: image encoder, text encoder and the scale of the logits train."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from fedmed_networks.clip.foundation import PUBLISHED, shared_clip
from fedmed_networks.clip.prompted_classifier import PROMPT, PromptedClassifier

UNUSED = ("text_decoder", "logit_bias")
"""Parts of some open_clip networks on which no cosine of picture and prompt depends: they get no gradient."""


class FineTunedCLIP(PromptedClassifier):
    """Classifies pictures by the cosine between CLIP's features and class prompts; all of CLIP trains.

    The logits are exp(logit_scale) times the cosine of the picture's feature and the prompt ``a picture of a {class}``
    of each class. Every pass embeds the prompts again, with gradient; only their tokens are fixed.

    Parameters
    ----------
    class_names
        The C classes, in the order of the logits.
    clip, weights
        The CLIP from which training starts, see :func:`fedmed_networks.clip.foundation.shared_clip`. The network has
        its own copy of all tensors.

    Raises
    ------
    ValueError
        Fewer than two classes, a class named twice, an unknown CLIP, weights that do not fit.

    Notes
    -----
    Source: Radford et al., arXiv 2103.00020; the baseline of Wu et al., arXiv 2410.14707, table 1.

    Examples
    --------
    >>> import torch
    >>> from fedmed_networks import FineTunedCLIP
    >>> clip = {"embed_dim": 16, "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
    ...         "text_cfg": {"width": 32, "heads": 2, "layers": 1}}  # a small CLIP with random weights
    >>> FineTunedCLIP(["benign", "malignant"], clip)(torch.rand(4, 3, 16, 16)).shape
    torch.Size([4, 2])
    """

    __jit_unused_properties__ = ("class_names", "visual")

    tokens: torch.Tensor

    def __init__(
        self, class_names: Sequence[str], clip: str | Mapping[str, Any] = PUBLISHED, weights: str | Path | None = None
    ) -> None:
        foundation = shared_clip(clip, weights)
        super().__init__(class_names, foundation)
        self.clip = copy.deepcopy(foundation.model).requires_grad_(True).train()
        for name, value in self.clip.named_parameters():
            value.requires_grad_(name.partition(".")[0] not in UNUSED)
        self.register_buffer("tokens", foundation.tokens([PROMPT.format(name) for name in self.class_names]))

    @property
    def visual(self) -> nn.Module:
        """The image encoder."""
        encoder: nn.Module = self.clip.visual
        return encoder

    @property
    def prompts(self) -> torch.Tensor:
        """Embeddings of the class prompts, with gradient: (C, D), L2-normalised."""
        embedded: torch.Tensor = self.clip.encode_text(self.tokens, normalize=True)
        return embedded

    @property
    def scale(self) -> torch.Tensor:
        """exp(logit_scale), with gradient."""
        scale: torch.Tensor = self.clip.logit_scale.exp()
        return scale

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """Computes the features f(x) of CLIP, with gradient: (B, 3, S, S) -> (B, D), not normalised."""
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            self._check_size(image)
        features: torch.Tensor = self.clip.encode_image(image, normalize=False)
        return features

    def adapt(self, features: torch.Tensor) -> torch.Tensor:
        """Normalises the features of CLIP: (B, D) -> (B, D)."""
        return functional.normalize(features, dim=1)

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Computes logits of CLIP features: (B, D) -> (B, C)."""
        return self.scale * self.adapt(features) @ self.prompts.t()
