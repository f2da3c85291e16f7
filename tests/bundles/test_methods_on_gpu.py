"""Every method of every bundle on a GPU, pretended where there is none: training, evaluation and inference."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import create_workflow

from fedmed_networks import FedSAM
from fedmed_transforms.simulation.volume_phantoms import write_segmentation_sites
from fedmed_workflows import FACMICLoss, FedProx, PooledInferer, SlicewiseInferer
from fedmed_workflows.federation.bundle.trained_bundle import decided_entries
from fedmed_workflows.federation.in_process import InProcessEngine, build_engine
from tests.bundles.small_federations import BUNDLES, METHODS, Method

pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file")

CPU = torch.device("cpu")

MIXED = {"precision": "bfloat16", "checkpointing": True}

PRIVACY = {"_target_": "fedmed_workflows.GaussianUpdate", "clip_norm": 1.0, "noise_multiplier": 0.0, "delta": 1e-5}

CHANGED = [
    Method(BUNDLES / "fedmsa_segmentation", settings=MIXED),
    Method(BUNDLES / "fedsam_segmentation", settings=MIXED),
    Method(BUNDLES / "facmic_classification", entries={"privacy": PRIVACY, "exchange_dtype": "bfloat16"}),
]


@pytest.fixture(scope="module")
def organs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three patients of two slices at a site of pictures; one patient at each of the other sites."""
    root = write_segmentation_sites(tmp_path_factory.mktemp("organs") / "sites", volumes=3, size=16)
    for part in ("images", "labels"):
        for picture in (root / "riverbend" / part).iterdir():
            if picture.stem.split("_")[1] not in ("2", "3"):
                picture.unlink()
        for volume in sorted((root / "unseen" / part).iterdir())[1:]:
            volume.unlink()
    return root


@pytest.fixture
def small(
    sites_dir: Path, small_clip: dict[str, Any], organs: Path, small_sam: dict[str, Any], organ: dict[str, Any],
    tmp_path: Path,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Settings and entries by the name of the bundle: one site and an unseen one, on a GPU."""
    shared = {"device": "cuda:0", "unseen_site": "unseen", "output_dir": str(tmp_path / "run")}
    clip = {"clip": small_clip, "image_size": 16, "batch_size": 8}
    sam = {**small_sam, "image_size": 32, "batch_size": 8}
    segmentation = {**shared, "dataset_dir": str(organs), "sites": ["riverbend"], "recipe": organ}
    return {
        "facmic": {"settings": clip, "entries": {**shared, "dataset_dir": str(sites_dir), "sites": ["site_a"]}},
        "fedsam": {"settings": sam, "entries": segmentation},
        "fedmsa": {"settings": sam, "entries": segmentation},
    }


@pytest.fixture
def studies(organs: Path, tmp_path: Path) -> Path:
    """A DICOM series, a NIfTI volume and a picture."""
    folder = tmp_path / "studies"
    series = min((organs / "harbour" / "images").iterdir())
    shutil.copytree(series, folder / series.name)
    for site in ("hillside", "riverbend"):
        shutil.copy(min((organs / site / "images").iterdir()), folder)
    return folder


def rounds(engine: InProcessEngine, count: int) -> dict[str, torch.Tensor]:
    """Trains rounds at the only site; returns the weights that it sends last."""
    weights = dict(engine.initial_weights())
    for number in range(1, count + 1):
        ((_, update),) = engine.train(weights, number)
        if isinstance(update, Exception):
            raise update
        weights = dict(update.weights)
    return weights


def infer(run: Any, engine: InProcessEngine, weights: dict[str, torch.Tensor], studies: Path, device: str) -> Any:
    """Applies a federation's network by the bundle's inference configuration; returns the network."""
    site = engine.first_site()
    model = site.save_model(weights, run.output_dir / "model.pt")
    root = Path(run.bundle_root)
    workflow = create_workflow(
        config_file=str(root / "configs" / "inference.json"), workflow_type="infer", bundle_root=str(root),
        ckpt_path=str(model), device=device, dataset_dir=str(studies), output_dir=str(run.output_dir / "answers"),
        **decided_entries(run.bundle_root, run.settings, site, run.train_config),
    )  # fmt: skip
    workflow.run()
    return workflow.parser.get_parsed_content("network")


@pytest.mark.parametrize("method", [*METHODS, *CHANGED], ids=str)
def test_a_federation_and_its_inference(
    gpu: torch.device, method: Method, small: dict[str, Any], studies: Path
) -> None:
    run = method.federation(small)
    trains = run.rounds > 0
    engine, manifest, _ = build_engine(run)
    weights = rounds(engine, 2 if trains else 0)
    manifest.check(weights, "the site")
    assert {value.device for value in weights.values()} == ({CPU} if trains else set())
    for scores in (engine.validate(weights, 2), engine.score(weights)):
        assert len(scores) == 2
    trained = engine.first_site().network
    applied = infer(run, engine, weights, studies, "cuda:0")
    for network in (trained, applied):
        assert {value.device for value in network.state_dict().values()} == {gpu}
    results = (run.output_dir / "answers" / "results.csv").read_text()
    assert all(path.name in results for path in studies.iterdir())


def off_the_device(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Adds zeros that are made on the CPU to what a function returns."""

    def with_zeros(*args: Any, **kwargs: Any) -> torch.Tensor:
        result = function(*args, **kwargs)
        return result + torch.zeros(result.shape or 1)

    return with_zeros


def trained(engine: InProcessEngine, *_: Any) -> None:
    rounds(engine, 1)


def validated(engine: InProcessEngine, *_: Any) -> None:
    engine.validate(engine.initial_weights(), 0)


def scored(engine: InProcessEngine, *_: Any) -> None:
    engine.score(engine.initial_weights())


def inferred(engine: InProcessEngine, run: Any, studies: Path) -> None:
    infer(run, engine, dict(engine.initial_weights()), studies, "cuda:0")


PLANTED: list[tuple[str, str | None, type, str, Callable[..., None]]] = [
    ("facmic_classification", None, FACMICLoss, "forward", trained),
    ("facmic_classification", None, PooledInferer, "__call__", inferred),
    ("fedsam_segmentation", None, FedSAM, "forward", trained),
    ("fedsam_segmentation", "fedprox", FedProx, "term", trained),
    ("fedsam_segmentation", None, SlicewiseInferer, "__call__", validated),
    ("fedmsa_segmentation", None, SlicewiseInferer, "_segment", inferred),
]
"""Where a mistake is planted, and the work that meets it."""


@pytest.mark.parametrize(("bundle", "overlay", "owner", "name", "work"), PLANTED)
def test_a_planted_mistake_is_an_error(
    gpu: torch.device, bundle: str, overlay: str | None, owner: type, name: str, work: Callable[..., None],
    small: dict[str, Any], studies: Path,
) -> None:  # fmt: skip
    root = BUNDLES / bundle
    run = Method(root, root / "configs" / "methods" / f"{overlay}.json" if overlay else None).federation(small)
    engine, _, _ = build_engine(run)
    with pytest.MonkeyPatch.context() as patched, pytest.raises(Exception) as refused:  # noqa: B017
        patched.setattr(owner, name, off_the_device(getattr(owner, name)))
        work(engine, run, studies)
    assert "expected all tensors to be on the same device" in " ".join(map(str, causes(refused.value)))


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__


def test_metrics_that_read_from_the_device_are_an_error(gpu: torch.device, small: dict[str, Any]) -> None:
    engine, _, _ = build_engine(Method(BUNDLES / "fedmsa_segmentation").federation(small))
    with pytest.MonkeyPatch.context() as patched, pytest.raises(TypeError, match="cuda:0 device type tensor"):
        patched.setattr(torch.Tensor, "cpu", lambda tensor: tensor)
        scored(engine)
