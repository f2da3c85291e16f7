"""What metrics are called, how they are read, and which stand together in a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Metric:
    """A metric as a report names it.

    Attributes
    ----------
    noun
        As in a sentence.
    unit
        Of the values; empty for a share or a probability.
    lower_is_better
        A distance or an error.
    """

    noun: str
    unit: str = ""
    lower_is_better: bool = False

    @property
    def heading(self) -> str:
        """As above a column, with the unit."""
        return self.noun[:1].upper() + self.noun[1:] + (f" ({self.unit})" if self.unit else "")

    @property
    def digits(self) -> int:
        """After the point: thousandths of a share, tenths of a mm."""
        return 1 if self.unit else 3


@dataclass(frozen=True)
class Group:
    """Metrics that stand in one table.

    Attributes
    ----------
    title
        Of the table; empty where it needs none.
    hint
        What the reader must know of the metrics.
    counted
        What a score's metrics of this group are means over: its key, ``images`` or ``slices``.
    metrics
        By name, in the order to read them.
    """

    title: str
    hint: str
    counted: str
    metrics: Mapping[str, Metric]

    @property
    def direction(self) -> str:
        """Which values are better; nothing of metrics that are not known here."""
        known = {name: metric for name, metric in self.metrics.items() if name in METRICS}
        lower = [metric.heading for metric in known.values() if metric.lower_is_better]
        higher = [metric.heading for metric in known.values() if not metric.lower_is_better]
        parts = ((higher, "Higher is better for"), (lower, "Lower is better for"))
        return " ".join(f"{words} {_listed(names)}." for names, words in parts if names)


def _overlap(prefix: str) -> dict[str, Metric]:
    """The four metrics of masks, under the names that they have with a prefix."""
    metrics = {
        "dice": Metric("Dice"),
        "iou": Metric("IoU"),
        "hd95": Metric("HD95", "mm", lower_is_better=True),
        "surface_dice": Metric("surface Dice"),
    }
    return {f"{prefix}{name}": metric for name, metric in metrics.items()}


GROUPS = (
    Group(
        "",
        "",
        "images",
        {
            "balanced_accuracy": Metric("balanced accuracy"),
            "accuracy": Metric("accuracy"),
            "macro_f1": Metric("macro F1"),
            "auroc": Metric("AUROC"),
            "ece": Metric("ECE", lower_is_better=True),
        },
    ),
    Group(
        "Image by image",
        "Means over images; a volume is one image and is measured in three dimensions. HD95 is the 95th percentile of "
        "the distances between the surfaces of label and prediction, surface Dice the share of both surfaces that lies "
        "within 1 mm of the other. Pictures have no mm: with them both are in pixels.",
        "images",
        _overlap(""),
    ),
    Group(
        "Slice by slice",
        "The same, of every slice for itself. Means over all slices of all images; the intervals draw whole images.",
        "slices",
        _overlap("slice_"),
    ),
    Group(
        "As FedFMS publishes",
        "To compare with the tables of arXiv 2403.05408: slice by slice, the mean over five thresholds of the logits, "
        "where a slice without a label counts too, as one if nothing is found in it. For anything else read the tables "
        "above.",
        "slices",
        {"published_dice": Metric("published Dice"), "published_iou": Metric("published IoU")},
    ),
)
"""All metrics that are known, in the order to read them."""

METRICS = {name: metric for group in GROUPS for name, metric in group.metrics.items()}


def metric_of(name: str) -> Metric:
    """What a metric is called; its own name, if it is not known."""
    return METRICS.get(name, Metric(name.replace("_", " ")))


def groups_of(scores: Iterable[Mapping[str, Any]]) -> list[Group]:
    """The groups of the metrics that any of some scores holds; metrics that are not known join the first group."""
    found = list(dict.fromkeys(metric for score in scores for metric in score["metrics"]))
    others = {name: metric_of(name) for name in found if name not in METRICS}
    groups = []
    for index, group in enumerate(GROUPS):
        metrics = {name: metric for name, metric in group.metrics.items() if name in found}
        metrics |= others if index == 0 else {}
        if metrics:
            groups.append(Group(group.title, group.hint, group.counted, metrics))
    return groups


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
