"""Overlays of a training configuration: those that fit, and how each that does not is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedmed_workflows.federation.bundle.config import config_files
from fedmed_workflows.federation.bundle.overlays import check_named, check_single_method, merged

BASE = {"rate": 0.1, "train": {"handlers": [1], "trainer": {"rate": "@rate"}}, "network_def": {"size": "$@rate * 2"}}


def files(tmp_path: Path, *contents: dict[str, Any]) -> list[str]:
    names = [f"{number}.json" for number in range(len(contents))]
    for name, content in zip(names, contents, strict=True):
        (tmp_path / name).write_text(json.dumps(content))
    return config_files(str(tmp_path), names)


@pytest.mark.parametrize(
    ("overlay", "changed"),
    [
        ({"rate": 0.2}, {"rate": 0.2}),
        ({"network_def": {"size": 3}}, {"network_def": {"size": 3}}),
        ({"mu": 1, "+train": {"mu": "@mu"}}, {"mu": 1, "train": {**BASE["train"], "mu": "@mu"}}),
        ({"+train#handlers": [2]}, {"train": {**BASE["train"], "handlers": [1, 2]}}),
        ({"train#trainer#rate": "$@rate / 2"}, {"train": {**BASE["train"], "trainer": {"rate": "$@rate / 2"}}}),
    ],
)
def test_an_overlay_that_fits_is_merged(tmp_path: Path, overlay: dict[str, Any], changed: dict[str, Any]) -> None:
    assert merged(files(tmp_path, BASE, overlay)) == {**BASE, **changed}


@pytest.mark.parametrize(
    ("overlay", "said"),
    [
        ({"+validate": {"a": 1}}, "it changes '+validate', which is no entry there"),
        ({"train#inferer": 1}, "it changes 'train#inferer', which is no entry there"),
        ({"mu": 0.1}, "it adds 'mu', which nothing refers to"),
        ({"network_def": {"size": "@clip"}}, "it refers to '@clip', which is no entry"),
        (
            {"network_def": {"_target_": "$@rate"}},
            "it has the '_target_' '$@rate', expected the path of a class as plain text",
        ),
        ({"network_def": {"sizes": [{"a": "$@train#dataset.x"}]}}, "it refers to '@train::dataset', which is no entry"),
    ],
)
def test_an_overlay_of_another_configuration_is_refused(tmp_path: Path, overlay: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as refused:
        files(tmp_path, BASE, overlay)
    assert str(refused.value) == f"{tmp_path / '1.json'}: this overlay does not fit {tmp_path / '0.json'}: {said}"


def test_an_overlay_may_build_on_the_one_before_it(tmp_path: Path) -> None:
    overlays = [{"mu": 1, "+train": {"mu": "@mu"}}, {"train#mu": 3, "mu": 2, "rate": "@mu"}]
    assert merged(files(tmp_path, BASE, *overlays))["train"]["mu"] == 3
    with pytest.raises(ValueError, match="1.json: this overlay does not fit .*0.json: it changes 'train#mu'"):
        files(tmp_path, BASE, overlays[1])


def test_a_file_that_the_bundle_lacks_is_named_beside_those_it_has(bundle_root: Path) -> None:
    with pytest.raises(FileNotFoundError, match="methods/other/train.json: no such file.*'configs/train.json'"):
        config_files(str(bundle_root), ["configs/train.json", "configs/methods/other/train.json"])


FEDAVG, FEDPROX, MOON, LORA = (f"configs/methods/{name}/train.json" for name in ("fedavg", "fedprox", "moon", "lora"))


@pytest.mark.parametrize(
    ("overlays", "method"),
    [([FEDAVG, FEDPROX], "fedprox"), ([LORA], "lora"), ([], "fedbn"), ([], "mine"), ([LORA], "mine")],
)
def test_one_method_s_overlays_fit(bundle_root: Path, overlays: list[str], method: str) -> None:
    check_single_method(str(bundle_root), ["configs/train.json", *overlays, "own.json"], method)


@pytest.mark.parametrize(
    ("overlays", "method"),
    [
        ([FEDAVG, FEDPROX, FEDAVG, MOON], "moon"),
        ([LORA, FEDAVG], "fedavg"),
        ([FEDPROX], "fedprox"),
        ([FEDAVG, FEDPROX], "fedbn"),
        ([LORA, LORA], "mine"),
        ([], "lora"),
    ],
)
def test_overlays_of_two_methods_are_refused(bundle_root: Path, overlays: list[str], method: str) -> None:
    with pytest.raises(ValueError) as refused:
        check_single_method(str(bundle_root), ["configs/train.json", *overlays], method)
    said = f"method {method!r}: train_config: found {overlays}, expected the overlays of one method, of ['faa_clip', "
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize("entry", ["network_def", "loss"])
def test_another_network_or_loss_needs_the_name_of_a_method(tmp_path: Path, entry: str) -> None:
    own = files(tmp_path, {**BASE, "loss": {"size": 1}}, {entry: {"size": 3}})
    with pytest.raises(ValueError, match=f"replace \\['{entry}'\\] of 'facmic', found no name of the method"):
        check_named(own, "facmic", "facmic")
    check_named(own, "facmic", "mine")
    check_named(files(tmp_path, BASE, {"rate": 0.2}), "facmic", "facmic")
