"""Costs of methods: bytes, bytes until a score is reached, time and memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedmed_workflows.comparison.results.compared_run import Arm, ComparedRun
from fedmed_workflows.federation.training import FEDERATED


@dataclass(frozen=True)
class Cost:
    """Costs of an arm: means over its runs.

    Attributes
    ----------
    runs
        Number of runs.
    manifest_bytes
        Bytes of an update, one way.
    bytes
        Bytes that all sites sent and received in a run; None if nothing is exchanged.
    reached
        Number of runs that reached the score.
    bytes_to_reach, rounds_to_reach
        Bytes and rounds until the score was reached, of the runs that reached it; None if no run did.
    round_seconds
        Seconds of training and aggregation in a round, without evaluation; None if nothing trained.
    peak_memory_bytes, peak_gpu_bytes
        The largest value of the runs; None if unknown.
    """

    runs: int
    manifest_bytes: float
    bytes: float | None
    reached: int
    bytes_to_reach: float | None
    rounds_to_reach: float | None
    round_seconds: float | None
    peak_memory_bytes: float | None
    peak_gpu_bytes: float | None


def costs(runs: Sequence[ComparedRun], reach: float) -> dict[Arm, Cost]:
    """Computes the costs of every arm, and when its runs reached a score of :func:`validated`."""
    by_arm: dict[Arm, list[ComparedRun]] = {}
    for run in runs:
        by_arm.setdefault(run.arm, []).append(run)
    return {arm: _cost(own, reach, arm.training == FEDERATED) for arm, own in by_arm.items()}


def score_to_reach(runs: Iterable[ComparedRun]) -> float | None:
    """Finds the lowest of the federated methods' mean scores after the last round: all reach it on average."""
    last: dict[Arm, list[float]] = {}
    for run in runs:
        scores = validated(run)
        if run.arm.training == FEDERATED and scores:
            last.setdefault(run.arm, []).append(scores[-1][1])
    return min((float(np.mean(scores)) for scores in last.values()), default=None)


def validated(run: ComparedRun) -> list[tuple[int, float]]:
    """Lists round and key metric of the aggregate at the unseen site; without one, the mean over the trained sites."""
    sites = [run.unseen] if run.unseen else run.trained_sites
    found = []
    for entry in run.result["history"]:
        scores = [_validation(entry, site, run.result["key_metric"]) for site in sites]
        known = [score for score in scores if score is not None]
        if known:
            found.append((int(entry["round"]), float(np.mean(known))))
    return found


def _validation(entry: Mapping[str, Any], site: str, key: str) -> float | None:
    value: float | None = (entry.get("validation") or {}).get(site, {}).get(key)
    return value


def _cost(runs: Sequence[ComparedRun], reach: float, exchanged: bool) -> Cost:
    totals = [_bytes_by_round(run) for run in runs]
    reached = [next((number for number, score in validated(run) if score >= reach), None) for run in runs]
    spent = [total.get(number, 0) for total, number in zip(totals, reached, strict=True) if number is not None]
    seconds = [entry["seconds"] for run in runs for entry in run.result["history"] if "seconds" in entry]
    return Cost(
        runs=len(runs),
        manifest_bytes=float(np.mean([run.result["manifest"]["bytes"] for run in runs])),
        bytes=float(np.mean([max(total.values(), default=0) for total in totals])) if exchanged else None,
        reached=len(spent),
        bytes_to_reach=float(np.mean(spent)) if spent and exchanged else None,
        rounds_to_reach=float(np.mean([number for number in reached if number is not None])) if spent else None,
        round_seconds=float(np.mean(seconds)) if seconds else None,
        peak_memory_bytes=_largest(runs, "peak_memory_bytes"),
        peak_gpu_bytes=_largest(runs, "peak_gpu_bytes"),
    )


def _bytes_by_round(run: ComparedRun) -> dict[int, int]:
    """Adds up the bytes that all sites sent and received until the end of each round."""
    total, by_round = 0, {}
    for entry in run.result["history"]:
        parts = entry.get("sites", {}).values()
        total += sum((part.get("sent_bytes") or 0) + (part.get("received_bytes") or 0) for part in parts)
        by_round[int(entry["round"])] = total
    return by_round


def _largest(runs: Sequence[ComparedRun], name: str) -> float | None:
    known = [value for run in runs if (value := run.cost.get(name)) is not None]
    return max(known, default=None)
