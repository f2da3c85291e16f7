"""Before round 1: whose features the training sites align to, and what that means for the unseen site's score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fedmed_workflows.federation.site.site_algo import SiteAlgo
from fedmed_workflows.sites.datasets.target import NOBODY, ReleasedFeatures, release_features

UNSEEN = "unseen"

TRANSDUCTIVE = (
    "The training sites aligned their features to the unlabelled features of {}. "
    "Its scores are therefore transductive: its images (never their labels) took part in training."
)


class TargetPreparation:
    """Before round 1: resolves ``unseen`` to the features that the unseen site releases.

    Parameters
    ----------
    target
        ``unseen``, or anything :func:`fedmed_workflows.target_dataset` takes.
    """

    def __init__(self, target: str | None) -> None:
        self.target = target

    def __call__(self, unseen: SiteAlgo | None, output_dir: Path) -> Preparation:
        """Settings of the training sites, and what a reader of the report must know.

        Parameters
        ----------
        unseen
            The unseen site's :class:`fedmed_workflows.SiteAlgo`, or None.
        output_dir
            The run's folder; released features are written to its ``released`` folder.

        Raises
        ------
        ValueError
            The target is ``unseen`` and there is no unseen site.
        """
        if self.target == UNSEEN:
            if unseen is None:
                raise ValueError("target 'unseen': expected an unseen site (--unseen_site), or another target")
            path = output_dir / "released" / f"{unseen.site}.safetensors"
            release_features(_features(unseen), unseen.network, path)
            return Preparation({"target": str(path)}, [TRANSDUCTIVE.format(unseen.site)])
        if unseen is not None and self.target not in (None, NOBODY) and _is_of(str(self.target), unseen):
            return Preparation({"target": self.target}, [TRANSDUCTIVE.format(unseen.site)])
        return Preparation({"target": self.target}, [])


def _features(unseen: SiteAlgo) -> torch.Tensor:
    dataset = unseen.test_dataset()
    features: torch.Tensor | None = dataset.features
    if features is None:
        raise ValueError(
            f"site {unseen.site!r}: expected fixed features to release, found none: {dataset.why_not_cached}; "
            "random transforms belong into train#preprocessing, and a method that trains the encoder has the target "
            "'none'"
        )
    return features


def _is_of(target: str, unseen: SiteAlgo) -> bool:
    """Whether a target holds the unseen site's images, or features that it released."""
    path = Path(target).resolve()
    if path.is_file():
        return torch.equal(ReleasedFeatures(path, unseen.network).features, _features(unseen))
    folder = Path(unseen.dataset_dir).resolve()
    return path == folder or path in folder.parents or folder in path.parents


@dataclass(frozen=True)
class Preparation:
    """What a step before round 1 decided.

    Attributes
    ----------
    settings
        Entries of the training configuration to replace at the training sites.
    notes
        Remarks for the report's reader.
    """

    settings: dict[str, Any]
    notes: list[str]
