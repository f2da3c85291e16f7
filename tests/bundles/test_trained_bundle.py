"""The bundle that a run leaves: whole, of its own classes and sizes, used by one command wherever it lies."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from monai.bundle import create_workflow, verify_metadata, verify_net_in_out

from tests.forked_command import run_forked

SCHEMA = Path(__file__).parents[1] / "data" / "metadata_schema.json"


def run(entries: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = create_workflow(**entries).run()[0]
    return result


def infer(bundle: Path, study: Path, output: Path, *arguments: str) -> None:
    """MONAI's command, from a folder that has nothing to do with the bundle."""
    command = ["run", "--config_file", str(bundle / "configs" / "inference.json"), "--bundle_root", str(bundle)]
    command += ["--dataset_dir", str(study), "--output_dir", str(output), *arguments]
    assert run_forked("monai.bundle", command, output.parent) == 0


def moved(folder: Path, name: str, place: Path) -> Path:
    """The trained bundle of a run in another place, and nothing left where it was made."""
    shutil.copytree(folder / "bundle" / name, place / name)
    shutil.rmtree(folder)
    return place / name


def check_with_monai(bundle: Path, tmp_path: Path) -> dict[str, Any]:
    """MONAI's checks of a bundle's metadata, and of its network beside them; the metadata."""
    schema, metadata = tmp_path / "schema.json", bundle / "configs" / "metadata.json"
    shutil.copyfile(SCHEMA, schema)
    verify_metadata(meta_file=str(metadata), filepath=str(schema))
    verify_net_in_out(
        net_id="network_def", meta_file=str(metadata), config_file=str(bundle / "configs" / "inference.json"),
        bundle_root=str(bundle), device="cpu",
    )  # fmt: skip
    content: dict[str, Any] = json.loads(metadata.read_text())
    return content


def of_output(metadata: dict[str, Any]) -> tuple[int, dict[str, str], list[int]]:
    output = metadata["network_data_format"]["outputs"]["pred"]
    return output["num_channels"], output["channel_def"], output["spatial_shape"]


def test_a_trained_classification_works_where_it_is_copied_to(federated: dict[str, Any], tmp_path: Path) -> None:
    result, folder = run(federated), Path(federated["output_dir"])
    study = Path(federated["dataset_dir"]) / "unseen" / "dots"
    bundle = folder / "bundle" / "facmic_classification"
    assert (folder / "model.pt").read_bytes() == (bundle / "models" / "model.pt").read_bytes()
    assert (folder / "MODEL_CARD.md").read_bytes() == (bundle / "docs" / "MODEL_CARD.md").read_bytes()
    digest = hashlib.sha256((folder / "model.pt").read_bytes()).hexdigest()
    algorithm = json.loads((bundle / "configs" / "inference.json").read_text())["algorithm"]
    assert algorithm == {"name": "FACMIC federated classification", "version": f"0.1.0 {digest[:8]}"}
    source = Path(federated["bundle_root"])
    assert (bundle / "LICENSE").read_bytes() == (source / "LICENSE").read_bytes()
    by_overlay = create_workflow(
        config_file=[str(source / "configs" / "inference.json"), str(folder / "model.json")], workflow_type="infer",
        bundle_root=str(source), dataset_dir=str(study), output_dir=str(tmp_path / "by_overlay"), device="cpu",
    )  # fmt: skip
    by_overlay.run()
    there = moved(folder, bundle.name, tmp_path / "clinic")
    infer(there, study, tmp_path / "answers")
    answers = (tmp_path / "answers" / "predictions.json").read_bytes()
    assert answers == (tmp_path / "by_overlay" / "predictions.json").read_bytes()
    assert len(json.loads(answers)) == 12
    metadata = check_with_monai(there, tmp_path)
    assert of_output(metadata) == (2, {"0": "dots", "1": "stripes"}, [])
    assert metadata["network_data_format"]["inputs"]["image"]["spatial_shape"] == [16, 16]
    required = metadata["required_packages_version"]
    for name in ("fedmed", "open_clip_torch", "pytorch-ignite"):
        assert required[name] == result["versions"][name]
    assert (metadata["monai_version"], metadata["numpy_version"]) == (version("monai"), version("numpy"))
    for site, score in result["final"].items():
        assert metadata["eval_metrics"][site]["accuracy"] == score["metrics"]["accuracy"]["value"]
    assert str(tmp_path / "run") not in "".join(path.read_text() for path in there.rglob("*.json"))


def test_a_trained_segmentation_works_where_it_is_copied_to(
    federation: dict[str, Any], segmentation_root: Path, tmp_path: Path
) -> None:
    federation["recipe"] = {**federation["recipe"], "channels": {"organ": [1], "anything": "nonzero"}}
    run({**federation, "rounds": 1})
    folder, site = Path(federation["output_dir"]), Path(federation["dataset_dir"]) / "hillside"
    config, overlay = segmentation_root / "configs" / "inference.json", folder / "model.json"
    segment([config, overlay], segmentation_root, site, tmp_path / "by_overlay")
    there = moved(folder, segmentation_root.name, tmp_path / "clinic")
    segment([there / "configs" / "inference.json"], there, site, tmp_path / "answers")
    masks = [sorted((tmp_path / name).rglob("*.nii.gz")) for name in ("by_overlay", "answers")]
    assert len(masks[0]) == 4 and [path.name for path in masks[0]] == [path.name for path in masks[1]]
    assert all(np.array_equal(*(nibabel.load(path).dataobj for path in pair)) for pair in zip(*masks, strict=True))
    metadata = check_with_monai(there, tmp_path)
    assert of_output(metadata) == (2, {"0": "background", "1": "organ", "2": "anything"}, [16, 16])
    evaluated = create_workflow(
        config_file=[str(there / "configs" / name) for name in ("train.json", "evaluate.json")], bundle_root=str(there),
        workflow_type="train", dataset_dir=str(site), output_dir=str(tmp_path / "eval"), device="cpu",
        patient_pattern=federation["recipe"]["patient_pattern"],
    )  # fmt: skip
    evaluated.run()
    assert evaluated.parser.get_parsed_content("network_def").num_classes == 2


def segment(configs: list[Path], bundle: Path, site: Path, output: Path) -> None:
    create_workflow(
        config_file=[str(config) for config in configs], workflow_type="infer", bundle_root=str(bundle),
        dataset_dir=str(site / "images"), output_dir=str(output), device="cpu",
    ).run()  # fmt: skip


def test_a_second_start_replaces_the_whole_folder(federated: dict[str, Any]) -> None:
    run(federated)
    folder = Path(federated["output_dir"])
    (folder / "bundle" / "facmic_classification" / "left_behind").write_text("by another")
    (folder / "bundle" / ".facmic_classification.new").mkdir()
    card = (folder / "MODEL_CARD.md").read_text()
    run(federated)
    assert not list((folder / "bundle").rglob("left_behind"))
    assert [path.name for path in (folder / "bundle").iterdir()] == ["facmic_classification"]
    assert (folder / "MODEL_CARD.md").read_text() == card
