"""The names, units and groups of metrics in reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Metric:
    """A metric with its name and unit in a report.

    Attributes
    ----------
    noun
        Name of the metric in a sentence.
    unit
        Unit of the values; empty for a share or a probability.
    lower_is_better
        Whether lower values are better, as for a distance or an error.
    """

    noun: str
    unit: str = ""
    lower_is_better: bool = False

    @property
    def heading(self) -> str:
        """Heading of a column, with the unit."""
        return self.noun[:1].upper() + self.noun[1:] + (f" ({self.unit})" if self.unit else "")

    @property
    def digits(self) -> int:
        """Number of digits after the decimal point: three for a share, one for a value with a unit."""
        return 1 if self.unit else 3


@dataclass(frozen=True)
class Group:
    """A group of metrics in one table.

    Attributes
    ----------
    title
        Title of the table, may be empty.
    hint
        Explanation of the metrics for the reader.
    counted
        Entry of a score with the number that the metrics are averaged over: ``images`` or ``slices``.
    metrics
        The metrics by name, in the order of the columns.
    """

    title: str
    hint: str
    counted: str
    metrics: Mapping[str, Metric]

    @property
    def direction(self) -> str:
        """Sentences that state whether higher or lower values are better, for the known metrics of the group."""
        known = {name: metric for name, metric in self.metrics.items() if name in METRICS}
        lower = [metric.heading for metric in known.values() if metric.lower_is_better]
        higher = [metric.heading for metric in known.values() if not metric.lower_is_better]
        parts = ((higher, "Higher is better for"), (lower, "Lower is better for"))
        return " ".join(f"{words} {_listed(names)}." for names, words in parts if names)


def _overlap(prefix: str) -> dict[str, Metric]:
    """Returns the four metrics of masks, by names with a prefix."""
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
        "within 1 mm of the other. For pictures, which have no spacing, both are in pixels.",
        "images",
        _overlap(""),
    ),
    Group(
        "Slice by slice",
        "The same metrics for each slice. Means over all slices of all images; the intervals resample whole images.",
        "slices",
        _overlap("slice_"),
    ),
    Group(
        "As FedFMS publishes",
        "To compare with the tables of arXiv 2403.05408: slice by slice, the mean over five thresholds of the logits, "
        "where a slice without a label also counts, as one if the prediction is empty. For any other purpose read the "
        "tables above.",
        "slices",
        {"published_dice": Metric("published Dice"), "published_iou": Metric("published IoU")},
    ),
)
"""All known metrics, in the order of the tables."""

METRICS = {name: metric for group in GROUPS for name, metric in group.metrics.items()}


def metric_of(name: str) -> Metric:
    """Returns the metric of a name; an unknown metric has the name itself as its noun."""
    return METRICS.get(name, Metric(name.replace("_", " ")))


def groups_of(scores: Iterable[Mapping[str, Any]]) -> list[Group]:
    """Returns the groups of all metrics in some scores. Unknown metrics are in the first group."""
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
