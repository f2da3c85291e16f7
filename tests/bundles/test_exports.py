"""Trained bundles exported by MONAI's commands, and used by inference through an overlay: the same answers."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ckpt_export, create_workflow, onnx_export

FORMS = {"torchscript": "model.ts", "onnx": "model.onnx"}

SIDES = {"facmic": 16, "segmentation": 64}


def train(entries: dict[str, Any]) -> Path:
    """The trained bundle of a short run."""
    create_workflow(**{**entries, "rounds": 1}).run()
    (bundle,) = (Path(entries["output_dir"]) / "bundle").iterdir()
    return bundle


def export(bundle: Path, form: str, side: int) -> None:
    """As docs/README.md of a bundle says."""
    names = {"filepath": str(bundle / "models" / FORMS[form]), "ckpt_file": str(bundle / "models" / "model.pt"),
             "config_file": str(bundle / "configs" / "inference.json"), "net_id": "network_def",
             "meta_file": str(bundle / "configs" / "metadata.json"), "use_trace": True}  # fmt: skip
    if form == "torchscript":
        ckpt_export(**names)
    else:
        dynamic = {"image": {0: "batch"}, "pred": {0: "batch"}}
        onnx_export(
            **names, input_shape=[2, 3, side, side],
            converter_kwargs={"input_names": ["image"], "output_names": ["pred"], "dynamic_axes": dynamic},
        )  # fmt: skip


def list_digest(file: Path) -> None:
    """As docs/README.md of a bundle says."""
    subprocess.run(f"sha256sum {file.name} >> SHA256SUMS", shell=True, cwd=file.parent, check=True)


def inference(bundle: Path, form: str | None, **entries: Any) -> Any:
    names = ["inference.json", *([f"{form}.json"] if form else [])]
    return create_workflow(
        config_file=[str(bundle / "configs" / name) for name in names], workflow_type="infer", bundle_root=str(bundle),
        device="cpu", **entries,
    )  # fmt: skip


def largest_difference(bundle: Path, form: str, side: int) -> float:
    """Between the logits of the exported network and of PyTorch's, of one picture and of several."""
    network, exported = (inference(bundle, name).parser.get_parsed_content("network_def") for name in (None, form))
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    random = torch.Generator().manual_seed(0)
    pictures = [torch.rand(number, 3, side, side, generator=random) for number in (1, 3)]
    with torch.no_grad():
        pairs = [(network.eval()(picture), exported(picture)) for picture in pictures]
    assert all(one.shape == other.shape and one.std() > 0 for one, other in pairs)
    return max(float((one - other).abs().max()) for one, other in pairs)


def answers(bundle: Path, form: str | None, study: Path, output: Path) -> Path:
    inference(bundle, form, dataset_dir=str(study), output_dir=str(output)).run()
    return output


def cause_of(failing: Callable[[], Any]) -> str:
    """The ValueError beneath those of MONAI's parser."""
    with pytest.raises(Exception) as refused:  # noqa: B017
        failing()
    cause: BaseException | None = refused.value
    while cause is not None and type(cause) is not ValueError:
        cause = cause.__cause__
    return str(cause)


def test_exported_classifications_answer_as_pytorch_does(federated: dict[str, Any], tmp_path: Path) -> None:
    bundle, study = train(federated), Path(federated["dataset_dir"]) / "unseen"
    expected = table(answers(bundle, None, study, tmp_path / "pytorch"))
    for form in FORMS:
        export(bundle, form, SIDES["facmic"])
        list_digest(bundle / "models" / FORMS[form])
        assert largest_difference(bundle, form, SIDES["facmic"]) < 1e-4
    (bundle / "models" / "model.pt").unlink()
    for form in FORMS:
        found = table(answers(bundle, form, study, tmp_path / form))
        assert found[0] == expected[0] and len(found[1]) == 24
        np.testing.assert_allclose(found[1], expected[1], rtol=0, atol=1e-4)


def table(folder: Path) -> tuple[list[tuple[str, str]], Any]:
    """Image and prediction of each row, and the probabilities."""
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = [(row["image"], row["prediction"]) for row in rows]
    return names, np.array([[float(row[name]) for name in ("dots", "stripes")] for row in rows])


def test_exported_segmentations_write_the_masks_of_pytorch(federation: dict[str, Any], tmp_path: Path) -> None:
    federation["recipe"] = {**federation["recipe"], "channels": {"organ": [1], "anything": "nonzero"}}
    bundle, study = train(federation), Path(federation["dataset_dir"]) / "hillside" / "images"
    expected = masks(answers(bundle, None, study, tmp_path / "pytorch"))
    for form in FORMS:
        export(bundle, form, SIDES["segmentation"])
        list_digest(bundle / "models" / FORMS[form])
        assert largest_difference(bundle, form, SIDES["segmentation"]) < 1e-4
    (bundle / "models" / "model.pt").unlink()
    for form in FORMS:
        found = masks(answers(bundle, form, study, tmp_path / form))
        assert set(found) == set(expected) and len(found) == 4
        assert all(np.array_equal(found[name], mask) for name, mask in expected.items())
    assert any(mask.any() for mask in expected.values())


def masks(folder: Path) -> dict[str, Any]:
    return {path.name: np.asarray(nibabel.load(path).dataobj) for path in sorted(folder.rglob("*.nii.gz"))}


@pytest.mark.parametrize("form", FORMS)
def test_a_wrong_file_is_refused_by_its_name_before_any_image(
    federated: dict[str, Any], tmp_path: Path, form: str
) -> None:
    bundle = train(federated)
    file = bundle / "models" / FORMS[form]

    def refusal(**changed: Any) -> str:
        return cause_of(lambda: inference(bundle, form, **changed).parser.get_parsed_content("network_def"))

    assert refusal().startswith(f"{file}: no such file")
    export(bundle, form, SIDES["facmic"])
    (bundle / "models" / "SHA256SUMS").unlink()  # the bundle of an earlier version
    assert "(3, 32, 32)".strip("()") in refusal(image_size=32) and str(file) in refusal(image_size=32)
    assert f"{file}: " in refusal(class_names=["a", "b", "c"]) and "['a', 'b', 'c']" in refusal(class_names=list("abc"))
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"no network", b""):
        file.write_bytes(damaged)
        assert refusal().startswith(f"{file}: expected a network in {'ONNX' if form == 'onnx' else 'TorchScript'}")


def test_other_names_of_as_many_classes_are_found_in_torchscript(federated: dict[str, Any]) -> None:
    bundle = train(federated)
    export(bundle, "torchscript", SIDES["facmic"])
    list_digest(bundle / "models" / FORMS["torchscript"])
    workflow = inference(bundle, "torchscript", class_names=["stripes", "dots"])
    refused = cause_of(lambda: workflow.parser.get_parsed_content("network_def"))
    assert "['dots', 'stripes'], expected ['stripes', 'dots']" in refused


def test_a_provider_that_is_not_there_is_refused_instead_of_another_taken(federated: dict[str, Any]) -> None:
    bundle = train(federated)
    (bundle / "models" / "model.onnx").write_bytes(b"is not opened before the provider is found")
    list_digest(bundle / "models" / "model.onnx")
    workflow = inference(bundle, "onnx")
    workflow.parser["network_def"]["providers"] = [["NoSuchProvider", {}], "CPUExecutionProvider"]
    refused = cause_of(lambda: workflow.parser.get_parsed_content("network_def"))
    assert "has no NoSuchProvider here" in refused and "CPUExecutionProvider" in refused


def test_every_overlay_is_complete(bundle_root: Path) -> None:
    """Each replaces the network and switches the loader of weights off, by its name.

    MONAI leaves a disabled component out of a list, but has None in the place of ``@ckpt_loader``: hence ``%``.
    """
    for root in bundle_root.parent.iterdir():
        inference = json.loads((root / "configs" / "inference.json").read_text())
        assert inference["handlers"].count("%ckpt_loader") == 1, root
        assert inference["ckpt_loader"]["_target_"].endswith("NamedCheckpointLoader"), root
        for name in ("torchscript", "onnx", "tensorrt"):
            overlay = json.loads((root / "configs" / f"{name}.json").read_text())
            assert overlay["ckpt_loader#_disabled_"] is True and "network_def" in overlay
