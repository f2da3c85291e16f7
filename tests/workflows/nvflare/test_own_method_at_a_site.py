"""A method of one's own at a site of NVFlare: the site's administrator installs its files and its package."""

from __future__ import annotations

import copy
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import create_workflow

from fedmed_workflows.errors import SiteError
from fedmed_workflows.federation.federation import Federation
from fedmed_workflows.nvflare.job.federation_job import network_of, site_part
from fedmed_workflows.nvflare.site.environment import SiteEnvironment
from fedmed_workflows.nvflare.site.joined_site import join

EXAMPLE = Path(__file__).parents[3] / "docs" / "own_method"
OVERLAY = "configs/methods/gated_adapter.json"


def bundle_in(folder: Path, bundle_root: Path, overlay: bool) -> Path:
    """A copy of the bundle, with the method's files or without."""
    shutil.copytree(bundle_root, folder / bundle_root.name)
    if overlay:
        shutil.copytree(EXAMPLE / "configs", folder / bundle_root.name / "configs", dirs_exist_ok=True)
    return folder / bundle_root.name


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is installed."""
    monkeypatch.syspath_prepend(str(EXAMPLE))


@pytest.fixture
def hospital(tmp_path: Path, bundle_root: Path, sites_dir: Path) -> SiteEnvironment:
    bundle = bundle_in(tmp_path / "hospital", bundle_root, overlay=True)
    return SiteEnvironment(bundle.parent, sites_dir, tmp_path / "state", None, "cpu", False)


def federation(root: Path, overlay: Path, federated: dict[str, Any], **changes: Any) -> Federation:
    small = {f"facmic#{name}": federated["facmic"][name] for name in ("clip", "image_size", "batch_size")}
    entries = {"bundle_root": str(root), "dataset_dir": federated["dataset_dir"], "output_dir": federated["output_dir"],
               "device": "cpu", "unseen_site": "unseen", **small, **changes}  # fmt: skip
    files = [str(root / "configs" / "federated.json"), str(overlay)]
    found: Federation = create_workflow(config_file=files, **entries).parser.get_parsed_content("federation")
    return found


@pytest.fixture
def mine(tmp_path: Path, bundle_root: Path, federated: dict[str, Any]) -> Federation:
    """The federation where the method's author submits the job."""
    root = bundle_in(tmp_path / "author", bundle_root, overlay=True)
    return federation(root, root / OVERLAY, federated, **{"gated_adapter#hidden": 8, "gated_adapter#penalty": 0.5})


@pytest.fixture
def job(mine: Federation) -> dict[str, Any]:
    return site_part(mine, "a_run")


def test_a_site_with_the_files_and_the_package_trains_with_the_job_s_settings(
    mine: Federation, job: dict[str, Any], hospital: SiteEnvironment, package: None
) -> None:
    assert "_target_" not in json.dumps(job) and "gated_adapter." not in json.dumps(job["agreed"])
    assert job["agreed"]["gated_adapter"] == {"hidden": 8, "penalty": 0.5}
    site = join(json.loads(json.dumps(job)), "site_a", hospital, {}).algo
    network_of(mine).manifest.check_same(site.manifest, "site_a")
    assert site.setting("train#handlers")[-1].penalty == 0.5
    sent = site.fit_round(site.initial_weights(), 1).weights
    assert sent["adapter.0.weight"].shape == (8, 16)


def test_a_bundle_without_the_overlay_is_not_the_job_s(
    job: dict[str, Any], hospital: SiteEnvironment, bundle_root: Path, package: None
) -> None:
    shutil.rmtree(hospital.bundles)
    bundle_in(hospital.bundles, bundle_root, overlay=False)
    with pytest.raises(SiteError, match=f"installed here is not the job's: {OVERLAY}: found no file, expected"):
        join(job, "site_a", hospital, {})


def test_a_package_that_is_not_installed_is_named(
    job: dict[str, Any], hospital: SiteEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "gated_adapter"]:
        monkeypatch.delitem(sys.modules, name)  # loaded by the tests before
    with pytest.raises(ValueError, match="site 'site_a'.*gated_adapter"):
        join(job, "site_a", hospital, {})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda agreed: agreed["gated_adapter"].update({"network_def#_target_": "os.system"}), "unknown settings"),
        (lambda agreed: agreed["gated_adapter"].update(hidden={"_target_": "os.system"}), "found the key '_target_'"),
        (lambda agreed: agreed["gated_adapter"].update(hidden="$print(1)"), "which a configuration evaluates"),
        (lambda agreed: agreed.update(own={"hidden": 8}), "agreed entries"),
        (lambda agreed: agreed["train_config"].append("/home/own.json"), "train_config: found ['/home/own.json']"),
    ],
)
def test_a_job_names_no_code(
    job: dict[str, Any], hospital: SiteEnvironment, change: Callable[[dict[str, Any]], Any], said: str, package: None
) -> None:
    altered = copy.deepcopy(job)
    change(altered["agreed"])
    with pytest.raises(SiteError) as refused:
        join(altered, "site_a", hospital, {})
    assert said in str(refused.value)


@pytest.mark.parametrize("name", [OVERLAY, "configs/methods/gated_adapter/train.json"])
def test_an_overlay_by_which_a_job_could_name_a_class_is_refused(
    mine: Federation, hospital: SiteEnvironment, name: str, package: None
) -> None:
    """Also where the site has installed it."""
    root = Path(mine.bundle_root)
    content = json.loads((root / name).read_text())
    part = {"_target_": "@gated_adapter#hidden" if name == OVERLAY else "@hidden"}
    content |= {"gated_adapter#part": part} if name == OVERLAY else {"loss": part}
    for file in (root / name, hospital.bundles / root.name / name):
        file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="it has the '_target_' '@.*hidden', expected the path of a class"):
        join(site_part(mine, "a_run"), "site_a", hospital, {})


def test_an_overlay_outside_the_bundle_is_no_job(
    tmp_path: Path, bundle_root: Path, federated: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(EXAMPLE)
    root = bundle_in(tmp_path / "author", bundle_root, overlay=False)
    with pytest.raises(ValueError, match="train_config configs/methods/gated_adapter/train.json: expected a file of"):
        site_part(federation(root, EXAMPLE / OVERLAY, federated), "a_run")
