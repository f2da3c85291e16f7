"""A method outside the project's tree, by the commands of docs/own-method.md: trained, compared and served."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import verify_metadata

ROOT = Path(__file__).parents[2]

SCHEMA = Path(__file__).parents[1] / "data" / "metadata_schema.json"
EXAMPLE, PAGE = ROOT / "docs" / "own_method", ROOT / "docs" / "own-method.md"
TRAINED = "runs/gated_adapter/bundle/facmic_classification_gated_adapter"
NEEDED = "The trained bundle needs the module gated_adapter, which belongs to no installed package"


def blocks() -> dict[str, str]:
    """The code of the page by the comment before it."""
    return dict(re.findall(r"<!-- (\S+) -->\n```\w*\n(.*?)```", PAGE.read_text(), re.DOTALL))


def test_the_page_quotes_the_files_of_the_example() -> None:
    files = [path for path in EXAMPLE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    expected = {path.relative_to(EXAMPLE.parent).as_posix(): path.read_text() for path in files}
    assert {name: text for name, text in blocks().items() if name.startswith("own_method/")} == expected


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, sites_dir: Path) -> Path:
    """A folder with a copy of the example, and images of three hospitals."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(EXAMPLE, folder / "own_method", ignore=shutil.ignore_patterns("__pycache__"))
    for site, name in (("site_a", "hospital_a"), ("site_b", "hospital_b"), ("unseen", "hospital_c")):
        shutil.copytree(sites_dir / site, folder / "data" / name)
    return folder


def follow(place: Path, name: str, **entries: Any) -> str:
    """Runs a command of the page in the copied folder, with further entries; its output."""
    first, command = blocks()["run"].split("python -m")[0], blocks()[name]
    more = " ".join(f'--{entry} "{value}"' for entry, value in entries.items())
    lines = f"{first if name != 'run' else ''}{command.rstrip()} {more}\n".replace("python -m", f"{sys.executable} -m")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "BUNDLES": str(ROOT / "bundles"), "DATA": str(place / "data")}
    ran = subprocess.run(
        ["bash", "-e", "-c", lines], cwd=place, env=environment, check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


@pytest.fixture(scope="module")
def run(place: Path, small_clip: dict[str, Any]) -> tuple[Path, str]:
    """The folder of a run of two rounds, and what the run printed."""
    small = {"facmic#clip": small_clip, "facmic#image_size": 16, "facmic#batch_size": 8}
    output = follow(place, "run", rounds=2, device="cpu", **small, **{"gated_adapter#penalty": 0.5})
    return place / "own_method" / "runs" / "gated_adapter", output


def test_a_federation_trains_the_method_with_its_settings(run: tuple[Path, str]) -> None:
    folder, output = run
    result = json.loads((folder / "metrics.json").read_text())
    assert result["method"] == "gated_adapter" and len(result["history"]) == 3
    assert set(result["manifest"]["tensors"]) == {
        "gate", "adapter.0.weight", "adapter.0.bias", "adapter.2.weight", "adapter.2.bias",
    }  # fmt: skip
    settings = result["settings"]["settings"]
    assert (settings["hidden"], settings["penalty"]) == (64, 0.5)
    assert NEEDED in output and any(NEEDED in note for note in result["notes"])


def test_report_card_and_metadata_are_of_the_method_and_not_of_facmic(run: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = run
    text = json.loads((EXAMPLE / "configs/methods/gated_adapter/metadata.json").read_text())
    bundle = folder / "bundle" / "facmic_classification_gated_adapter"
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert {name: metadata[name] for name in text} == text
    card, report = (folder / "MODEL_CARD.md").read_text(), (folder / "report.html").read_text()
    for page in (card, report):
        assert text["name"] in page and text["description"] in page and text["references"][0] in page
        assert NEEDED in page.replace("\\", "") and not re.search(r"FACMIC:|2410\.14707|Wu, Yihang", page)
    assert "FACMIC" not in json.dumps(metadata)
    assert metadata["required_packages_version"]["gated_adapter"] == "0.0"
    schema = shutil.copyfile(SCHEMA, tmp_path / "schema.json")  # one that is there is not downloaded
    verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(schema))
    algorithm = json.loads((bundle / "configs" / "inference.json").read_text())["algorithm"]
    assert algorithm["name"] == text["name"]
    assert (bundle / "docs" / "README.md").read_text().startswith("> This bundle was trained with the method `gated_")


@pytest.mark.processes
def test_the_trained_bundle_answers(run: tuple[Path, str], place: Path) -> None:
    folder, _ = run
    shutil.copytree(place / "data" / "hospital_c", place / "own_method" / "STUDY")
    follow(place, "infer", device="cpu")
    answers = json.loads((place / "own_method" / "answers" / "predictions.json").read_text())
    right = sum(answer["prediction"] in Path(answer["image"]).parts for answer in answers)
    final = json.loads((folder / "metrics.json").read_text())["final"]["hospital_c"]["metrics"]
    assert len(answers) == 24 and right / 24 == pytest.approx(final["accuracy"]["value"])


@pytest.mark.processes
def test_a_comparison_has_the_method_beside_facmic(place: Path, small_clip: dict[str, Any]) -> None:
    overrides = {"facmic#clip": small_clip, "facmic#image_size": 16, "facmic#batch_size": 8}
    entries = {"seeds": [0], "unseen_site": "hospital_c", "rounds": 1, "device": "cpu", "overrides": overrides}
    follow(place, "compare", **entries)
    folder = place / "own_method" / "runs" / "compare"
    with (folder / "summary.csv").open() as content:
        assert {row["method"] for row in csv.DictReader(content)} == {"facmic", "gated_adapter"}
    page = (folder / "report.html").read_text()
    assert "Gated adapter on CLIP" in page and "arXiv 2110.04544" in page and NEEDED not in page


@pytest.mark.processes
def test_the_command_that_adds_the_method_to_all_others(place: Path) -> None:
    """An entry that no method has stops the command. The entries of the added method and of the others are known."""
    with pytest.raises(AssertionError) as refused:
        follow(place, "add", overrides={"gated_adapter#penalty": 1, "lora#rank": 2, "nothing#at_all": 1}, device="cpu")
    assert "no method's configuration has the entries ['nothing#at_all']" in str(refused.value)
