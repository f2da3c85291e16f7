"""A run whose folder, data or weights are no longer what they were; and what of a site's errors is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import create_workflow
from PIL import Image

from fedmed_workflows.federation.federation import Federation
from fedmed_workflows.federation.in_process import InProcessEngine
from fedmed_workflows.federation.rounds import FederationError


def federation(entries: dict[str, Any]) -> Federation:
    parsed: Federation = create_workflow(**entries).parser.get_parsed_content("federation")
    return parsed


@pytest.fixture
def interrupted(federated: dict[str, Any], sites_dir: Path, tmp_path: Path) -> dict[str, Any]:
    """The entries of a run over copies of the sites, stopped before its third round."""
    shutil.copytree(sites_dir, tmp_path / "sites")
    entries = {**federated, "dataset_dir": str(tmp_path / "sites")}
    train = InProcessEngine.train

    def stopped(engine: InProcessEngine, weights: Any, number: int) -> Any:
        if number == 3:
            raise KeyboardInterrupt
        return train(engine, weights, number)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(InProcessEngine, "train", stopped)
        federation(entries).run()
    return entries


def lose_state(folder: Path) -> None:
    shutil.rmtree(folder / "run" / "sites" / "site_a")


def damage_state(folder: Path) -> None:
    (folder / "run" / "sites" / "site_a" / "round_00002.pt").write_bytes(b"PK")


def lose_checkpoint(folder: Path) -> None:
    (folder / "run" / "checkpoints" / "round_00002.safetensors").unlink()


def damage_checkpoint(folder: Path) -> None:
    file = folder / "run" / "checkpoints" / "round_00002.safetensors"
    file.write_bytes(file.read_bytes()[:100])


def damage_record(folder: Path) -> None:
    (folder / "run" / "checkpoints" / "last.json").write_text("{")


def change_frozen_weights(folder: Path) -> None:
    record = folder / "run" / "checkpoints" / "last.json"
    last = json.loads(record.read_text())
    last["manifest"]["frozen"] = "0" * 64
    record.write_text(json.dumps(last))


def change_image(folder: Path) -> None:
    file = folder / "sites" / "site_b" / "dots" / "0.png"
    picture = Image.open(file)
    picture.putpixel((0, 0), 255 - picture.getpixel((0, 0)))
    picture.save(file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lose_state, "site_a/round_00002.pt is missing"),
        (lose_checkpoint, "round_00002.safetensors: expected the aggregate of the last round"),
        (damage_checkpoint, "round_00002.safetensors: expected the aggregate of the last round"),
        (damage_record, "last.json: expected the record of the last round"),
        (change_frozen_weights, "frozen weights have digest"),
        (change_image, "data: found"),
    ],
)
def test_what_changed_meanwhile_is_refused_by_name(
    interrupted: dict[str, Any], tmp_path: Path, change: Callable[[Path], None], said: str
) -> None:
    change(tmp_path)
    with pytest.raises(ValueError) as refused:  # noqa: PT011, the message is compared below
        federation(interrupted).run()
    assert said in str(refused.value)


def test_a_damaged_state_names_its_file_in_the_site_s_log_only(
    interrupted: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damage_state(tmp_path)
    with pytest.raises(FederationError) as refused:
        federation(interrupted).run()
    assert "round_00002.pt" in caplog.text and "round_00002.pt" not in str(refused.value)


def test_unchanged_it_goes_on(interrupted: dict[str, Any]) -> None:
    assert [entry["round"] for entry in federation(interrupted).run()["history"]] == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["$__import__('os').system('touch PWNED')", "@device", "%seed", "a@##seed", "b#1"])
def test_names_that_a_configuration_would_run_are_refused(
    federated: dict[str, Any], sites_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("class", "site"):
        root = tmp_path / place
        shutil.copytree(sites_dir, root)
        old = (
            [root / site / "dots" for site in ("site_a", "site_b", "unseen")] if place == "class" else [root / "site_a"]
        )
        for folder in old:
            folder.rename(folder.with_name(name))
        with pytest.raises(RuntimeError) as refused:
            federation({**federated, "dataset_dir": str(root)}).run()
        assert f"{place} {name!r}: expected a name without" in str(refused.value.__cause__)
    assert not (tmp_path / "PWNED").exists()


def test_a_site_s_file_names_stay_at_the_site(federated: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    train = InProcessEngine.train

    def failing(engine: InProcessEngine, weights: Any, number: int) -> Any:
        for name, result in train(engine, weights, number):
            yield name, ValueError("data/MUELLER_HANS_19500101.png: does not decode") if name == "site_b" else result

    monkeypatch.setattr(InProcessEngine, "train", failing)
    result = federation({**federated, "min_sites": 1}).run()
    assert result["history"][1]["sites"]["site_b"]["error"].startswith("the site's round ended with ValueError")
    for file in Path(federated["output_dir"]).rglob("*"):
        assert not file.is_file() or b"MUELLER" not in file.read_bytes(), file
