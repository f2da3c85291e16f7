"""Federations whose sites are shifted: which images, at which sites, on both engines, and what is refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import create_workflow

from fedmed_workflows.federation.federation import Federation

SHIFTS = {"site_a": {"contrast": 2.0, "noise": 0.1}, "unseen": {"bias_field": 0.5}}


def federation(entries: dict[str, Any], **changes: Any) -> Federation:
    workflow = create_workflow(**copy.deepcopy({**entries, **changes}))
    parsed: Federation = workflow.parser.get_parsed_content("federation")
    return parsed


def features(run: Federation, site: str, held_out: bool, part: str) -> torch.Tensor:
    """Returns the features of one part of a site's data: training, validation or test."""
    built = run.site(site, run.sites.paths[site], {"target": None}, held_out)
    built.initialize()
    found: torch.Tensor = built.setting(f"{part}#dataset").features
    return found


def test_all_images_of_a_shifted_site_are_shifted_and_no_others(federated: dict[str, Any]) -> None:
    plain, shifted = federation(federated), federation(federated, shifts=SHIFTS)
    for site, part in (("site_a", "train"), ("site_a", "validate"), ("site_a", "test"), ("unseen", "test")):
        before, after = (features(run, site, site == "unseen", part) for run in (plain, shifted))
        assert before.shape == after.shape and not torch.isclose(before, after).all(dim=1).any()
    for part in ("train", "validate", "test"):
        assert torch.equal(*(features(run, "site_b", False, part) for run in (plain, shifted)))


def test_a_shifted_run_says_so_and_is_another_run(federated: dict[str, Any]) -> None:
    result = federation(federated, shifts=SHIFTS, rounds=1).run()
    assert result["settings"]["shifts"] == SHIFTS
    assert any("the images of site_a, unseen are not as they were acquired" in note for note in result["notes"])
    again = federation(federated, shifts=SHIFTS, rounds=1).run()
    assert json.dumps(again["final"]) == json.dumps(result["final"])
    with pytest.raises(ValueError, match="shifts"):
        federation(federated, rounds=1).run()


def test_a_shift_of_nobody_or_of_nothing_is_refused(federated: dict[str, Any]) -> None:
    with pytest.raises(Exception) as refused:  # noqa: B017
        federation(federated, shifts={"site_c": {"noise": 0.1}})
    assert "shifts: site 'site_c': not found in" in causes(refused.value)
    with pytest.raises(ValueError, match="site 'site_a': shift: found 'gamma', expected some of"):
        federation(federated, shifts={"site_a": {"gamma": 2}}).run()
    assert not list(Path(federated["output_dir"]).glob("checkpoints/*.safetensors"))


def causes(error: BaseException | None) -> str:
    """The messages of an error and of all beneath it: MONAI's parser adds its own."""
    return "" if error is None else f"{error}\n{causes(error.__cause__)}"
