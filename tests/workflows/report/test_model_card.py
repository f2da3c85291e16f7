"""Model cards: the numbers of the report and no others, names that do no harm, the cards in the repository."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from monai.bundle import create_workflow

from fedmed_workflows.report.figures.metric_names import metric_of
from fedmed_workflows.report.model_card import model_card, write_bundle_card

BUNDLES = sorted((Path(__file__).parents[3] / "bundles").iterdir())

HOSTILE = "<b>|A_B*|</b>\n# Title [x](y)"


def run(entries: dict[str, Any], **changed: Any) -> Path:
    create_workflow(**copy.deepcopy({**entries, **changed})).run()
    return Path({**entries, **changed}["output_dir"])


def rows(card: str, title: str) -> Iterator[list[str]]:
    """The rows of the first table whose head starts with a title."""
    head = next(line for line in card.split("\n") if line.startswith(f"| {title} |"))
    for line in card[card.index(head) :].split("\n\n")[0].split("\n"):
        yield [cell.strip() for cell in line.strip("|").split(" | ")]


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: str(path.name))
def test_the_card_in_the_repository_is_what_is_made_of_the_metadata(bundle: Path, tmp_path: Path) -> None:
    """Written anew by ``python -m fedmed_workflows model_card bundles/*``."""
    shutil.copytree(bundle / "configs", tmp_path / "configs")
    card = write_bundle_card(tmp_path).read_text("utf-8")
    assert (bundle / "docs" / "MODEL_CARD.md").read_text("utf-8") == card
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    for part in (metadata["name"], metadata["intended_use"], metadata["references"][0], "No weights are shipped"):
        assert part in card
    header = ModelCard(card).data.to_dict()
    assert (header["license"], header["library_name"]) == ("apache-2.0", "monai")


def test_a_folder_without_metadata_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "configs" / "metadata.json"))):
        write_bundle_card(tmp_path)


def test_a_trained_card_holds_the_numbers_of_the_report(federated: dict[str, Any]) -> None:
    folder = run(federated)
    card, metrics = (folder / "MODEL_CARD.md").read_text("utf-8"), json.loads((folder / "metrics.json").read_text())
    told = {(part.dataset_name, part.metric_type): part for part in ModelCard(card).data.eval_results}
    defined = {
        (site, name): value
        for site, score in metrics["final"].items()
        for name, value in score["metrics"].items()
        if value["value"] is not None
    }
    assert set(told) == set(defined) and len(defined) > 3
    for key, value in defined.items():
        found = {"value": told[key].metric_value, **(told[key].metric_args or {})}
        assert found == {name: value[name] for name in ("value", "low", "high")}, key
        assert told[key].dataset_split == metrics["final"][key[0]]["split"]
    for stage, title in (("initial", "Before round 1"), ("final", "After the last round")):
        table = list(rows(card, title))
        for row in table[2:]:
            score = metrics[stage][row[0].removesuffix(" (unseen)").replace("\\", "")]["metrics"]
            of_heading = {metric_of(name).heading: value for name, value in score.items()}
            for heading, cell in zip(table[0][1:], row[1:], strict=True):
                value = of_heading[heading]
                assert cell == f"{value['value']:.3f} ({value['low']:.3f}–{value['high']:.3f})"
        assert len(table) - 2 == len(metrics[stage]) == 3
    data = {row[0]: row[1:] for row in rows(card, "Site")}
    assert data["unseen"] == ["unseen", "0", "24", "all"] and data["site\\_a"] == ["training", "20", "2", "test"]
    sent = sum(entry["sites"]["site_a"]["sent_bytes"] for entry in metrics["history"][1:])
    assert f"| site\\_a | 3 | {sent / 1e3:.2f} kB |" in card
    assert hashlib.sha256((folder / "model.pt").read_bytes()).hexdigest() in card
    assert "No noise was added" in card and "transductive" in card and "dots, stripes" in card


def test_a_card_says_what_privacy_was_set(federated: dict[str, Any]) -> None:
    mechanism = {"_target_": "fedmed_workflows.GaussianUpdate", "delta": 1e-5, "clip_norm": 1.5,
                 "noise_multiplier": 2.0}  # fmt: skip
    folder = run(federated, privacy=mechanism)
    card, metrics = (folder / "MODEL_CARD.md").read_text("utf-8"), json.loads((folder / "metrics.json").read_text())
    assert "| clip\\_norm | 1.5 |\n| noise\\_multiplier | 2.0 |" in card
    assert f"a site's updates | {metrics['history'][-1]['epsilon']:.4g} |" in card and "No noise" not in card


def test_names_are_text_and_break_no_table(federated: dict[str, Any]) -> None:
    result = create_workflow(**federated).run()[0]
    metadata = json.loads((Path(federated["bundle_root"]) / "configs" / "metadata.json").read_text())
    hostile = json.loads(json.dumps(result).replace('"unseen"', json.dumps(HOSTILE)))
    for site, role in zip(hostile["sites"], ("training", "training", "unseen"), strict=True):
        site["role"] = role
    card = model_card(metadata, hostile)
    assert ModelCard(card).data.eval_results[-1].dataset_name == HOSTILE
    body = card.split("\n---\n", 1)[1]
    assert "<b>" not in body.replace("\\<b\\>", "") and "\n# Title" not in body
    lengths = {len(re.split(r"(?<!\\)\|", "|".join(row))) for row in rows(card, "Site")}
    assert lengths == {5}


def test_undefined_scores_are_dashes_and_never_numbers(federated: dict[str, Any]) -> None:
    result = create_workflow(**federated).run()[0]
    metadata = json.loads((Path(federated["bundle_root"]) / "configs" / "metadata.json").read_text())
    result["final"]["unseen"]["metrics"]["balanced_accuracy"] = {"value": float("nan"), "low": None, "high": None}
    result["settings"]["data"] = hashlib.sha256().hexdigest()  # of no file: the images are elsewhere
    card = model_card(metadata, result)
    assert result["settings"]["data"] not in card and "The images stayed at the sites." in card
    told = {(part.dataset_name, part.metric_type) for part in ModelCard(card).data.eval_results}
    assert ("unseen", "balanced_accuracy") not in told and ("site_a", "balanced_accuracy") in told
    table = list(rows(card, "After the last round"))
    assert table[-1][table[0].index("Balanced accuracy")] == "–"
