"""Tables of a comparison: rows of CSV files, and the main table as LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fedmed_workflows.comparison.results.compared_run import Arm, ComparedRun
from fedmed_workflows.comparison.results.curves import Curves
from fedmed_workflows.comparison.results.paired_tests import PairedTest
from fedmed_workflows.comparison.results.run_costs import Cost
from fedmed_workflows.comparison.results.site_scores import (
    Place,
    SeedMean,
    SeedValues,
    fairness,
    over_places,
    seed_mean,
    seed_values,
)
from fedmed_workflows.report.figures.metric_names import Group, groups_of, metric_of
from fedmed_workflows.report.tables import metric_rows

RUN_COLUMNS = ("method", "training", "trained_at", "seed", "unseen_site")
SUMMARY_COLUMNS = ("method", "training", "site", "role", "metric", "mean", "low", "high", "seeds")
TEST_COLUMNS = ("metric", "first", "second", "pairs", "difference", "low", "high", "wilcoxon", "wilcoxon_holm", "t",
                "t_holm", "refused")  # fmt: skip
COST_COLUMNS = ("method", "training", *Cost.__dataclass_fields__)
CURVE_COLUMNS = ("method", "training", "site", "role", "curve", "x", "y")

EVERY = "every site"
"""Name in the column of sites for the mean over the sites of a role."""

LATEX = {"\\": r"\textbackslash{}", **{c: f"\\{c}" for c in "&%$#_{}"}, "~": r"\textasciitilde{}", "^": r"\^{}"}


def score_rows(runs: Iterable[ComparedRun]) -> Iterator[dict[str, Any]]:
    """Yields every number of every run: the rows of its ``metrics.csv`` after columns that name the run."""
    for run in runs:
        of = (run.arm.method, run.arm.training, run.trained_at, run.seed, run.unseen)
        for row in metric_rows(run.result):
            yield {**dict(zip(RUN_COLUMNS, of, strict=True)), **row}


def metric_groups(runs: Iterable[ComparedRun]) -> list[Group]:
    """Groups the metrics of the runs' scores, in reading order."""
    return groups_of(score for run in runs for score in run.result["final"].values())


def summary_rows(runs: Sequence[ComparedRun]) -> Iterator[dict[str, Any]]:
    """Yields mean and interval over the seeds, by metric, arm and site, and over the sites of a role."""
    for metric in (name for group in metric_groups(runs) for name in group.metrics):
        for arm, places in seed_values(runs, metric).items():
            means = {place: seed_mean([*seeds.values()]) for place, seeds in sorted(places.items())}
            for role in sorted({place.role for place in places}):
                means[Place(EVERY, role)] = seed_mean(over_places(places, role))
            for place, mean in means.items():
                yield {**asdict(arm), **asdict(place), "metric": metric, **asdict(mean)}


def test_rows(metric: str, tests: Iterable[PairedTest]) -> Iterator[dict[str, Any]]:
    """Yields a row for each pair of arms."""
    for test in tests:
        difference = {"difference": test.difference.mean, "low": test.difference.low, "high": test.difference.high}
        arms = {"metric": metric, "first": test.first.name, "second": test.second.name}
        yield {**asdict(test), **arms, **difference}


def cost_rows(costs: Mapping[Arm, Cost]) -> Iterator[dict[str, Any]]:
    """Yields a row for each arm."""
    for arm, cost in costs.items():
        yield {**asdict(arm), **asdict(cost)}


def curve_rows(curves: Mapping[str, Curves]) -> Iterator[dict[str, Any]]:
    """Yields a row for each point of each curve, by kind, place and arm."""
    for kind, places in curves.items():
        for place, arms in places.items():
            for arm, points in arms.items():
                for x, y in zip(*points, strict=True):
                    yield {**asdict(arm), **asdict(place), "curve": kind, "x": float(x), "y": float(y)}


def latex_table(values: SeedValues, role: str, key: str) -> str:
    """Writes the main table for a paper in the style of ``booktabs``: arms by sites, then mean and worst site.

    Parameters
    ----------
    values
        Values of the key metric.
    role
        Role of the sites to show.
    key
        Name of the key metric.
    """
    metric = metric_of(key)
    sites = sorted({place for places in values.values() for place in places if place.role == role})
    heads = ["Method", *(place.site for place in sites), "Mean", "Worst"]
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}", r"\toprule", _line(map(_escaped, heads)), r"\midrule"]
    for arm, places in values.items():
        means = [seed_mean([*places.get(place, {}).values()]) for place in sites]
        means.append(seed_mean(over_places(places, role)))
        worst = fairness(places, role, metric.lower_is_better).worst
        cells = [_escaped(arm.name), *(_cell(mean, metric.digits) for mean in means)]
        lines.append(_line([*cells, "--" if worst is None else f"{worst:.{metric.digits}f}"]))
    end = [r"\bottomrule", r"\end{tabular}"]
    words = f"% {metric.heading}: mean and half the 95% t interval over the seeds. Needs \\usepackage{{booktabs}}."
    return "\n".join([words, *lines, *end]) + "\n"


def _cell(mean: SeedMean, digits: int) -> str:
    if mean.mean is None:
        return "--"
    half = "" if mean.high is None else rf" $\pm$ {mean.high - mean.mean:.{digits}f}"
    return f"{mean.mean:.{digits}f}{half}"


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _escaped(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in " ".join(text.split()))
