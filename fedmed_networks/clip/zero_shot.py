"""Zero-shot CLIP: a frozen CLIP with class prompts, the base of every method on a frozen CLIP."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from fedmed_networks.clip.foundation import PUBLISHED, shared_clip
from fedmed_networks.clip.prompted_classifier import PROMPT, PromptedClassifier


class ZeroShotCLIP(PromptedClassifier):
    """Classifies pictures by the cosine between CLIP's features and the embeddings of class prompts; nothing trains.

    All networks of the process with the same CLIP share the image encoder f. The logits are exp(logit_scale) times the
    cosine of f(x) and the prompt ``a picture of a {class}`` of each class. The prompts are embedded once, on
    construction: the text encoder is no part of this module or of its checkpoints.

    Parameters
    ----------
    class_names
        The C classes, in the order of the logits.
    clip, weights
        The foundation, see :func:`fedmed_networks.clip.foundation.shared_clip`.

    Raises
    ------
    ValueError
        Fewer than two classes, a class named twice, an unknown CLIP, weights that do not fit.

    Notes
    -----
    Source: Radford et al., arXiv 2103.00020, section 3.1.

    Examples
    --------
    >>> import torch
    >>> from fedmed_networks import ZeroShotCLIP
    >>> clip = {"embed_dim": 16, "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
    ...         "text_cfg": {"width": 32, "heads": 2, "layers": 1}}  # a small CLIP with random weights
    >>> ZeroShotCLIP(["benign", "malignant"], clip)(torch.rand(4, 3, 16, 16)).shape
    torch.Size([4, 2])
    """

    prompts: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self, class_names: Sequence[str], clip: str | Mapping[str, Any] = PUBLISHED, weights: str | Path | None = None
    ) -> None:
        foundation = shared_clip(clip, weights)
        super().__init__(class_names, foundation)
        self.visual = foundation.visual
        self.register_buffer("prompts", foundation.shared_prompts([PROMPT.format(name) for name in self.class_names]))
        self.register_buffer("scale", torch.tensor(foundation.scale))

    def train(self, mode: bool = True) -> "ZeroShotCLIP":
        """Sets the mode of the parts that a method adds; the frozen encoder stays in evaluation mode."""
        super().train(mode)
        self.visual.eval()
        return self

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """Computes the features f(x) of the frozen encoder: (B, 3, S, S) -> (B, D), not normalised."""
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            self._check_size(image)
        return self.visual(image)

    def adapt(self, features: torch.Tensor) -> torch.Tensor:
        """Normalises the features of CLIP: (B, D) -> (B, D)."""
        return functional.normalize(features, dim=1)

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Computes logits of CLIP features: (B, D) -> (B, C)."""
        return self.scale * self.adapt(features) @ self.prompts.t()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        if self._encoder_differs(state_dict, f"{prefix}visual."):
            own: dict[int, Any] = {id(value): value for value in self.parameters() if value.requires_grad}
            self.visual = copy.deepcopy(self.visual, own)  # other networks keep the shared one
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _encoder_differs(self, state_dict: dict[str, Any], prefix: str) -> bool:
        return any(
            prefix + name in state_dict and not _same(value, state_dict[prefix + name])
            for name, value in self.visual.state_dict(keep_vars=True).items()
            if not value.requires_grad
        )


def _same(one: torch.Tensor, other: Any) -> bool:
    return isinstance(other, torch.Tensor) and one.shape == other.shape and torch.equal(one.cpu(), other.cpu())
