"""Three federated rounds of the published implementation, by the code and the configuration that train the bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from fedmed_networks import FACMIC
from fedmed_workflows.aggregation import Before, FedAvg
from fedmed_workflows.federation.in_process import InProcessEngine
from fedmed_workflows.federation.site.site_algo import SiteAlgo

SITES = ("site0", "site1", "site2")
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}
"""After several steps of Adam; float32."""


class Vectors(torch.utils.data.Dataset):
    """The golden features in file order, in the place of encoded images."""

    def __init__(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        self.samples = [{"image": x, "label": int(y), "item": i} for i, (x, y) in enumerate(zip(features, labels))]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.samples[index]


def golden_network(golden: Mapping[str, torch.Tensor], small_clip: dict[str, Any]) -> FACMIC:
    network = FACMIC(["a", "b", "c", "d"], clip={**small_clip, "embed_dim": 32})
    network.attention.load_state_dict(
        {name.removeprefix("round/initial/"): golden[name] for name in golden if name.startswith("round/initial/")}
    )
    network.prompts.copy_(functional.normalize(golden["round/text_features"], dim=1))
    network.scale.fill_(100.0)
    return network


@pytest.fixture
def engine(
    golden: dict[str, torch.Tensor], small_clip: dict[str, Any], bundle_root: Path, tmp_path: Path
) -> InProcessEngine:
    target = Vectors(golden["round/target/features"], golden["round/target/label"])

    def make_site(name: str, folder: Path, settings: Mapping[str, Any], held_out: bool) -> SiteAlgo:
        vectors = Vectors(golden[f"round/{name}/features"], golden[f"round/{name}/label"])
        site = SimpleNamespace(class_names=["a", "b", "c", "d"], checkpoint=None)
        return SiteAlgo(str(bundle_root), name, str(folder), str(tmp_path / name), settings={
            "network_def": golden_network(golden, small_clip),
            "site": {"_target_": "types.SimpleNamespace", **vars(site)},
            "train#dataset": vectors, "validate#dataset": vectors, "test#dataset": vectors, "target_dataset": target,
            "batch_size": 8, "shuffle": False, "learning_rate": 1e-3,
        }, held_out=held_out)  # fmt: skip

    return InProcessEngine(make_site, dict.fromkeys(SITES, tmp_path), None)


def test_three_rounds(engine: InProcessEngine, golden: dict[str, torch.Tensor]) -> None:
    engine.open({})
    weights = engine.initial_weights()
    for round_index in range(3):
        updates = {}
        for name, update in engine.train(weights, round_index + 1):
            assert not isinstance(update, Exception), update
            updates[name] = update
            # the published count of batches is not passed on from the aggregate; nothing depends on it
            compare(update.weights, golden, f"round/r{round_index}/{name}/", left_out="num_batches_tracked")
        assert {name: update.samples for name, update in updates.items()} == {"site0": 40, "site1": 64, "site2": 24}
        weights = {tensor.name: tensor.value for tensor in FedAvg().aggregate(updates, Before(weights))}
        compare(weights, golden, f"round/r{round_index}/global/", left_out="num_batches_tracked")
        probabilities = probabilities_on_target(engine, weights, golden)
        np.testing.assert_allclose(probabilities, golden[f"round/r{round_index}/target_prob"], **TOLERANCE)


def compare(
    weights: Mapping[str, torch.Tensor], golden: Mapping[str, torch.Tensor], prefix: str, left_out: str
) -> None:
    names = {name.removeprefix(prefix) for name in golden if name.startswith(prefix)}
    assert {name.removeprefix("attention.") for name in weights} == names
    for name in sorted(names):
        if left_out not in name:
            np.testing.assert_allclose(
                weights[f"attention.{name}"], golden[prefix + name], err_msg=prefix + name, **TOLERANCE
            )


def probabilities_on_target(engine: InProcessEngine, weights: Any, golden: Mapping[str, torch.Tensor]) -> torch.Tensor:
    site = engine.sites["site0"]
    site.score(weights)
    with torch.no_grad():
        logits: torch.Tensor = site.network.eval().classify(golden["round/target/features"])
    return logits.softmax(dim=1)
