"""A federation of each segmentation bundle by its command: rounds, report, bytes, restarts, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import create_workflow
from safetensors.torch import load_file

from fedmed_networks import FedMSA, FedSAM

NETWORKS = {"fedmsa": FedMSA, "fedsam": FedSAM}


def run(entries: dict[str, Any], **changed: Any) -> dict[str, Any]:
    result: dict[str, Any] = create_workflow(**{**entries, **changed}).run()[0]
    return result


def test_a_run_leaves_what_the_other_bundles_leave(federation: dict[str, Any], method: str) -> None:
    result, folder = run(federation), Path(federation["output_dir"])
    names = {"report.html", "metrics.csv", "metrics.json", "bytes.csv", "run.json", "model.pt", "model.json"}
    assert names <= {path.name for path in folder.iterdir()}
    assert [site["samples"] for site in result["sites"]] == [18, 18, 18, 0]
    assert result["class_names"] == ["organ"] and result["key_metric"] == "dice"
    assert any("SAM has random weights" in note for note in result["notes"])
    report = (folder / "report.html").read_text()
    for site in ("harbour", "hillside", "riverbend", "unseen"):
        assert site in report
        overlays = {path.name for path in (folder / "sites" / site / "overlays").iterdir()}
        assert overlays >= {"best.png"} and (site != "unseen" or overlays == {"best.png", "median.png", "worst.png"})
    unseen = result["final"]["unseen"]
    assert (unseen["images"], unseen["slices"], unseen["split"]) == (4, 24, "all")
    assert result["final"]["harbour"]["split"] == "validation"
    with (folder / "bytes.csv").open() as file:
        assert {int(row["sent_bytes"]) for row in csv.DictReader(file)} == {result["manifest"]["bytes"]}
    network = NETWORKS[method](model_type=federation[method]["model_type"], image_size=64)
    network.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
    overlay = json.loads((folder / "model.json").read_text())
    assert overlay["normalize"] is False and overlay["channels"] == {"organ": [1]} and overlay["neighbours"] is False


def test_bfloat16_halves_the_bytes(federation: dict[str, Any], tmp_path: Path) -> None:
    full = run(federation)
    half = run(federation, output_dir=str(tmp_path / "half"), exchange_dtype="bfloat16")
    assert half["manifest"]["bytes"] * 2 == full["manifest"]["bytes"]
    last = [entry["sites"]["harbour"] for entry in (full["history"][-1], half["history"][-1])]
    for way in ("sent_bytes", "received_bytes"):
        assert last[1][way] * 2 == last[0][way]
    assert last[1]["loss"] == pytest.approx(last[0]["loss"], rel=0.05)


@pytest.mark.parametrize("method", ["fedmsa"], indirect=True)
def test_private_updates(federation: dict[str, Any], tmp_path: Path) -> None:
    """Nothing clipped and no noise: the run without privacy; with noise: its spread, in the type of the exchange."""

    def private(name: str, clip_norm: float, noise: float, **changed: Any) -> dict[str, torch.Tensor]:
        mechanism = {"_target_": "fedmed_workflows.GaussianUpdate", "delta": 1e-5,
                     "clip_norm": clip_norm, "noise_multiplier": noise}  # fmt: skip
        run(federation, output_dir=str(tmp_path / name), rounds=1, privacy=mechanism, **changed)
        return load_file(tmp_path / name / "checkpoints" / "round_00001.safetensors")

    run(federation, rounds=1)
    plain = load_file(Path(federation["output_dir"]) / "checkpoints" / "round_00001.safetensors")
    same, noisy = private("same", 1e6, 0.0), private("noisy", 1e6, 1e-7, exchange_dtype="bfloat16")
    for name, value in plain.items():
        torch.testing.assert_close(same[name], value, rtol=1e-5, atol=1e-6, msg=name)
    assert {value.dtype for value in noisy.values()} == {torch.bfloat16}
    noise = torch.cat([(noisy[name].double() - value.double()).reshape(-1) for name, value in plain.items()])
    assert noise.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.05)  # the mean of three sites of equal size


def test_broken_off_after_a_round_it_ends_with_the_same_bits(federation: dict[str, Any], tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    run(federation, output_dir=str(whole))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupted_in(patch, round_number=2, site="riverbend")
        run(federation)
    run(federation)
    ends = [folder / "checkpoints" / "round_00002.safetensors" for folder in (whole, Path(federation["output_dir"]))]
    assert ends[0].read_bytes() == ends[1].read_bytes()


def interrupted_in(patch: pytest.MonkeyPatch, round_number: int, site: str) -> None:
    """Makes one site's round end as a pressed Ctrl-C would end it."""
    from fedmed_workflows import SiteAlgo

    fit = SiteAlgo.fit_round

    def broken(algo: SiteAlgo, weights: Any, number: int) -> Any:
        if (number, algo.site) == (round_number, site):
            raise KeyboardInterrupt
        return fit(algo, weights, number)

    patch.setattr(SiteAlgo, "fit_round", broken)


def refusal_of(entries: dict[str, Any]) -> str:
    """The first ValueError beneath those of MONAI's parser."""
    with pytest.raises(Exception) as refused:  # noqa: B017
        run(entries)
    cause: BaseException | None = refused.value
    while not isinstance(cause, ValueError):
        assert cause is not None
        cause = cause.__cause__
    return str(cause)


def other_shape(site: Path) -> str:
    path = min((site / "labels").iterdir())
    label = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(label.dataobj)[..., 1:], label.affine), path)
    return "found the shapes"


def other_affine(site: Path) -> str:
    path = min((site / "labels").iterdir())
    label = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(label.dataobj), label.affine + np.eye(4)), path)
    return "mm apart"


def unknown_value(site: Path) -> str:
    path = min((site / "labels").iterdir())
    label = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(label.dataobj) * 3, label.affine), path)
    return "found the label values 3"


def all_empty(site: Path) -> str:
    for path in (site / "labels").iterdir():
        label = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.asarray(label.dataobj) * 0, label.affine), path)
    return "found no labelled voxel"


def one_slice(site: Path) -> str:
    name = min(path.name for path in (site / "labels").iterdir())
    for folder in ("images", "labels"):
        image = nibabel.load(site / folder / name)
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[..., :1], image.affine), site / folder / name)
    return "found a volume of one slice"


def no_label(site: Path) -> str:
    min((site / "labels").iterdir()).unlink()
    return "found no file of the same stem"


@pytest.mark.parametrize("method", ["fedmsa"], indirect=True)
@pytest.mark.parametrize("spoil", [other_shape, other_affine, unknown_value, all_empty, one_slice, no_label])
def test_a_spoilt_site_ends_the_run_before_training_by_name(
    federation: dict[str, Any], tmp_path: Path, spoil: Any
) -> None:
    sites = tmp_path / "spoilt"
    shutil.copytree(federation["dataset_dir"], sites)
    named = spoil(sites / "hillside")
    refused = refusal_of({**federation, "dataset_dir": str(sites)})
    assert named in refused and "hillside" in refused and str(sites / "hillside") in refused
    assert not (Path(federation["output_dir"]) / "checkpoints").exists()


@pytest.mark.parametrize("method", ["fedmsa"], indirect=True)
@pytest.mark.parametrize(
    "changed, named",
    [
        ({"model_type": "vit_x"}, "model_type"),
        ({"weights": "nowhere.pth"}, "nowhere.pth"),
        ({"window_padding": "none"}, "window_padding: expected 'sam' or 'published', found None"),
        ({"lerning_rate": 1.0}, "setting 'fedmsa#lerning_rate': nothing uses an entry of this name; did you mean"),
    ],
)
def test_a_wrong_setting_ends_the_run_by_name(
    federation: dict[str, Any], method: str, changed: dict[str, Any], named: str
) -> None:
    assert named in refusal_of({**federation, method: {**federation[method], **changed}})
    assert not (Path(federation["output_dir"]) / "checkpoints").exists()


@pytest.mark.processes
@pytest.mark.parametrize("method", ["fedmsa"], indirect=True)
def test_nvflare_s_simulator_ends_with_the_same_bits(federation: dict[str, Any], tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    result = run(federation, output_dir=str(here))
    simulated = run(federation, output_dir=str(there), engine="nvflare")
    for number in range(len(result["history"])):
        name = Path("checkpoints") / f"round_{number:05d}.safetensors"
        assert (here / name).read_bytes() == (there / name).read_bytes()
    assert simulated["final"] == result["final"] and simulated["sites"] == result["sites"]
