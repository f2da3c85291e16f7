"""A page as its tags, its text and its tables; aggregates as on both engines; a partition's images; a comparison."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from fedmed_transforms.simulation.phantoms import write_sites
from fedmed_transforms.simulation.scanners import SCANNERS
from fedmed_workflows.aggregation import Aggregation, Before
from fedmed_workflows.exchange.weights import FileWeights, Update, Weights
from fedmed_workflows.nvflare.server.controller import _aggregation
from tests.workflows.comparison.compared import write_json


class Page(HTMLParser):
    """The tags of a page, its text, and the text of its table rows by cell."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.in_cell = False
        self.feed(content)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] != "style":
            self.words.append(data)
            if self.in_cell:
                self.rows[-1][-1] = f"{self.rows[-1][-1]} {data}".strip()

    def row(self, *start: str) -> list[str]:
        """The only row that starts with these cells."""
        (found,) = [row for row in self.rows if row[: len(start)] == list(start)]
        return found


@pytest.fixture(scope="session")
def read_page() -> Callable[[Path], Page]:
    """Reads a page from its file."""
    return lambda path: Page(path.read_text("utf-8"))


Given = tuple[Aggregation, dict[str, Update]]


@pytest.fixture(params=["in_process", "nvflare"])
def on_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Aggregation, Mapping[str, Update]], Given]:
    """An aggregation and updates as an engine has them: here, or named by a job and received as files."""

    def named_and_filed(aggregation: Aggregation, updates: Mapping[str, Update]) -> Given:
        name = f"{type(aggregation).__module__}.{type(aggregation).__qualname__}"
        job = json.loads(json.dumps({"name": name, "arguments": vars(aggregation)}))
        filed = {}
        for site, update in updates.items():
            file = tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors"
            save_file(dict(update.weights), file)
            filed[site] = Update(FileWeights(file), update.samples)
        return _aggregation(job), filed

    if request.param == "nvflare":
        return named_and_filed
    return lambda aggregation, updates: (aggregation, dict(updates))


@pytest.fixture
def aggregated(on_engine: Callable[[Aggregation, Mapping[str, Update]], Given]) -> Callable[..., Weights]:
    """The whole aggregate of updates, of sites that began with zeros where a test does not say with what."""

    def all_at_once(aggregation: Aggregation, updates: Mapping[str, Update], before: Before | None = None) -> Weights:
        zeros = {name: torch.zeros_like(value) for update in updates.values() for name, value in update.weights.items()}
        aggregation, updates = on_engine(aggregation, updates)
        return {tensor.name: tensor.value for tensor in aggregation.aggregate(updates, before or Before(zeros))}

    return all_at_once


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DICOM slices of four scanners in four class folders, two slices a patient."""
    root = tmp_path_factory.mktemp("scans")
    sites = write_sites(root / "sites", images_per_class=8, size=16)
    for site in SCANNERS:
        shutil.copytree(sites / site, root / "pool", dirs_exist_ok=True)
    return root / "pool"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of 24 pictures, three of them of each patient; only a reader would mind that they are empty."""
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for index in range(24):
            (tmp_path / "pictures" / name / f"p{8 * label + index // 3:02}_{index}.png").touch()
    return tmp_path / "pictures"


@pytest.fixture(scope="session")
def items_of() -> Callable[[Path], dict[str, list[dict[str, str]]]]:
    """The items of every site of a partition, their images' paths made absolute."""

    def read(folder: Path) -> dict[str, list[dict[str, str]]]:
        found = {}
        for file in sorted(folder.glob("*.json")):
            if file.name != "partition.json":
                content = json.loads(file.read_text())
                items = [item for part in ("training", "validation", "test") for item in content.get(part, ())]
                found[file.stem] = [{**item, "image": str((folder / item["image"]).resolve())} for item in items]
        return found

    return read


@pytest.fixture(scope="module")
def comparison(
    bundle_root: Path, sites_dir: Path, small_clip: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Entries of compare.json: FACMIC and a method that differs in its momenta, two seeds, two unseen sites."""
    folder = tmp_path_factory.mktemp("comparison")
    train = write_json(folder, "train.json", {"optimizer#betas": [0.1, 0.2]})
    overlay = write_json(folder, "momenta.json", {"method": "momenta", "+train_config": [train]})
    facmic = {"target": "none", "clip": small_clip, "weights": None, "image_size": 16, "learning_rate": 1e-2,
              "batch_size": 8}  # fmt: skip
    return {
        "config_file": str(bundle_root / "configs" / "compare.json"),
        "run_id": "compare",
        "bundle_root": str(bundle_root),
        "methods": {"facmic": ["configs/federated.json"], "momenta": ["configs/federated.json", overlay]},
        "seeds": [0, 1],
        "unseen_site": ["site_b", "unseen"],
        "dataset_dir": str(sites_dir),
        "rounds": 2,
        "output_dir": str(folder / "runs"),
        "device": "cpu",
        "overrides": {"facmic": facmic},
    }
