"""Accounts for the privacy of a run: epsilon after every round, in the history and in the report."""

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
"""Values that leave a site without noise, for the report's reader."""


def check_accountant(privacy: GaussianUpdate | None) -> None:
    """Refuses a private run whose epsilon cannot be computed, before the run starts.

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
    """Adds ``epsilon`` after all rounds so far to the history's entry of a round, and logs it.

    Without privacy the entry is unchanged. The count is the number of rounds, or the largest number of answers that a
    site reports if that is larger: a round that was interrupted and asked again with other weights is a further answer.
    """
    if privacy is None:
        return dict(entry)
    epsilon = privacy.epsilon(_answers([*history, entry]))
    line = f"round {entry['round']}: epsilon {epsilon:.4g} at delta {privacy.delta:g}"
    logger.info(line)
    if not logger.isEnabledFor(logging.INFO):  # MONAI's command keeps no log: the line goes beside the progress bar
        tqdm.write(line)
    return {**entry, "epsilon": epsilon}


def privacy_notes(privacy: GaussianUpdate | None, history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the report's notes on the privacy of a run; none for a run without privacy."""
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
