"""Tests the costs of methods against numbers by hand: bytes, and bytes until a score."""

from __future__ import annotations

import pytest

from fedmed_workflows.comparison.results.compared_run import Arm
from fedmed_workflows.comparison.results.run_costs import costs, score_to_reach, validated
from tests.workflows.comparison.compared import compared_run

A, B, POOLED = Arm("a"), Arm("b"), Arm("a", "pooled")


def test_bytes_until_a_score_is_reached() -> None:
    runs = [
        compared_run(A, 0, "east", {}, curve=(0.1, 0.5, 0.9)),
        compared_run(A, 1, "east", {}, curve=(0.1, 0.2, 0.7)),
        compared_run(A, 2, "east", {}, curve=(0.1, 0.2, 0.3)),
        compared_run(B, 0, "east", {}, curve=(0.6, 0.2, 0.8)),
        compared_run(POOLED, 0, "east", {}, curve=(0.1, 0.5, 0.9)),
    ]
    found = costs(runs, 0.5)
    # Two sites send and receive 30 bytes a round: 120 after round 1, 240 after round 2.
    assert (found[A].runs, found[A].reached, found[A].bytes, found[A].manifest_bytes) == (3, 2, 240, 30)
    assert (found[A].bytes_to_reach, found[A].rounds_to_reach) == ((120 + 240) / 2, 1.5)
    assert (found[B].bytes_to_reach, found[B].rounds_to_reach) == (0, 0)  # before round 1
    assert found[POOLED].bytes is None and found[POOLED].bytes_to_reach is None and found[POOLED].rounds_to_reach == 1
    assert found[A].round_seconds == 3.0 and found[A].peak_memory_bytes == 1e9 + 2 and found[A].peak_gpu_bytes is None
    assert costs(runs, 0.95)[A].reached == 0 and costs(runs, 0.95)[A].bytes_to_reach is None
    assert score_to_reach(runs) == (0.9 + 0.7 + 0.3) / 3


def test_without_an_unseen_site_the_training_sites_count() -> None:
    run = compared_run(A, 0, None, {}, curve=(0.1, 0.5, 0.9))
    assert dict(validated(run)) == pytest.approx({0: 0.1, 1: 0.5, 2: 0.9})
    assert score_to_reach([compared_run(POOLED, 0, None, {})]) is None
