"""Selects the target features of the training sites before round 1; notes if they come from the unseen site."""

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


@dataclass(frozen=True)
class Preparation:
    """The result of a step before round 1.

    Attributes
    ----------
    settings
        Entries of the training configuration to replace at the training sites.
    notes
        Remarks for the reader of the report.

    Examples
    --------
    >>> from fedmed_workflows import Preparation
    >>> preparation = Preparation({"target": "none"}, notes=["The sites align to no target."])
    >>> preparation.settings
    {'target': 'none'}
    """

    settings: dict[str, Any]
    notes: list[str]


class TargetPreparation:
    """Replaces the target ``unseen`` by a file of features that the unseen site releases.

    Parameters
    ----------
    target
        ``unseen``, or any target of :func:`fedmed_workflows.target_dataset`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from fedmed_workflows import TargetPreparation
    >>> prepare = TargetPreparation("none")
    >>> prepare(unseen=None, output_dir=Path("run"))
    Preparation(settings={'target': 'none'}, notes=[])
    """

    def __init__(self, target: str | None) -> None:
        self.target = target

    def __call__(self, unseen: SiteAlgo | None, output_dir: Path) -> Preparation:
        """Returns the target of the training sites, and a note if the unseen site's images take part in training.

        Parameters
        ----------
        unseen
            The :class:`fedmed_workflows.SiteAlgo` of the unseen site, or None.
        output_dir
            The run folder. Released features are written to its folder ``released``.

        Raises
        ------
        ValueError
            The target is ``unseen`` and there is no unseen site, or the unseen site has no fixed features.
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
            "move random transforms to train#preprocessing; a method that trains the encoder needs the target 'none'"
        )
    return features


def _is_of(target: str, unseen: SiteAlgo) -> bool:
    """Returns whether a target holds images of the unseen site, or features that the unseen site released."""
    path = Path(target).resolve()
    if path.is_file():
        return torch.equal(ReleasedFeatures(path, unseen.network).features, _features(unseen))
    folder = Path(unseen.dataset_dir).resolve()
    return path == folder or path in folder.parents or folder in path.parents
