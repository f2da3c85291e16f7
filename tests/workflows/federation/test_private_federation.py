"""A federation with private updates: against the one without, across restarts, and what its history and report say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import create_workflow
from safetensors.torch import load_file

from fedmed_workflows import SiteAlgo
from fedmed_workflows.exchange.privacy.private_update import hold_statistics


def private(entries: dict[str, Any], clip_norm: float, noise_multiplier: float, **changes: Any) -> dict[str, Any]:
    mechanism = {
        "_target_": "fedmed_workflows.GaussianUpdate",
        "clip_norm": clip_norm,
        "noise_multiplier": noise_multiplier,
        "delta": 1e-5,
    }
    return {**entries, "privacy": mechanism, **changes}


def run(entries: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = create_workflow(**entries).run()[0]
    return result


def last_weights(folder: str | Path) -> dict[str, torch.Tensor]:
    last = json.loads((Path(folder) / "checkpoints" / "last.json").read_text())
    weights: dict[str, torch.Tensor] = load_file(Path(folder) / "checkpoints" / last["file"])
    return weights


def test_nothing_clipped_and_no_noise_is_the_run_without_privacy(
    federated: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the normalisation's statistics, which the run without privacy holds here as well."""
    result = run(private(federated, 1e6, 0.0, output_dir=str(tmp_path / "private")))
    initialize = SiteAlgo.initialize

    def holding(site: SiteAlgo, extra: Any = None) -> None:
        initialize(site, extra)
        hold_statistics(site.network)

    monkeypatch.setattr(SiteAlgo, "initialize", holding)
    plain = run(federated)
    weights, expected = last_weights(tmp_path / "private"), last_weights(federated["output_dir"])
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-5, atol=1e-6, msg=name)
    assert result["final"] == plain["final"] and result["final"] != result["initial"]
    assert "epsilon is infinite and nothing is guaranteed" in result["notes"][-1]


def test_epsilon_is_told_round_by_round(federated: dict[str, Any], read_page: Any) -> None:
    result = run(private(federated, 1.0, 0.5))
    assert [entry.get("epsilon") for entry in result["history"]] == [
        None, pytest.approx(9.9972561464343), pytest.approx(15.4561558226093), pytest.approx(20.1250235458882),
    ]  # fmt: skip
    for entry in result["history"][1:]:
        assert all(
            set(site) == {"received_bytes", "samples", "sent_bytes", "answers"} for site in entry["sites"].values()
        )
    page = read_page(Path(federated["output_dir"]) / "report.html")
    assert [page.row(str(number))[-1] for number in (1, 2, 3)] == ["9.997", "15.46", "20.13"]
    assert "epsilon is 20.13 at delta 1e-05" in page.text and "Training loss" not in page.text
    assert json.loads((Path(federated["output_dir"]) / "run.json").read_text())["identity"]["privacy"] == {
        "clip_norm": 1.0, "noise_multiplier": 0.5, "delta": 1e-5,
    }  # fmt: skip


def test_without_noise_the_report_says_infinite(federated: dict[str, Any], read_page: Any) -> None:
    run(private(federated, 1.0, 0.0, rounds=1))
    assert read_page(Path(federated["output_dir"]) / "report.html").row("1")[-1] == "\u221e"


def test_broken_off_in_a_round_it_ends_with_the_same_bits(
    federated: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs have secrets of their own, so one run is compared with itself, its last round done again."""
    entries = private(federated, 1.0, 0.1)
    sent: dict[tuple[str, int], list[Any]] = {}
    fit = SiteAlgo.fit_round

    def kept(site: SiteAlgo, weights: Any, number: int) -> Any:
        if (site.site, number, len(sent.get(("site_a", 2), []))) == ("site_b", 2, 1):
            raise KeyboardInterrupt
        update = fit(site, weights, number)
        sent.setdefault((site.site, number), []).append(update)
        return update

    monkeypatch.setattr(SiteAlgo, "fit_round", kept)
    with pytest.raises(KeyboardInterrupt):
        run(entries)
    result = run(entries)
    first, again = sent["site_a", 2]
    assert all(torch.equal(value, again.weights[name]) for name, value in first.weights.items())
    assert [entry["sites"]["site_a"]["answers"] for entry in result["history"][1:]] == [1, 2, 3]


def test_every_site_has_a_secret_of_its_own_that_nobody_else_reads(federated: dict[str, Any]) -> None:
    run(private(federated, 1.0, 0.5))
    folder = Path(federated["output_dir"])
    files = sorted(folder.rglob("noise.secret"))
    assert [file.parent.name for file in files] == ["site_a", "site_b"]  # the unseen site sends no update
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    secrets = [file.read_bytes() for file in files]
    assert secrets[0] != secrets[1]
    others = [path.read_bytes() for path in folder.rglob("*") if path.is_file() and path not in files]
    assert not any(secret in content or secret.hex().encode() in content for secret in secrets for content in others)


@pytest.mark.parametrize("changed", [(2.0, 0.5), (1.0, 0.6), None])
def test_a_run_of_other_privacy_is_another_run(federated: dict[str, Any], changed: Any) -> None:
    run(private(federated, 1.0, 0.5, rounds=1))
    other = private(federated, *changed, rounds=1) if changed else {**federated, "rounds": 1}
    with pytest.raises(Exception) as refused:  # noqa: B017, the parser wraps errors in its own
        run(other)
    messages, error = "", refused.value.__cause__ or refused.value
    while error is not None:
        messages, error = f"{messages}\n{error}", error.__cause__
    assert "belongs to another run: privacy" in messages


def test_bad_values_end_the_run_before_anything_is_written(federated: dict[str, Any]) -> None:
    with pytest.raises(Exception) as refused:  # noqa: B017, the parser wraps errors in its own
        run(private(federated, 0.0, 0.5))
    messages, error = "", refused.value.__cause__
    while error is not None:
        messages, error = f"{messages}\n{error}", error.__cause__
    assert "privacy: clip_norm: found 0.0, expected a number above 0" in messages
    assert not Path(federated["output_dir"]).exists()
