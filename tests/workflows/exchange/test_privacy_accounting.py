"""Epsilon beside its closed form; what a run's history and notes say of it; a missing accountant."""

from __future__ import annotations

import json
import logging
import math
import sys
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from mpmath import erfc, exp, mp, mpf, sqrt

from fedmed_workflows.exchange.privacy.accounting import accounted, check_accountant, privacy_notes
from fedmed_workflows.exchange.privacy.gaussian_update import GaussianUpdate, gaussian_epsilon


def delta_of(epsilon: Any, noise_multiplier: float, answers: int) -> Any:
    """Balle and Wang, arXiv 1805.06530, theorem 8, in 60 digits: the smallest delta for an epsilon."""
    with mp.workdps(60):
        shift = sqrt(answers) / mpf(noise_multiplier)

        def normal(value: Any) -> Any:
            return erfc(-value / sqrt(2)) / 2

        return normal(shift / 2 - epsilon / shift) - exp(epsilon) * normal(-shift / 2 - epsilon / shift)


CASES = [
    (1.0, 1, 1e-5, 4.37717809568122),
    (1.0, 10, 1e-5, 17.8565868301076),
    (0.5, 1, 1e-5, 9.9972561464343),
    (0.5, 4, 1e-5, 24.3816108831137),
    (2.0, 50, 1e-6, 22.4245158273919),
    (10.0, 100, 1e-5, 4.37717809568122),  # a hundred rounds are one with a tenth of the noise
    (20.0, 50, 1e-5, 1.35646736445704),
    (5.0, 15, 1e-3, 2.29403297195222),
    (0.01, 15, 1e-5, 76650.7905698454),
    (0.001, 100, 1e-5, 50042647.9081524),
]


@pytest.mark.parametrize(("noise_multiplier", "answers", "delta", "expected"), CASES)
def test_epsilon(noise_multiplier: float, answers: int, delta: float, expected: float) -> None:
    found = gaussian_epsilon(noise_multiplier, answers, delta)
    assert found == pytest.approx(expected, rel=1e-9)
    with mp.workdps(60):
        below, above = (delta_of(mpf(expected) * mpf(share), noise_multiplier, answers) for share in (1.0001, 0.9999))
    assert below < delta < above


@pytest.mark.parametrize(("noise_multiplier", "delta", "expected"), [(0.0, 1e-5, math.inf), (200.0, 0.1, 0.0)])
def test_the_ends(noise_multiplier: float, delta: float, expected: float) -> None:
    assert gaussian_epsilon(noise_multiplier, 1, delta) == expected
    assert GaussianUpdate(1.0, noise_multiplier, delta).epsilon(1) == expected


def rounds(*claims: Any) -> list[dict[str, Any]]:
    trained = [
        {"round": number, "sites": {"a": {"answers": claim}, "b": {"error": "late"}}}
        for number, claim in enumerate(claims, 1)
    ]
    return [{"round": 0, "validation": {}}, *trained]


@pytest.mark.parametrize(
    ("claims", "answers"),
    [((1, 2, 3), 3), ((1, 2, 4), 4), ((1, 5, 3), 5), ((1, 1, 1), 3), ((1, math.nan, 3), 3), ((1, 2.0, 3.0), 3)],
)
def test_rounds_count_and_answers_beyond_them(
    claims: tuple[Any, ...], answers: int, caplog: pytest.LogCaptureFixture
) -> None:
    *history, entry = rounds(*claims)
    privacy = GaussianUpdate(1.0, 1.0, 1e-5)
    with caplog.at_level(logging.INFO):
        found = accounted(entry, history, privacy)
    assert found == {**entry, "epsilon": gaussian_epsilon(1.0, answers, 1e-5)}
    assert f"round 3: epsilon {found['epsilon']:.4g} at delta 1e-05" in caplog.text


def test_without_a_log_epsilon_is_printed(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    *history, entry = rounds(1)
    with caplog.at_level(logging.WARNING, "fedmed_workflows"):
        accounted(entry, history, GaussianUpdate(1.0, 1.0, 1e-5))
    assert capsys.readouterr().out == "round 1: epsilon 4.377 at delta 1e-05\n"


def test_a_round_without_privacy_is_as_it_was() -> None:
    *history, entry = rounds(1, 2)
    assert accounted(entry, history, None) == entry and privacy_notes(None, history) == []


def test_infinity_survives_the_record_of_a_run() -> None:
    *history, entry = rounds(1)
    found = accounted(entry, history, GaussianUpdate(1.0, 0.0, 1e-5))
    assert json.loads(json.dumps(found))["epsilon"] == math.inf


def test_the_note_says_mechanism_unit_epsilons_and_what_is_not_covered() -> None:
    (note,) = privacy_notes(GaussianUpdate(2.0, 1.0, 1e-5), rounds(*range(1, 11)))
    for said in ("clipped to norm 2 ", "standard deviation 2 ", "After 10 such answers epsilon is 17.86 at delta 1e-05",
                 "The unit is a site", "epsilon is 46.21;", "no patient has a smaller figure", "Not covered: ",
                 "other runs on the same images"):  # fmt: skip
        assert said in note, said


def test_the_note_on_clipping_alone_promises_nothing() -> None:
    (note,) = privacy_notes(GaussianUpdate(2.0, 0.0, 1e-5), rounds(1))
    assert "epsilon is infinite and nothing is guaranteed" in note


def test_a_missing_accountant_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(ValueError, match=r"dp-accounting, found none; expected pip install 'fedmed\[privacy\]'"):
        check_accountant(GaussianUpdate(1.0, 1.0, 1e-5))
    check_accountant(GaussianUpdate(1.0, 0.0, 1e-5))
    check_accountant(None)


def test_the_table_of_the_documents_is_the_accountant_s() -> None:
    """A cell holds the epsilon of a site and the one against other images, at delta 1e-5."""
    lines = (Path(__file__).parents[3] / "docs" / "privacy.md").read_text().splitlines()
    start = lines.index("| noise_multiplier | 15 rounds | 50 rounds | 100 rounds |") + 2
    rows = [line.strip("|").split("|") for line in takewhile(bool, lines[start:])]
    assert len(rows) == 6
    for noise, *cells in rows:
        for cell, answers in zip(cells, (15, 50, 100), strict=True):
            found = [gaussian_epsilon(float(noise) / times, answers, 1e-5) for times in (1, 2)]
            assert cell.strip() == " / ".join(f"{epsilon:.4g}" for epsilon in found)
