"""What rounds of Gaussian noise guarantee: epsilon of a number of answers, in a run's history and in its report."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from fedmed_workflows.exchange.privacy.gaussian_update import gaussian_epsilon

if TYPE_CHECKING:
    from fedmed_workflows.exchange.privacy.gaussian_update import GaussianUpdate

logger = logging.getLogger(__name__)

NOT_COVERED = (
    "Not covered: the number of training images, the names of the classes, that a round failed, scores and pictures of "
    "validation and test images (which never train), features that an unseen site releases, and other runs on the same "
    "images, whose epsilons add to this one."
)
"""What leaves a site without noise, for the report's reader."""


def check_accountant(privacy: GaussianUpdate | None) -> None:
    """Finds before a run whether its epsilon can be computed.

    Raises
    ------
    ValueError
        The accountant is not installed.
    """
    if privacy is not None:
        privacy.epsilon(1)


def accounted(
    entry: Mapping[str, Any], history: Sequence[Mapping[str, Any]], privacy: GaussianUpdate | None
) -> dict[str, Any]:
    """A round's entry of the history with ``epsilon``, of all rounds so far, which is told; unchanged without privacy.

    Counted are the rounds, or the answers that a site says it gave, where these are more: a round that was broken off
    and asked again with other weights is a further answer.
    """
    if privacy is None:
        return dict(entry)
    epsilon = privacy.epsilon(_answers([*history, entry]))
    said = f"round {entry['round']}: epsilon {epsilon:.4g} at delta {privacy.delta:g}"
    logger.info(said)
    if not logger.isEnabledFor(logging.INFO):  # a run by MONAI's command keeps no log: beside the progress bar then
        tqdm.write(said)
    return {**entry, "epsilon": epsilon}


def privacy_notes(privacy: GaussianUpdate | None, history: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the report says of a run's privacy; nothing without."""
    if privacy is None:
        return []
    answers = _answers(history)
    mechanism = (
        f"Gaussian mechanism: a site's update of a round is clipped to norm {privacy.clip_norm:g} and gets noise of "
        f"standard deviation {privacy.noise_multiplier * privacy.clip_norm:g} on every value"
    )
    if privacy.noise_multiplier == 0:
        return [f"{mechanism}: clipping alone, epsilon is infinite and nothing is guaranteed. {NOT_COVERED}"]
    replaced = gaussian_epsilon(privacy.noise_multiplier / 2, answers, privacy.delta)
    return [
        f"{mechanism}. After {answers} such answers epsilon is {privacy.epsilon(answers):.4g} at delta "
        f"{privacy.delta:g}. The unit is a site: its updates against zero updates in their place. Against its training "
        f"images replaced by as many others, a single patient's or all of them, epsilon is {replaced:.4g}; no patient "
        f"has a smaller figure of their own. {NOT_COVERED}"
    ]


def _answers(history: Sequence[Mapping[str, Any]]) -> int:
    claims = [site.get("answers", 0) for entry in history for site in entry.get("sites", {}).values()]
    return max([history[-1]["round"], *(int(claim) for claim in claims if math.isfinite(claim))])
