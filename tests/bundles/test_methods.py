"""Methods as overlays: each fits its bundle, a misfit is refused before training, and what a run leaves serves."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser, create_workflow
from safetensors.torch import load_file

from fedmed_workflows.errors import refusal
from fedmed_workflows.federation.bundle.config import config_files
from fedmed_workflows.federation.bundle.overlays import merged
from fedmed_workflows.federation.in_process import build_engine
from fedmed_workflows.federation.site.site_algo import SiteAlgo

ROOT = Path(__file__).parents[2]
OVERLAYS = sorted((ROOT / "bundles").glob("*/configs/methods/*.json"))
OF_CLIP: dict[str, dict[str, float]] = {
    "fedavg": {},
    "fedprox": {"mu": 0.25},
    "moon": {"mu": 2.0, "temperature": 0.25},
    "fedfocal": {"gamma": 0.5, "label_smoothing": 0.2},
}
"""Methods with settings that are not their defaults."""


def federation_with(entries: dict[str, Any], *names: str, **changes: Any) -> Any:
    """The federation of a bundle with methods' overlays, by their paths or by the names of the bundle's own."""
    config = Path(entries["config_file"])
    overlays = [name if name.endswith(".json") else str(config.parent / "methods" / f"{name}.json") for name in names]
    content = copy.deepcopy({**entries, **changes, "config_file": [str(config), *overlays]})
    return create_workflow(**content).parser.get_parsed_content("federation")


@pytest.fixture
def clip_federation(federated: dict[str, Any]) -> dict[str, Any]:
    return {**federated, "rounds": 1, "facmic": {**federated["facmic"], "target": "none"}}


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: f"{path.parts[-4]}-{path.stem}")
def test_an_overlay_fits_its_bundle_and_says_whose_it_is(overlay: Path) -> None:
    root = overlay.parents[2]
    own = merged([str(root / "configs" / "federated.json")])
    content = merged([str(root / "configs" / "federated.json"), str(overlay)])
    assert content["method"] == overlay.stem and content["output_dir"] == f"{own['output_dir']}_{overlay.stem}"
    assert content["train_config"][0] == "configs/train.json"
    training = merged(config_files(str(root), content["train_config"]))
    settings = content.get(overlay.stem, {})
    for name, value in settings.items():  # one default, wherever it stands
        assert training[name] == (value.replace(f"@{overlay.stem}#", "@") if isinstance(value, str) else value), name
    assert content["method_metadata"] == f"configs/methods/{overlay.stem}/metadata.json"
    said = json.loads((root / content["method_metadata"]).read_text())
    assert said.keys() <= json.loads((root / "configs" / "metadata.json").read_text()).keys()
    assert len(said["name"]) <= 64  # it is the algorithm's name in DICOM
    if settings:
        assert content["agreed"][overlay.stem] == f"@{overlay.stem}"
        assert f"**@{overlay.stem}" in content["federation"]["settings"]


@pytest.mark.parametrize("method", OF_CLIP)
def test_methods_that_train_all_of_clip(clip_federation: dict[str, Any], method: str) -> None:
    """A round: all of CLIP trains, travels and is moved, on pictures; the settings reach the site."""
    run = federation_with(clip_federation, method, sites=["site_a"], **settings_of(method))
    engine, manifest, _ = build_engine(run)
    start = engine.initial_weights()
    ((_, update),) = engine.train(start, 1)
    manifest.check(update.weights, "site_a")
    assert len(start) > 30 and all(name.startswith("clip.") for name in start)
    assert [name for name, value in start.items() if torch.equal(update.weights[name], value)] == []
    kept = list((run.output_dir / "features").rglob("*.safetensors"))
    assert kept and {name for file in kept for name in load_file(file)} == {"pictures"}  # features would change
    assert all(engine.first_site().setting(name) == value for name, value in OF_CLIP[method].items())


def settings_of(method: str) -> dict[str, Any]:
    return {method: OF_CLIP[method]} if OF_CLIP[method] else {}


def test_what_a_run_leaves_is_the_method_s_and_serves(clip_federation: dict[str, Any], tmp_path: Path) -> None:
    run = federation_with(clip_federation, "fedprox", **settings_of("fedprox"))
    result, folder = run.run(), Path(run.output_dir)
    assert result["method"] == "fedprox" == json.loads((folder / "run.json").read_text())["method"]
    assert "<code>fedprox</code>" in (folder / "report.html").read_text()
    bundle = folder / "bundle" / "facmic_classification_fedprox"
    assert method_of(bundle) == "fedprox"
    assert OF_CLIP["fedprox"].items() <= json.loads((bundle / "configs" / "train.json").read_text()).items()
    study = Path(clip_federation["dataset_dir"]) / "unseen"
    by_overlay = [Path(run.bundle_root) / "configs" / "inference.json", folder / "model.json"]
    answers = served([bundle / "configs" / "inference.json"], bundle, study, tmp_path / "bundle")
    assert answers == served(by_overlay, bundle, study, tmp_path / "overlay") and len(answers) == 24
    right = sum(row["prediction"] in Path(row["image"]).parts for row in answers)
    assert right / 24 == pytest.approx(result["final"]["unseen"]["metrics"]["accuracy"]["value"])


def method_of(bundle: Path) -> str:
    """The method that a trained bundle's configurations agree on."""
    train, inference, federated, metadata = (
        json.loads((bundle / "configs" / f"{name}.json").read_text())
        for name in ("train", "inference", "federated", "metadata")
    )
    assert train["network_def"]["_target_"] == inference["network_def"]["_target_"] == "fedmed_networks.FineTunedCLIP"
    assert train["network_def"]["class_names"] == "@class_names" and "weights" in train["network_def"]
    assert inference["network_def"]["class_names"] == "@class_names" and "weights" not in inference["network_def"]
    method = str(federated["method"])
    assert metadata["name"] == inference["algorithm"]["name"] and "FACMIC" not in json.dumps(metadata)
    assert metadata["name"] in (bundle / "docs" / "MODEL_CARD.md").read_text()
    assert federated["train_config"] == ["configs/train.json"] and not (bundle / "configs" / "methods").exists()
    return method


def served(files: list[Path], bundle: Path, study: Path, output: Path) -> list[dict[str, Any]]:
    """The answers of an inference configuration with a trained bundle's weights."""
    create_workflow(
        config_file=[str(file) for file in files], workflow_type="infer", bundle_root=str(bundle), device="cpu",
        dataset_dir=str(study), output_dir=str(output),
    ).run()  # fmt: skip
    rows: list[dict[str, Any]] = json.loads((output / "predictions.json").read_text())
    return rows


def site(run: Any, folder: Path) -> SiteAlgo:
    """The first site of a federation, as a start of it has it."""
    run = copy.copy(run)
    run.output_dir = folder
    algo: SiteAlgo = run.site("site_a", run.sites.folders["site_a"], {}, False)
    algo.initialize()
    return algo


def test_killed_after_a_round_and_started_again_moon_sends_the_same_bits(
    clip_federation: dict[str, Any], tmp_path: Path
) -> None:
    """Its previous network lies at the site; without it, round 3 is another."""
    run = federation_with(clip_federation, "moon")
    whole, broken = site(run, tmp_path / "whole"), site(run, tmp_path / "broken")
    start = whole.initial_weights()
    for number in (1, 2):
        whole.fit_round(start, number), broken.fit_round(start, number)
    expected = whole.fit_round(start, 3)
    again = site(run, tmp_path / "broken").fit_round(start, 3)
    assert all(torch.equal(again.weights[name], value) for name, value in expected.weights.items())
    assert again.metrics == expected.metrics
    without = site(run, tmp_path / "broken")
    file = without.state.file(2)
    state = torch.load(file, weights_only=True)
    torch.save({**state, "parts": [{"previous": {}} if "previous" in part else part for part in state["parts"]]}, file)
    other = without.fit_round(start, 3)
    assert not all(torch.equal(other.weights[name], value) for name, value in expected.weights.items())


def test_fedprox_is_fedavg_but_for_its_term(clip_federation: dict[str, Any], tmp_path: Path) -> None:
    sent = []
    for name, settings in (("fedavg", {}), ("fedprox", {"mu": 0.0}), ("fedprox", {"mu": 1000.0})):
        run = federation_with(clip_federation, name, **({name: settings} if settings else {}))
        algo = site(run, tmp_path / str(len(sent)))
        start = algo.initial_weights()
        sent.append(algo.fit_round(start, 1).weights)
    assert all(torch.equal(sent[1][name], value) for name, value in sent[0].items())
    moved = [sum(float((found[name] - value).square().sum()) for name, value in start.items()) for found in sent]
    assert moved[2] < moved[0]


def test_a_target_whose_features_would_change_is_refused(clip_federation: dict[str, Any]) -> None:
    run = federation_with(clip_federation, "fedavg", facmic={**clip_federation["facmic"], "target": "unseen"})
    with pytest.raises((ValueError, RuntimeError)) as refused:
        run.run()
    assert "expected fixed features to release, found none: the encoder trains" in str(refused.value)


@pytest.mark.parametrize("method", ["fedsam"], indirect=True)
def test_an_overlay_of_another_bundle_is_refused_before_anything_is_written(
    federation_of_sam: dict[str, Any], tmp_path: Path
) -> None:
    foreign = ROOT / "bundles" / "facmic_classification" / "configs" / "methods"
    with pytest.raises(RuntimeError) as unused:
        federation_with(federation_of_sam, str(foreign / "fedavg.json"))
    assert "setting 'facmic': nothing uses an entry of this name" in refusal(unused.value)
    with pytest.raises(FileNotFoundError, match="fedavg/train.json: no such file.*methods/fedprox/train.json'"):
        missing = ["configs/train.json", "configs/methods/fedavg/train.json"]
        federation_with(federation_of_sam, train_config=missing).run()
    with pytest.raises(ValueError, match="@fedmsa` is not defined"):
        federation_with(federation_of_sam, str(ROOT / "bundles/fedmsa_segmentation/configs/methods/moon.json"))
    overlay = str(foreign / "fedavg" / "train.json")
    with pytest.raises(ValueError, match="fedavg/train.json: this overlay does not fit .*: it refers to '@clip'"):
        federation_with(federation_of_sam, method="mine", train_config=["configs/train.json", overlay]).run()
    assert not (tmp_path / "run").exists()


@pytest.fixture
def federation_of_sam(federation: dict[str, Any]) -> dict[str, Any]:
    return {**federation, "rounds": 1}


@pytest.mark.parametrize("overlay", ["fedprox", "moon"])
def test_methods_of_sam(federation_of_sam: dict[str, Any], method: str, overlay: str) -> None:
    """A round: the term is added to a segmentation loss, and what travels is what travels without it."""
    run = federation_with({**federation_of_sam, "sites": ["hillside"]}, overlay)
    engine, manifest, _ = build_engine(run)
    start = engine.initial_weights()
    ((_, update),) = engine.train(start, 1)
    manifest.check(update.weights, "hillside")
    assert all(name.startswith(("image_encoder.", "mask_decoder.", "prompt_encoder.")) for name in update.weights)
    assert any(not torch.equal(update.weights[name], value) for name, value in start.items())
    handlers = engine.first_site().setting("train#handlers")
    assert run.method == overlay and any(hasattr(handler, "term") for handler in handlers)


@pytest.mark.parametrize("name", ["", "..", "a/b", 3])
def test_a_method_has_a_plain_name(clip_federation: dict[str, Any], name: Any) -> None:
    with pytest.raises((ValueError, RuntimeError)) as refused:
        federation_with(clip_federation, method=name)
    assert f"method: expected the name of a method, found {name!r}" in str(refused.value.__cause__ or refused.value)


def test_every_setting_of_a_method_can_be_given_by_its_name(clip_federation: dict[str, Any]) -> None:
    run = federation_with(clip_federation, "moon", **{"moon#temperature": 0.25})
    assert run.settings["temperature"] == 0.25 and run.agreed["moon"] == {"mu": 1.0, "temperature": 0.25}
    assert ConfigParser(dict(run.agreed))["method"] == "moon"
