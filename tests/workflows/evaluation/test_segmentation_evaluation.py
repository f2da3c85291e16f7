"""The handler that scores a segmentation: what an evaluator's state gets, and which pictures stay at the site."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.metrics import DiceMetric, HausdorffDistanceMetric
from PIL import Image, ImageColor

import fedmed_workflows.evaluation.case_overlays as case_overlays
from fedmed_workflows.evaluation.bootstrap import percentile_interval, resample_weights
from fedmed_workflows.evaluation.case_overlays import LABEL_COLOR, PREDICTION_COLOR, CaseOverlays, overlay
from fedmed_workflows.evaluation.classification import ScoreFile
from fedmed_workflows.evaluation.segmentation import SegmentationMetrics

METRICS = ["dice", "iou", "hd95", "surface_dice"]
ALL = {*METRICS, *(f"slice_{name}" for name in METRICS), "published_dice", "published_iou"}
SAGITTAL = torch.tensor([[0, 0, 4.0, 0], [0.9, 0, 0, 0], [0, -0.7, 0, 0], [0, 0, 0, 1]], dtype=torch.float64)
"""Axes to anterior, inferior and right, with spacings 0.9, 0.7 and 4 mm: cut across the third."""


def volume(seed: int, shape: tuple[int, ...] = (16, 14, 6), shift: int = 1) -> dict[str, Any]:
    """An image whose label is a box, and which answers a box that is shifted."""
    random = torch.Generator().manual_seed(seed)
    low = [int(torch.randint(1, side // 2, (1,), generator=random)) for side in shape]
    label = torch.zeros(2, *shape)
    label[0][tuple(slice(start, start + side // 2) for start, side in zip(low, shape, strict=True))] = 1
    label[1, 2:4, 2:5] = 1
    image = (0.3 + 0.4 * label[:1] + 0.1 * torch.rand(1, *shape, generator=random)).clamp(0, 1)
    meta = {"filename_or_obj": "/data/Doe^Jane.nii.gz"}
    moved = label.roll(shift, 1)
    return {"image": MetaTensor(image, SAGITTAL, meta), "label": MetaTensor(label, SAGITTAL, meta), "moved": moved}


class Answer(torch.nn.Module):
    """A network that knows the answers in the order in which it is asked."""

    def __init__(self, answers: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.answers, self.place = answers, 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.place += 1
        return 6 * self.answers[(self.place - 1) % len(self.answers)][None] - 3 + 0 * image[:, :1]


def evaluate(cases: Sequence[dict[str, Any]], names: Sequence[str] = ("lung", "spine"), **options: Any) -> Any:
    """The metrics of MONAI's evaluator after two runs, of which the first must leave nothing behind."""
    data = Dataset([{key: case[key] for key in ("image", "label")} for case in cases])
    evaluator = SupervisedEvaluator(
        torch.device("cpu"),
        DataLoader(data, batch_size=1),
        Answer([case["moved"] for case in cases]),
        decollate=False,
        val_handlers=[SegmentationMetrics(list(names), **options)],
    )
    evaluator.run()
    evaluator.run()
    return evaluator.state.metrics


def test_every_round_gets_the_means_that_monai_has() -> None:
    cases = [volume(seed, shift=shift) for seed, shift in enumerate((0, 1, 2))]
    cases[1]["label"][1] = 0
    found = evaluate(cases)
    assert set(found) == {"dice", "iou"}
    reference = DiceMetric()
    for case in cases:
        reference(case["moved"][None], case["label"][None].as_tensor())
    assert found["dice"] == pytest.approx(float(reference.aggregate()), rel=1e-6) and 0.1 < found["dice"] < 0.95


def test_score_holds_every_metric_by_class_with_intervals(tmp_path: Path) -> None:
    cases = [volume(seed, shift=seed % 3) for seed in range(8)]
    score = evaluate(cases, resamples=200, split="all")["score"]
    assert json.loads(json.dumps(score, allow_nan=False)) == score
    assert (score["images"], score["slices"], score["split"]) == (8, 8 * 6, "all")
    assert score["class_names"] == list(score["classes"]) == ["lung", "spine"] and score["cases"] == []
    for metrics in (score["metrics"], *score["classes"].values()):
        assert set(metrics) == ALL
        for interval in metrics.values():
            assert interval["low"] <= interval["value"] <= interval["high"]
    assert score["metrics"]["dice"]["low"] < score["metrics"]["dice"]["high"]
    reference = HausdorffDistanceMetric(include_background=True, percentile=95)
    for case in cases:
        reference(case["moved"][None], case["label"][None].as_tensor(), spacing=[0.9, 0.7, 4.0])
    assert score["metrics"]["hd95"]["value"] == pytest.approx(float(reference.aggregate()), rel=1e-5)
    assert score["metrics"]["hd95"]["value"] > 0.3


def test_slices_of_a_volume_stay_together_in_resamples() -> None:
    cases = [volume(seed, shift=seed) for seed in range(4)]
    score = evaluate(cases, resamples=300)["score"]
    by_image = [evaluate([case], resamples=1)["score"]["classes"]["spine"]["slice_dice"]["value"] for case in cases]
    resampled = resample_weights(4, 300) @ np.array(by_image) / 4  # the spine is in every slice
    found = score["classes"]["spine"]["slice_dice"]
    assert found["value"] == pytest.approx(np.mean(by_image))
    assert (found["low"], found["high"]) == pytest.approx(percentile_interval(resampled))


def test_empty_masks_are_counted_and_undefined_numbers_are_none() -> None:
    cases = [volume(seed, shift=0) for seed in range(3)]
    cases[0]["label"][0], cases[1]["moved"] = 0, torch.zeros_like(cases[1]["moved"])
    for case in cases:
        case["label"][1], case["moved"][1] = 0, 0
    score = evaluate(cases, resamples=20)["score"]
    assert score["empty"]["lung"]["images"] == {"label": 1, "prediction": 1, "both": 0}
    assert score["empty"]["spine"]["images"] == {"label": 0, "prediction": 0, "both": 3}
    assert score["empty"]["lung"]["slices"] == {"label": 3, "prediction": 3, "both": 9}  # boxes of 3 slices of 6
    lung, undefined = score["classes"]["lung"], {"value": None, "low": None, "high": None}
    assert [lung[name]["value"] for name in METRICS] == pytest.approx([0.5, 0.5, 0, 1 / 3])
    assert all(score["classes"]["spine"][name] == undefined for name in ALL - {"published_dice", "published_iou"})
    assert score["metrics"]["dice"]["value"] == 0.5


def test_a_site_without_any_label_has_no_dice() -> None:
    case = volume(0)
    case["label"][:] = 0
    assert math.isnan(evaluate([case])["dice"])
    assert evaluate([case], resamples=5)["score"]["metrics"]["dice"]["value"] is None


def test_pictures_are_measured_in_pixels() -> None:
    label = torch.zeros(1, 20, 30)
    label[0, 5:10, 8:20] = 1
    image = MetaTensor(torch.rand(3, 20, 30), torch.diag(torch.tensor([0.1, 0.1, 1, 1])))
    case = {"image": image, "label": label, "moved": label.roll(3, 2)}
    score = evaluate([case], ["cell"], resamples=5)["score"]
    assert score["slices"] == 1
    assert score["metrics"]["hd95"]["value"] == score["metrics"]["slice_hd95"]["value"] == pytest.approx(3)


def test_bad_answers_are_refused() -> None:
    case = volume(0)
    case["moved"][0, 0, 0, 0] = math.nan
    with pytest.raises(ValueError, match="the network's weights may be NaN or infinite"):
        evaluate([case])
    with pytest.raises(ValueError, match=re.escape("found logits and label (2, 16, 14, 6) and (2, 16, 14, 6)")):
        evaluate([volume(0)], ["lung"])


def test_pictures_show_the_best_the_median_and_the_worst_case(tmp_path: Path) -> None:
    folder = tmp_path / "overlays"
    folder.mkdir()
    (folder / "worst.png").write_bytes(b"of an earlier run")
    cases = [volume(seed, shift=shift) for seed, shift in enumerate((3, 0, 1))]
    score = evaluate(cases, resamples=5, overlays_dir=str(folder))["score"]
    assert [case["case"] for case in score["cases"]] == ["best", "median", "worst"]
    assert [case["file"] for case in score["cases"]] == [
        "overlays/best.png",
        "overlays/median.png",
        "overlays/worst.png",
    ]
    dice = [evaluate([case])["dice"] for case in cases]
    assert [case["dice"] for case in score["cases"]] == pytest.approx([dice[1], dice[2], dice[0]])
    assert {path.name for path in folder.iterdir()} == {"best.png", "median.png", "worst.png"}
    for path in folder.iterdir():
        assert b"Doe" not in path.read_bytes() and not Image.open(path).info
        colors = {color for _, color in Image.open(path).getcolors(10**6)}
        assert {ImageColor.getrgb(LABEL_COLOR), ImageColor.getrgb(PREDICTION_COLOR)} <= colors
    assert "Doe" not in json.dumps(score)


def test_fewer_than_three_cases_are_each_shown_once(tmp_path: Path) -> None:
    for count, shown in ((1, {"best"}), (2, {"best", "worst"})):
        cases = [volume(seed, shift=seed) for seed in range(count)]
        score = evaluate(cases, resamples=5, overlays_dir=str(tmp_path))["score"]
        assert {case["case"] for case in score["cases"]} == {path.stem for path in tmp_path.iterdir()} == shown


def test_of_many_cases_few_pictures_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case_overlays, "KEPT", 9)
    image, mask = torch.rand(1, 8, 8), torch.ones(1, 8, 8, dtype=torch.bool)
    overlays = CaseOverlays(tmp_path)
    overlays.start()
    values = np.random.default_rng(0).permutation(101) / 100
    for value in values:
        overlays.add(float(value), image, mask, mask)
        assert len(overlays._kept) <= 9
    best, median, worst = (case["dice"] for case in overlays.write())
    assert (best, worst) == (1, 0) and abs(median - 0.5) <= 0.1


def test_outlines_lie_on_the_upright_slice_that_holds_most_of_the_label(tmp_path: Path) -> None:
    image, label = torch.zeros(1, 40, 50, 5), torch.zeros(1, 40, 50, 5)
    label[0, 30:38, 5:10, 3] = 1  # anterior and superior, in the fourth slice
    label[0, 5:8, 40:45, 1] = 1
    image[label > 0] = 1
    case = {"image": MetaTensor(image, SAGITTAL), "label": label, "moved": torch.zeros_like(label)}
    evaluate([case], ["lesion"], resamples=2, overlays_dir=str(tmp_path))
    picture = np.array(Image.open(tmp_path / "best.png")).astype(int)
    assert picture.shape == (round(384 * 50 * 0.7 / (40 * 0.9)), 384, 3)  # rows down, and no stretched patient
    rows, columns = np.nonzero((picture == ImageColor.getrgb(LABEL_COLOR)).all(axis=2))
    # superior is up: rows 5 to 10 of 50; anterior is left: columns 2 to 10 of 40
    assert (rows.min(), rows.max() + 1) == pytest.approx((picture.shape[0] * 0.1, picture.shape[0] * 0.2), abs=2)
    assert (columns.min(), columns.max() + 1) == pytest.approx((384 * 2 / 40, 384 * 10 / 40), abs=2)


def test_outlines_of_equal_masks_lie_side_by_side() -> None:
    mask = np.zeros((1, 32, 64), dtype=bool)
    mask[0, 8:24, 16:48] = True
    content = overlay(np.full((32, 64, 3), 0.5), mask, mask, (1, 1))
    picture = np.array(Image.open(io.BytesIO(content)))
    assert picture.shape == (192, 384, 3)
    row = [tuple(pixel) for pixel in picture[96, :120].tolist()]
    grey, blue, orange = (128, 128, 128), ImageColor.getrgb(LABEL_COLOR), ImageColor.getrgb(PREDICTION_COLOR)
    assert row[92:100] == [grey, grey, orange, orange, blue, blue, grey, grey]


def test_score_file(tmp_path: Path) -> None:
    case = volume(0)
    evaluator = Engine(lambda engine, batch: {"pred": 6 * case["moved"][None] - 3, "label": case["label"][None]})
    SegmentationMetrics(["lung", "spine"], resamples=5).attach(evaluator)
    ScoreFile(str(tmp_path)).attach(evaluator)
    state = evaluator.run([{"image": case["image"][None]}])
    assert json.loads((tmp_path / "score.json").read_text()) == state.metrics["score"]
