"""Tests the settings that a comparison accepts, and those it refuses before it trains anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedmed_workflows import SiteAlgo
from fedmed_workflows.comparison.comparison import Comparison
from tests.workflows.comparison.compared import compare, write_json

FEDERATED = "configs/federated.json"


def method(folder: Path, **content: Any) -> dict[str, Any]:
    return {"a": ["configs/federated.json"], "b": ["configs/federated.json", write_json(folder, "b.json", content)]}


REFUSED: list[tuple[Callable[[Path], dict[str, Any]], str]] = [
    (lambda folder: {"methods": {"a": ["configs/methods/none.json"]}}, "none.json: no such file"),
    (lambda folder: {"methods": {"a": ["configs/demo.json"]}}, "no entry ['bundle_root', 'federation']"),
    (lambda folder: {"methods": method(folder, **{"+train_config": ["configs/none.json"]})}, "method 'b': "),
    (
        lambda folder: {"methods": method(folder, **{"+train_config": [write_json(folder, "t.json", {"mu": 1})]})},
        "it adds 'mu', which nothing refers to",
    ),
    (
        lambda folder: {"methods": method(folder, aggregation={"_target_": "fedmed_workflows.aggregation.Krum"})},
        "method 'b': aggregation Krum: found rounds of 2 sites",
    ),
    (
        lambda folder: {"methods": method(folder, **{"federation_sites#sites": ["site_a", "unseen"]})},
        "methods 'b' and 'a': they would run on different data: sites: found ['site_a', 'unseen']",
    ),
    (
        lambda folder: {"methods": method(folder, **{"federation_sites#class_names": ["dots", "stripes", "other"]})},
        "they would run on different data: class_names",
    ),
    (
        lambda folder: {"methods": method(folder, shifts={"site_a": {"gamma": 1.5}})},
        "they would run on different data: shifts",
    ),
    (lambda folder: {"overrides": {"facmic#lerning_rate": 1}}, "no method's configuration has the entries"),
    (lambda folder: {"unseen_site": ["site_z"]}, "unseen_site ['site_z']: expected some of ['site_a'"),
    (lambda folder: {"seeds": [1, 1]}, "seeds: expected different whole numbers, found [1, 1]"),
    (lambda folder: {"seeds": [-1]}, "seed: found -1, expected a whole number of at least 0"),
    (lambda folder: {"training": ["central"]}, "training: expected some of ['federated', 'alone', 'pooled']"),
    (lambda folder: {"methods": {"../a": ["configs/federated.json"]}}, "methods: found the name '../a'"),
    (
        lambda folder: {"methods": {"a": ["configs/federated.json", *overlays("fedprox", "moon")]}},
        "method 'a': method 'moon': train_config: found [",
    ),
    (lambda folder: {"methods": {"a": overlays("fedprox")}}, "method 'a': configs/methods/fedprox.json: "),
    (
        lambda folder: {"methods": {"*": ["configs/federated.json", "configs/none/*.json"]}},
        "configs/none/*.json: found no such file, expected overlays of methods",
    ),
    (
        lambda folder: {"methods": {"lora": [FEDERATED], "*": [FEDERATED, *overlays("*")]}},
        "methods: found 'lora' twice, configs/federated.json and configs/methods/lora.json, expected different names",
    ),
    (
        lambda folder: {"methods": {"*": ["configs/federated.json", pattern(folder, "a, b.json")]}},
        "methods: found the name 'a, b', expected one that a folder can have",
    ),
    (
        lambda folder: {"methods": method(folder, method="lora", train_config=["configs/train.json"])},
        "method 'b': method 'lora': train_config: found [], expected the overlays of one method",
    ),
    (
        lambda folder: {"methods": method(folder, method_metadata=write_json(folder, "m.json", {"name": "mine"}))},
        "m.json: found the entries ['name'], expected the texts name, task, description and a list of references",
    ),
    (lambda folder: {"output_dir": __file__}, f"expected a folder, found the file {__file__}"),
    (lambda folder: {"cache_dir": f"{__file__}/a"}, f"cache_dir {__file__}/a: expected a folder, found the file"),
]


def overlays(*names: str) -> list[str]:
    return [f"configs/methods/{name}.json" for name in names]


def pattern(folder: Path, name: str) -> str:
    (folder / "found").mkdir()
    write_json(folder / "found", name, {})
    return str(folder / "found" / "*.json")


@pytest.mark.parametrize(("changed", "said"), REFUSED)
def test_what_cannot_be_compared_is_refused_before_training(
    comparison: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: Any, said: str
) -> None:
    monkeypatch.setattr(SiteAlgo, "fit_round", lambda *_: pytest.fail("trained"))
    with pytest.raises((RuntimeError, ValueError)) as refused:
        compare(comparison, **{"output_dir": str(tmp_path / "runs"), **changed(tmp_path)})
    assert said in str(refused.value.__cause__)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("method", "setting", "said"),
    [
        ("fedprox", "fedprox#mu", "method 'a': mu: found 'a word', expected a number of at least 0"),
        ("moon", "moon#temperature", "method 'a': temperature: found 'a word', expected a number above 0"),
        ("fedfocal", "fedfocal#gamma", "method 'a': gamma: found 'a word', expected a number of at least 0"),
        ("fedprox", "facmic#learning_rate", "method 'a': facmic#learning_rate: found 'a word', expected a number"),
    ],
)
def test_settings_that_do_not_build_are_refused_before_training(
    comparison: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, setting: str, said: str
) -> None:
    monkeypatch.setattr(SiteAlgo, "fit_round", lambda *_: pytest.fail("trained"))
    changed = {
        "methods": {"a": ["configs/federated.json", *overlays(method)]}, "output_dir": str(tmp_path / "runs"),
        "overrides": {**comparison["overrides"], setting: "a word"},
    }  # fmt: skip
    with pytest.raises(RuntimeError) as refused:
        compare(comparison, **changed)
    assert str(refused.value.__cause__).startswith(said)
    assert not (tmp_path / "runs").exists()


def test_a_handler_that_is_an_entry_of_its_own_is_built_before_training(
    comparison: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SiteAlgo, "fit_round", lambda *_: pytest.fail("trained"))
    handler = {"_target_": "fedmed_workflows.FedProx", "network": "@network", "mu": -1}
    train = write_json(tmp_path, "t.json", {"nearby": handler, "+train#handlers": ["@nearby"]})
    with pytest.raises(RuntimeError) as refused:
        compare(comparison, methods=method(tmp_path, **{"+train_config": [train]}), output_dir=str(tmp_path / "runs"))
    assert str(refused.value.__cause__).startswith("method 'b': mu: found -1, expected a number of at least 0")


def test_a_target_that_there_is_not_is_refused_before_training(comparison: dict[str, Any], tmp_path: Path) -> None:
    names = ("bundle_root", "methods", "dataset_dir", "overrides")
    compared = Comparison(**{name: comparison[name] for name in names}, output_dir=str(tmp_path / "runs"))
    assert {run.unseen for run in compared.planned()} == {None}
    compared.overrides = {"facmic": {**comparison["overrides"]["facmic"], "target": "unseen"}}
    with pytest.raises(ValueError, match="method 'facmic': target 'unseen': expected an unseen site"):
        compared.planned()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"methods": {}}, "methods: expected a list of configuration files for each, found {}"),
        ({"methods": ["facmic"]}, "methods: expected a list of configuration files for each, found ['facmic']"),
        ({"methods": {"x": 3}}, "methods: expected a list of configuration files for each, found {'x': 3}"),
        ({"methods": {1: ["a.json"]}}, "methods: expected a list of configuration files for each, found {1: "),
        ({"methods": {"x": []}}, "methods: expected a list of configuration files for each, found {'x': []}"),
        ({"methods": {"report.html": ["a.json"]}}, "methods: found the name 'report.html', expected one"),
        ({"methods": {"figures": ["a.json"]}}, "methods: found the name 'figures', expected one"),
        ({"methods": {"*": ["a.json"]}}, "methods: found the name '*' of the files ['a.json'], expected '*' in the"),
        ({"methods": {"a": ["a.json", "*.json"]}}, "methods: found the name 'a' of the files ['a.json', '*.json'],"),
        ({"methods": {"a, alone": ["a.json"]}}, "methods: found the name 'a, alone', expected one"),
        ({"seeds": 1.0}, "seeds: expected different whole numbers, found [1.0]"),
        ({"seeds": [True]}, "seeds: expected different whole numbers, found [True]"),
        ({"training": ["alone", "alone"]}, "training: expected some of"),
        ({"unseen_site": ["a", "a"]}, "unseen_site: expected different names of sites, found ['a', 'a']"),
        ({"dataset_dir": 3}, "dataset_dir: expected a folder, found 3"),
        ({"reach": "0.8"}, "reach: found '0.8', expected a number of at least 0 and of at most 1 or null"),
        ({"reach": 5}, "reach: found 5, expected a number of at least 0 and of at most 1 or null"),
        ({"reach": float("nan")}, "reach: found nan, expected a finite number of at least 0 and of at most 1 or null"),
        ({"overrides": ["facmic"]}, "overrides: expected values by id, found ['facmic']"),
        ({"overrides": {"seed": 7, "output_dir": "x"}}, "overrides: found ['output_dir', 'seed'], which entries of"),
    ],
)
def test_entries_that_are_none_are_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as refused:
        Comparison(**{"bundle_root": "b", "methods": {"a": "a.json"}, "output_dir": "runs", **changed})
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("given", "unseen"),
    [(1, ["1"]), ("1", ["1"]), ([1, "hospital"], ["1", "hospital"]), ("all", None), (["all"], None), (None, None)],
)
def test_sites_whose_names_are_numbers(
    comparison: dict[str, Any], tmp_path: Path, given: Any, unseen: list[str] | None
) -> None:
    names = ("bundle_root", "methods", "dataset_dir")
    entries = {name: comparison[name] for name in names}
    assert Comparison(**entries, unseen_site=given, output_dir=str(tmp_path / "runs")).unseen == unseen
