"""Wrong requests: each is answered with an error, and the server serves the next one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

SEGMENTATION = "fedsam_segmentation"


@pytest.fixture(autouse=True)
def serves_afterwards(label: Any) -> Any:
    yield
    assert label.infer(SEGMENTATION, "volume").status_code == 200


@pytest.mark.parametrize(
    "model, image, params",
    [
        pytest.param("unknown_segmentation", "volume", {}, id="unknown model"),
        pytest.param(SEGMENTATION, "nobody", {}, id="unknown image"),
        pytest.param(SEGMENTATION, "broken", {}, id="damaged file"),
        pytest.param(SEGMENTATION, "", {}, id="no image"),
        pytest.param(SEGMENTATION, "volume", {"device": "abacus"}, id="unknown device"),
        pytest.param(SEGMENTATION, "volume", {"result_extension": ".xyz"}, id="unknown format"),
        pytest.param("facmic_classification", "broken", {}, id="damaged file to classify"),
    ],
)
def test_a_wrong_request_for_inference(label: Any, model: str, image: str, params: dict[str, Any]) -> None:
    assert 400 <= label.infer(model, image, **params).status_code < 600


def test_parameters_that_are_no_json(label: Any) -> None:
    query = {"image": "volume"}
    answer = requests.post(f"{label.url}/infer/{SEGMENTATION}", params=query, data={"params": "{device"}, timeout=60)
    assert 400 <= answer.status_code < 600


def test_a_damaged_file_is_named_in_the_log(label: Any, studies: Path) -> None:
    label.infer(SEGMENTATION, "broken")
    assert f"ValueError: {studies / 'broken.nii.gz'}" in label.log.read_text()


@pytest.mark.parametrize("model", ["learning_segmentation", "facmic_classification"])
def test_training_without_labels(label: Any, bundles: dict[str, Path], model: str) -> None:
    """Asked to wait, the server answers with an error; else the task ends in one, and the log says why."""
    weights = {folder: (folder / "models" / "model.pt").read_bytes() for folder in bundles.values()}
    waited = requests.post(f"{label.url}/train/{model}", params={"run_sync": True}, json={}, timeout=300)
    assert 400 <= waited.status_code < 600
    task = label.train(model)
    assert task["status"] == "ERROR"
    assert "expected at least one to train on, and one to validate by" in label.log.read_text()
    assert {folder: (folder / "models" / "model.pt").read_bytes() for folder in bundles.values()} == weights


def test_training_of_a_model_that_is_not_served(label: Any) -> None:
    assert label.train("unknown_segmentation")["status"] == "ERROR"


def test_training_with_a_label_of_no_class(label: Any, studies: Path) -> None:
    label.add_label("picture", "class.json", b'{"label": "waves"}')
    try:
        task = label.train("facmic_classification")
    finally:
        requests.delete(f"{label.url}/datastore/label", params={"id": "picture", "tag": "final"}).raise_for_status()
    assert task["status"] == "ERROR"
    reason = f"{studies}/labels/final/picture.json: found the class 'waves', expected one of ['Dots', 'Stripes']"
    assert reason in label.log.read_text()
