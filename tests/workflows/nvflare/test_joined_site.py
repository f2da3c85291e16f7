"""A site that joins from elsewhere: what it takes from a job, and what it refuses before it parses or reads."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fedmed_workflows.errors import SiteError
from fedmed_workflows.federation.bundle.files import bundle_files
from fedmed_workflows.federation.bundle.network import BundleNetwork
from fedmed_workflows.federation.site.site_algo import SiteAlgo
from fedmed_workflows.nvflare.site.environment import SiteEnvironment
from fedmed_workflows.nvflare.site.joined_site import join


@pytest.fixture
def job(federated: dict[str, Any], bundle_root: Path) -> dict[str, Any]:
    return {
        "folder": "a_run",
        "bundle": bundle_root.name,
        "files": bundle_files(bundle_root),
        "unseen": "unseen",
        "privacy": None,
        "local_normalization": False,
        "agreed": {
            "class_names": ["dots", "stripes"], "facmic": {**federated["facmic"], "target": "none"},
            "method": None, "train_config": ["configs/train.json"], "shifts": None, "local_epochs": 1, "seed": 0,
            "exchange_dtype": "float32",
        },
    }  # fmt: skip


@pytest.fixture
def environment(bundle_root: Path, sites_dir: Path, tmp_path: Path) -> SiteEnvironment:
    return SiteEnvironment.read(
        {
            "FEDMED_BUNDLES": str(bundle_root.parent),
            "FEDMED_DATASET_DIR": str(sites_dir),
            "FEDMED_STATE_DIR": str(tmp_path / "state"),
            "FEDMED_DEVICE": "cpu",
        }
    )


def test_a_site_is_the_one_of_the_same_settings_in_one_process(
    job: dict[str, Any], environment: SiteEnvironment, bundle_root: Path, sites_dir: Path, tmp_path: Path
) -> None:
    joined = join(job, "site_a", environment, {})
    settings = {**job["agreed"]["facmic"], "class_names": ["dots", "stripes"], "device": torch.device("cpu")}
    site = SiteAlgo(str(bundle_root), "site_a", str(sites_dir / "site_a"), str(tmp_path / "own"), settings=settings)
    site.initialize()
    joined.algo.manifest.check_same(site.manifest, "the site of one process")
    start = site.initial_weights()
    ours, theirs = joined.algo.fit_round(start, 1), site.fit_round(start, 1)
    assert ours.samples == theirs.samples == 20 and ours.metrics == theirs.metrics
    assert all(torch.equal(ours.weights[name], theirs.weights[name]) for name in theirs.weights)
    assert (tmp_path / "state" / "a_run" / "sites" / "site_a" / "round_00001.pt").is_file()


def test_a_job_s_method_is_the_overlay_that_is_installed_with_the_job_s_settings(
    job: dict[str, Any], environment: SiteEnvironment
) -> None:
    overlays = [f"configs/methods/{name}/train.json" for name in ("fedavg", "fedprox")]
    method = {"method": "fedprox", "fedprox": {"mu": 0.5}, "train_config": ["configs/train.json", *overlays]}
    site = join({**job, "agreed": {**job["agreed"], **method}}, "site_a", environment, {}).algo
    assert all(name.startswith("clip.") for name in site.manifest.tensors)
    assert site.setting("train#handlers")[-1].mu == 0.5


def test_a_job_shifts_the_site_that_it_names_alone(job: dict[str, Any], environment: SiteEnvironment) -> None:
    job["agreed"]["shifts"] = {"site_a": {"contrast": 2.0}, "site_b": {"noise": 0.1}}
    joined = {site: join(job, site, environment, {}).algo for site in ("site_a", "unseen")}
    assert joined["site_a"].setting("shift") == {"contrast": 2.0} and joined["unseen"].setting("shift") is None


@pytest.mark.parametrize("local", [False, True])
def test_normalizations_stay_at_the_site_where_the_job_says_so(
    job: dict[str, Any], environment: SiteEnvironment, bundle_root: Path, local: bool
) -> None:
    site = join({**job, "local_normalization": local}, "site_a", environment, {}).algo
    sent = site.fit_round(site.initial_weights(), 1).weights
    assert ("attention.1.running_mean" in sent) == ("attention.1.weight" in sent) == (not local)
    decided = {"class_names": ["dots", "stripes"]}
    network = BundleNetwork(str(bundle_root), job["agreed"]["facmic"], decided, local_normalization=local)
    network.manifest.check_same(site.manifest, "site_a")


def test_the_administrator_s_network_is_that_of_the_sites(
    job: dict[str, Any], environment: SiteEnvironment, bundle_root: Path
) -> None:
    site = join(job, "site_a", environment, {}).algo
    network = BundleNetwork(str(bundle_root), job["agreed"]["facmic"], {"class_names": ["dots", "stripes"]})
    network.manifest.check_same(site.manifest, "site_a")
    ours, theirs = network.initial_weights(), site.initial_weights()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def altered_bundle(environment: SiteEnvironment, tmp_path: Path) -> SiteEnvironment:
    shutil.copytree(environment.bundles / "facmic_classification", tmp_path / "bundles" / "facmic_classification")
    train = tmp_path / "bundles" / "facmic_classification" / "configs" / "train.json"
    train.write_text(train.read_text().replace('"seed": 0', '"seed": "$__import__(\'os\').abort()"'))
    return SiteEnvironment(tmp_path / "bundles", environment.dataset_dir, environment.state_dir, None, "cpu", False)


def test_another_bundle_is_refused_before_it_is_parsed(
    job: dict[str, Any], environment: SiteEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedmed_workflows.nvflare.site.joined_site.ConfigParser", None)  # nothing may be parsed
    with pytest.raises(SiteError, match="installed here is not the job's: configs/train.json: found .*, expected"):
        join(job, "site_a", altered_bundle(environment, tmp_path), {})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda job: job["agreed"]["facmic"].update(clip="$print(1)"), "a configuration evaluates"),
        (lambda job: job["agreed"].update(dataset_dir="/home"), "agreed entries"),
        (lambda job: job["agreed"].pop("seed"), "agreed entries"),
        (lambda job: job["agreed"]["facmic"].update(dataset_dir="/home"), "unknown settings ['dataset_dir']"),
        (lambda job: job["agreed"]["facmic"].update(target="/home"), "a job names no folder of a site"),
        (lambda job: job["agreed"]["facmic"].update(clip="local-dir:/home"), "is fetched elsewhere"),
        (lambda job: job["agreed"]["facmic"].update(clip="hf-hub:nobody/nothing"), "is fetched elsewhere"),
        (
            lambda job: job["agreed"]["facmic"]["clip"]["text_cfg"].update(tokenizer_kwargs={"use_fast": True}),
            "'tokenizer_kwargs' has it fetched elsewhere",
        ),
        (lambda job: job["agreed"]["facmic"].update(weights="/root/weights.pt"), "FEDMED_WEIGHTS is not set"),
        (lambda job: job.update(folder="../elsewhere"), "expected the name of a folder"),
        (lambda job: job.update(bundle="../bundles"), "expected the name of a folder"),
        (lambda job: job.update(folder=".."), "expected the name of a folder"),
        (lambda job: job.update(bundle=".."), "expected the name of a folder"),
        (lambda job: job.update(folder=""), "expected the name of a folder"),
        (lambda job: job.update(bundle="nowhere"), "bundle 'nowhere': not installed here"),
        (lambda job: job["agreed"].update(method="unheard_of"), "no configs/methods/unheard_of.json, only ['configs"),
        (lambda job: job["agreed"].update(method="../federated"), "method: expected the name of a folder"),
        (lambda job: job["agreed"].update(method="fedprox"), "the bundle expects"),  # it comes with settings of its own
    ],
)
def test_a_job_that_asks_for_more_than_values_is_refused(
    job: dict[str, Any], environment: SiteEnvironment, change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    altered = copy.deepcopy(job)
    change(altered)
    with pytest.raises(SiteError) as refused:
        join(altered, "site_a", environment, {})
    assert said in str(refused.value)
    assert not environment.state_dir.exists()


@pytest.mark.parametrize("place", ["elsewhere", "models"])
def test_a_job_s_own_training_configuration_is_not_run(
    place: str, job: dict[str, Any], environment: SiteEnvironment, tmp_path: Path
) -> None:
    shutil.copytree(environment.bundles / "facmic_classification", tmp_path / "bundles" / "facmic_classification")
    own = replace(environment, bundles=tmp_path / "bundles")
    file = tmp_path / "elsewhere" / "more.json"
    name = str(file)
    if place == "models":  # the folder whose files are not compared
        file, name = tmp_path / "bundles" / "facmic_classification" / "models" / "more.json", "models/more.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"initialize": [f"$open({str(tmp_path / 'ran')!r}, 'w')"]}))
    job["agreed"]["train_config"].append(name)
    with pytest.raises(SiteError, match="train_config: found .*more.json'.*, expected files of the bundle"):
        join(job, "site_a", own, {})
    assert not (tmp_path / "ran").exists()


def test_an_unseen_site_releases_nothing_unless_its_people_say_so(
    job: dict[str, Any], environment: SiteEnvironment
) -> None:
    job["agreed"]["facmic"]["target"] = "unseen"
    with pytest.raises(SiteError, match="FEDMED_RELEASE_FEATURES is not 'yes'"):
        join(job, "unseen", environment, {})
    willing = SiteEnvironment(environment.bundles, environment.dataset_dir, environment.state_dir, None, "cpu", True)
    joined = join(job, "unseen", willing, {})
    assert joined.algo.held_out and Path(joined.prepared.settings["target"]).is_file()


def test_a_site_may_insist_on_noise(job: dict[str, Any], environment: SiteEnvironment) -> None:
    strict = dataclasses.replace(environment, min_noise=0.5)
    with pytest.raises(SiteError, match="noise multiplier is 0.0, this site's FEDMED_MIN_NOISE asks for 0.5"):
        join(job, "site_a", strict, {})
    job["privacy"] = {"clip_norm": 1.0, "noise_multiplier": 0.4, "delta": 1e-5}
    with pytest.raises(SiteError, match="noise multiplier is 0.4"):
        join(job, "site_a", strict, {})
    job["privacy"]["noise_multiplier"] = 0.5
    assert join(job, "site_a", strict, {}).algo.privacy is not None


@pytest.mark.parametrize("missing", ["FEDMED_BUNDLES", "FEDMED_DATASET_DIR", "FEDMED_STATE_DIR"])
def test_an_environment_without_a_folder_is_refused_by_the_variable_s_name(missing: str, tmp_path: Path) -> None:
    names = ("FEDMED_BUNDLES", "FEDMED_DATASET_DIR", "FEDMED_STATE_DIR")
    with pytest.raises(SiteError, match=f"{missing} is not set"):
        SiteEnvironment.read({name: str(tmp_path) for name in names if name != missing})


def test_what_leaves_a_site_names_no_file_of_its_images(
    job: dict[str, Any], environment: SiteEnvironment, sites_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(sites_dir / "site_a", tmp_path / "data" / "site_a")
    (tmp_path / "data" / "site_a" / "dots" / "0.png").write_bytes(b"no picture")
    broken = SiteEnvironment(environment.bundles, tmp_path / "data", environment.state_dir, None, "cpu", False)
    with pytest.raises(ValueError, match="0.png") as refused:
        join(job, "site_a", broken, {})
    assert not isinstance(refused.value, SiteError)  # so its text stays in the site's log


def test_every_file_of_a_bundle_is_compared(bundle_root: Path, tmp_path: Path) -> None:
    copied = tmp_path / bundle_root.name
    shutil.copytree(bundle_root, copied)
    (copied / "models").mkdir(exist_ok=True)
    (copied / "models" / "model.pt").write_bytes(b"weights are compared by the manifest")
    expected = bundle_files(bundle_root)
    assert bundle_files(copied) == expected
    assert {"configs/train.json", "configs/federated.json", "configs/inference.json", "LICENSE"} <= set(expected)
    (copied / "configs" / "more.json").write_text(json.dumps({}))
    assert set(bundle_files(copied)) - set(expected) == {"configs/more.json"}
