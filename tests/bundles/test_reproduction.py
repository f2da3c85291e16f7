"""The commands of docs/reproduction.md as they stand there: each trains a round on small files laid out as theirs."""

from __future__ import annotations

import csv
import json
import re
import runpy
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import yaml
from monai.bundle import ConfigParser

from fedmed_networks.sam.foundation import shared_sam
from fedmed_workflows.comparison.found_methods import expand_methods
from tests.paper_sites import RECIPES, write_classes, write_recipe

ROOT = Path(__file__).parents[2]
BLOCKS = [
    [shlex.split(line) for line in block.replace("\\\n", " ").splitlines()]
    for block in re.findall(r"^```\n(.*?)^```$", (ROOT / "docs" / "reproduction.md").read_text(), re.DOTALL | re.M)
]
"""Of the document, by its words: a block is one command or several, or a listing of files."""

COMMANDS = [block for block in BLOCKS if block[0][0] == "python"]
CLASSES = {
    "BrainTumor": ["glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor"],
    "RealSkin": [f"lesion {number}" for number in range(7)],
}
SEGMENTED = {
    "Prostate": "prostate", "FeTS2022": "fets2022", "Fundus": "fundus", "Nuclei": "nuclei", "CTLung": "ct_lung",
}  # fmt: skip
SKIN, SITES = [f"lesion {number}" for number in range(9)], 4
IMAGES = 54
"""Of a site, about: a batch of 32 trains."""

TRAINED: dict[str, tuple[list[str], list[str] | None]] = {
    "BrainTumor": (["zero_shot", "fedprox", "facmic"], None), "SkinCancer": (["fedclip"], None),
    "RealSkin": (["faa_clip"], None), "FeTS2022": (["unet"], ["pooled"]), "Prostate": (["fedmsa"], ["federated"]),
    "Fundus": (["fedsam"], ["federated"]), "Nuclei": (["fedmsa"], ["federated"]),
    "CTLung": (["unet"], ["federated"]),
}  # fmt: skip
"""Of the documented methods and ways of training, those that a command runs here, for time's sake; None for all."""


def value(words: list[str], option: str) -> str:
    """Returns the value that the command gives for an option."""
    return words[words.index(option) + 1]


def write_data(name: str) -> None:
    """The data of a command, in the working directory."""
    if name in SEGMENTED:
        return write_recipe(Path(name), SEGMENTED[name])
    if name == "SkinCancer":
        return None  # written by the command before
    for site in range(SITES):
        write_classes(Path(name) / f"client_{site}", CLASSES[name], -(-IMAGES // len(CLASSES[name])))


@pytest.fixture
def smaller(
    small_clip: dict[str, Any], small_sam: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The project in a folder of its own, and what makes the documented foundations small there."""
    shutil.copytree(ROOT / "bundles", tmp_path / "bundles", ignore=shutil.ignore_patterns("models", "eval"))
    monkeypatch.chdir(tmp_path)
    small = {
        "facmic#clip": small_clip, "facmic#weights": None, "facmic#image_size": 16,
        "fedsam#model_type": small_sam["model_type"], "fedmsa#model_type": small_sam["model_type"],
        "fedsam#image_size": 64, "fedmsa#image_size": 64,
    }  # fmt: skip

    def changed(documented: dict[str, Any]) -> dict[str, Any]:
        for id_ in [id_ for id_ in documented if id_.endswith("#weights") and not id_.startswith("facmic")]:
            model_type = "tiny_vit" if id_.startswith("tinyvit") else small_sam["model_type"]
            Path(documented[id_]).parent.mkdir(parents=True, exist_ok=True)
            torch.save(shared_sam(model_type, 64).state_dict(), documented[id_])
        methods = {id_.split("#")[0] for id_ in documented}
        return {**documented, **{id_: entry for id_, entry in small.items() if id_.split("#")[0] in methods}}

    return changed


def execute(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs ``python -m MODULE ...`` as the interpreter does, in this process."""
    assert words[:2] == ["python", "-m"]
    monkeypatch.setattr("sys.argv", [words[2], *words[3:]])
    try:
        runpy.run_module(words[2], run_name="__main__")
    except SystemExit as ended:
        assert not ended.code


def settings(words: list[str]) -> dict[str, Any]:
    """Loads the command's configuration files, merged as MONAI merges them."""
    files = value(words, "--config_file")
    parsed: dict[str, Any] = ConfigParser.load_config_files(yaml.safe_load(files) if files.startswith("[") else files)
    return parsed


@pytest.mark.parametrize("block", COMMANDS, ids=[value(block[-1], "--output_dir") for block in COMMANDS])
def test_a_command_trains_a_round(
    block: list[list[str]], smaller: Callable[[dict[str, Any]], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    *before, words = block
    for command in before:
        write_classes(Path(value(command, "patient")), SKIN, -(-SITES * IMAGES // len(SKIN)))
        execute(command, monkeypatch)
    data, output_dir = value(words, "--dataset_dir"), Path(value(words, "--output_dir"))
    write_data(data)
    if words[4] == "compare":
        compare(words, smaller, monkeypatch)
        check_page(words, output_dir)
    else:
        given = {words[place][2:]: words[place + 1] for place in range(len(words)) if "#" in words[place]}
        added = [word for id_, entry in smaller(given).items() for word in (f"--{id_}", repr(entry))]
        execute([*words, "--rounds", "1", "--device", "cpu", *added], monkeypatch)
        result = json.loads((output_dir / "metrics.json").read_text())
        assert result["final"][value(words, "--unseen_site")]["split"] == "all" and (output_dir / "model.pt").is_file()


def entries_of(taken: dict[str, list[str]], documented: dict[str, Any]) -> set[str]:
    """Entries of the federations of some methods that hold settings: the bundle's and the method's."""
    roots = [Path(documented["bundle_root"], files[0]).parents[1].name for files in taken.values()]
    return {*taken, *(root.split("_")[0] for root in roots)}


def compare(
    words: list[str], smaller: Callable[[dict[str, Any]], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    documented, data = settings(words), value(words, "--dataset_dir")
    methods, trainings = TRAINED[data]
    taken = {name: documented["methods"][name] for name in methods}
    theirs = entries_of(taken, documented)
    overrides = {id_: entry for id_, entry in documented["overrides"].items() if id_.split("#")[0] in theirs}
    reduced = {
        "--rounds": 1, "--seeds": [0], "--device": "cpu", "--overrides": smaller(overrides), "--methods": taken,
        **({} if trainings is None else {"--training": trainings}),
        **({"--unseen_site": RECIPES[SEGMENTED[data]][0][0]} if data in SEGMENTED else {}),
    }  # fmt: skip
    execute([*words, *(str(word) for option in reduced.items() for word in option)], monkeypatch)


def check_page(words: list[str], output_dir: Path) -> None:
    documented, data = settings(words), value(words, "--dataset_dir")
    methods, trainings = TRAINED[data]
    with (output_dir / "summary.csv").open() as content:
        rows = [row for row in csv.DictReader(content) if row["role"] == "unseen"]
    assert {(row["method"], row["training"]) for row in rows} == {
        (method, training) for method in methods
        for training in trainings or documented["training"]
    }
    assert (output_dir / "report.html").is_file() and (output_dir / "table.tex").is_file()
    if data in SEGMENTED:
        assert "published_dice" in {row["metric"] for row in rows}
        notes = [json.loads(run.read_text())["notes"] for run in output_dir.glob("*/seed_0/**/metrics.json")]
        assert notes and not any("random weights" in note for run in notes for note in run)


def paper(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / "bundles" / name / "configs" / "paper.json").read_text())
    return content


@pytest.mark.parametrize("name", ["facmic_classification", "fedmsa_segmentation"])
def test_the_papers_methods_are_those_of_the_bundles_comparison(name: str) -> None:
    everything = json.loads((ROOT / "bundles" / name / "configs" / "compare.json").read_text())
    everything["methods"] = expand_methods(everything["methods"], str(ROOT / "bundles" / name))
    methods = paper(name)["methods"]
    assert methods and all(everything["methods"][method] == files for method, files in methods.items())
    assert {method for taken, _ in TRAINED.values() for method in taken} & set(methods)
    assert paper(name)["rounds"] == everything["rounds"]


def test_the_documented_weights_exist() -> None:
    clip, sam = (paper(name)["overrides"] for name in ("facmic_classification", "fedmsa_segmentation"))
    assert clip["facmic#weights"] in open_clip.list_pretrained_tags_by_model(clip["facmic#clip"])
    assert (open_clip.get_model_config(clip["facmic#clip"]) or {})["quick_gelu"]
    bundle = ROOT / "bundles" / "fedmsa_segmentation"
    files = yaml.safe_load((bundle / "large_files.yml").read_text())["large_files"]
    assert sam["fedsam#weights"] == sam["fedmsa#weights"]
    assert sam["fedsam#weights"] in {f"bundles/{bundle.name}/{file['path']}" for file in files}
