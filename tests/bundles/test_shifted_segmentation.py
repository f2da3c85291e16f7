"""A segmentation whose sites acquire and annotate in ways of their own: DICOM series, NIfTI and pictures."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from monai.bundle import create_workflow

from fedmed_workflows.federation.federation import Federation

SHIFT = {"resolution": 0.5, "noise": 0.05, "label_style": {"dilation": 1}}


def parsed(entries: dict[str, Any], **changes: Any) -> Federation:
    found: Federation = create_workflow(**copy.deepcopy({**entries, **changes})).parser.get_parsed_content("federation")
    return found


@pytest.mark.parametrize("site", ["harbour", "hillside", "riverbend", "unseen"])
def test_images_and_labels_of_the_shifted_site_are_shifted(federation: dict[str, Any], site: str) -> None:
    samples = []
    for shifts in (None, {site: SHIFT}):
        run = parsed(federation, shifts=shifts)
        built = run.site(site, run.sites.paths[site], {}, site == "unseen")
        built.initialize()
        parts = ["test"] if site == "unseen" else ["train", "validate"]
        samples.append([sample for part in parts for sample in built.setting(f"{part}#dataset")])
    assert len(samples[0]) == len(samples[1]) > 0
    for before, after in zip(*samples, strict=True):
        assert before["image"].shape == after["image"].shape and before["label"].shape == after["label"].shape
        assert not torch.isclose(torch.as_tensor(before["image"]), torch.as_tensor(after["image"])).all()
        grown = torch.as_tensor(after["label"]) >= torch.as_tensor(before["label"])
        assert grown.all() and after["label"].sum() > before["label"].sum() or not before["label"].any()
