"""Every configuration refuses entries that nothing uses and settings out of range, before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow

from fedmed_workflows.errors import refusal

ROOT = Path(__file__).parents[2]
FACMIC, FEDMSA = ROOT / "bundles/facmic_classification", ROOT / "bundles/fedmsa_segmentation"
BUNDLES = sorted((ROOT / "bundles").iterdir())

OVERLAYS = {
    "federated.json": ("", "demo.json", "methods/*.json", "recipes/*.json"),
    "train.json": ("", "evaluate.json"),
    "inference.json": ("", "watch.json", "torchscript.json", "onnx.json", "tensorrt.json"),
    "compare.json": ("", "paper.json"),
}


def started(files: Sequence[Path], **entries: Any) -> ConfigWorkflow:
    """The workflow of a command that stops before it runs."""
    root = {"bundle_root": str(files[0].parents[1])}
    workflow = ConfigWorkflow([str(file) for file in files], logging_file=False, **{**root, **entries})
    workflow.initialize()
    return workflow


def refused(files: Sequence[Path], **entries: Any) -> str:
    with pytest.raises(RuntimeError) as error:
        started(files, **entries)
    return refusal(error.value)


def commands() -> list[tuple[Path, ...]]:
    """Every configuration of the bundles, alone and with each of its overlays."""
    found: list[tuple[Path, ...]] = []
    for root in BUNDLES:
        for name, patterns in OVERLAYS.items():
            first = root / "configs" / name
            found += [(first,) for pattern in patterns if not pattern]
            found += [(first, file) for pattern in patterns if pattern for file in sorted(first.parent.glob(pattern))]
    return found


def test_no_configuration_of_the_bundles_has_an_unused_entry() -> None:
    names = {tuple(str(file.relative_to(ROOT)) for file in files) for files in commands()}
    listed = {file for files in names for file in files}
    every = {str(file.relative_to(ROOT)) for file in ROOT.glob("bundles/*/configs/*.json")}
    assert every - listed == {f"bundles/{root.name}/configs/metadata.json" for root in BUNDLES}
    for files in commands():
        started(files)


@pytest.mark.parametrize(
    ("name", "entry", "value", "expected"),
    [
        ("federated.json", "learning_rate", 1.0, "did you mean 'facmic#learning_rate'"),
        ("federated.json", "batch_size", 4, "did you mean 'facmic#batch_size'"),
        ("federated.json", "round", 3, "did you mean 'rounds'"),
        ("federated.json", "privcy", {"_target_": "fedmed_workflows.GaussianUpdate"}, "did you mean 'privacy'"),
        ("federated.json", "facmic#bach_size", 4, "did you mean 'facmic#batch_size'"),
        ("federated.json", "xyz", 4, "expected an entry that is used"),
        ("train.json", "lerning_rate", 4, "did you mean 'learning_rate'"),
        ("inference.json", "datset_dir", "x", "did you mean 'dataset_dir'"),
        ("compare.json", "seed", 1, "did you mean 'seeds'"),
    ],
)
def test_an_entry_that_nothing_uses_is_refused_with_the_nearest_names(
    name: str, entry: str, value: Any, expected: str
) -> None:
    text = refused([FACMIC / "configs" / name], **{entry: value})
    assert text.startswith(f"setting {entry!r}: nothing uses an entry of this name; ") and expected in text


@pytest.mark.parametrize("ending", ["json", "yaml"])
def test_an_unused_entry_of_a_file_is_refused(tmp_path: Path, ending: str) -> None:
    mine = tmp_path / f"mine.{ending}"
    mine.write_text('{"batchsize": 4}' if ending == "json" else "batchsize: 4\n")
    assert "'facmic#batch_size'" in refused([FACMIC / "configs/federated.json", mine])


@pytest.mark.parametrize(
    ("entry", "value", "expected"),
    [
        ("facmic#batch_size", 0, "facmic#batch_size: found 0, expected a whole number of at least 1"),
        ("facmic#learning_rate", -0.1, "facmic#learning_rate: found -0.1, expected a number above 0"),
        ("facmic#learning_rate", "1e-3", "for example 1.0e-03"),
        ("facmic#image_size", 0, "facmic#image_size: found 0, expected a whole number of at least 1"),
        ("rounds", 2.5, "rounds: found 2.5, expected a whole number of at least 0"),
        ("local_epochs", 0, "local_epochs: found 0, expected a whole number of at least 1"),
    ],
)
def test_a_number_out_of_range_is_refused_by_its_name(entry: str, value: Any, expected: str) -> None:
    assert expected in refused([FACMIC / "configs/federated.json"], **{entry: value})


def test_yaml_reads_a_number_without_a_point_as_a_text_which_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("+facmic:\n  learning_rate: 1e-3\n")
    found = refused([FACMIC / "configs/federated.json", tmp_path / "mine.yaml"])
    assert found.startswith("facmic#learning_rate: found '1e-3'") and "YAML" in found


def test_none_unsets_a_setting_in_a_file_and_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"unseen_site": "none", "sites": null}')
    files = [FACMIC / "configs/federated.json", tmp_path / "mine.json"]
    workflow = started(files, **{"facmic#target": "none", "dataset_dir": "none", "facmic#weights": "none"})
    parsed = workflow.parser.get_parsed_content
    assert [parsed(name) for name in ("unseen_site", "dataset_dir", "facmic#target", "facmic#weights")] == [None] * 4
