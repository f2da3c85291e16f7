"""The network of FACMIC: what it computes, what of it trains, what it shares, and which checkpoints it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedmed_networks import FACMIC, FeatureAttention
from fedmed_networks.clip.class_names import checkpoint_class_names
from fedmed_networks.clip.prompted_classifier import PROMPT
from fedmed_networks.weights import module_digest

CLASSES = ["no tumour", "glioma", "méningiome"]


@pytest.fixture
def network(small_clip: dict[str, Any]) -> FACMIC:
    """A network whose normalisation has statistics of its own, in evaluation mode."""
    network = FACMIC(CLASSES, clip=small_clip)
    with torch.no_grad():
        network.attention[1].running_mean.normal_(generator=torch.manual_seed(0))
        network.attention[1].running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def altered(network: FACMIC, prefix: str) -> dict[str, torch.Tensor]:
    """A copy of a network's state; what floats under a prefix is doubled."""
    return {
        name: value * 2 if name.startswith(prefix) and value.is_floating_point() else value.clone()
        for name, value in network.state_dict().items()
    }


def test_shapes(network: FACMIC, pictures: torch.Tensor) -> None:
    features = network.encode(pictures)
    assert features.shape == network.adapt(features).shape == (5, 16)
    assert network(pictures).shape == network.classify(features).shape == (5, 3)
    assert network.prompts.shape == (3, 16)
    assert network.class_names == CLASSES


def test_logits_are_scaled_cosines_of_adapted_features_and_prompts(network: FACMIC, pictures: torch.Tensor) -> None:
    features = network.encode(pictures).detach().double().numpy()
    attention = network.attention(network.encode(pictures)).detach().double().numpy()
    adapted = [a * f / np.linalg.norm(a * f) for a, f in zip(attention, features)]
    expected = [[float(network.scale) * h @ prompt for prompt in network.prompts.double().numpy()] for h in adapted]
    np.testing.assert_allclose(network(pictures).detach(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(network.prompts, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(attention.sum(axis=1), 1, rtol=1e-6)
    assert attention.min() >= 0


def test_prompts_depend_on_the_class_name_alone(network: FACMIC, small_clip: dict[str, Any]) -> None:
    turned = FACMIC(CLASSES[::-1], clip=small_clip)
    np.testing.assert_allclose(turned.prompts, network.prompts.flip(0), atol=1e-6)
    assert (network.prompts[0] - network.prompts[1]).abs().max() > 1e-3
    assert PROMPT.format("glioma") == "a picture of a glioma"


def test_only_the_attention_trains(network: FACMIC, pictures: torch.Tensor) -> None:
    trains = {name for name, value in network.named_parameters() if value.requires_grad}
    assert trains == {f"attention.{layer}.{kind}" for layer in (0, 1, 3) for kind in ("weight", "bias")}
    network(pictures).sum().backward()
    assert {name for name, value in network.named_parameters() if value.grad is not None} == trains


def test_the_encoder_stays_in_evaluation_mode(network: FACMIC) -> None:
    assert network.train() is network
    assert network.training and all(module.training for module in network.attention.modules())
    assert not any(module.training for module in network.visual.modules())
    assert not any(module.training for module in network.eval().modules())


def test_networks_share_one_encoder_and_nothing_else(network: FACMIC, small_clip: dict[str, Any]) -> None:
    other = FACMIC(["x", "y"], clip={key: small_clip[key] for key in reversed(small_clip)})
    assert other.visual is network.visual
    pointers = {value.data_ptr() for value in network.attention.parameters()}
    assert pointers.isdisjoint(value.data_ptr() for value in other.attention.parameters())
    assert {value.data_ptr() for value in network.visual.parameters()} == {
        value.data_ptr() for value in other.visual.parameters()
    }


def test_an_equal_checkpoint_keeps_the_encoder_shared(network: FACMIC, small_clip: dict[str, Any]) -> None:
    other = FACMIC(CLASSES, clip=small_clip)
    other.load_state_dict(altered(network, "attention."))
    assert other.visual is network.visual
    assert torch.equal(other.attention[3].weight, network.attention[3].weight * 2)


def test_another_encoder_is_loaded_into_one_network_alone(
    network: FACMIC, small_clip: dict[str, Any], pictures: torch.Tensor
) -> None:
    before, digest = network(pictures), module_digest(network.visual)
    other = FACMIC(CLASSES, clip=small_clip).eval()
    state = altered(network, "visual.")
    other.load_state_dict(state)
    assert other.visual is not network.visual
    assert all(torch.equal(value, state[f"visual.{name}"]) for name, value in other.visual.state_dict().items())
    assert torch.equal(network(pictures), before) and module_digest(network.visual) == digest
    assert module_digest(other.visual) != digest
    assert not any(value.requires_grad for value in other.visual.parameters())
    assert not any(module.training for module in other.train().visual.modules())
    assert FACMIC(CLASSES, clip=small_clip).visual is network.visual


@pytest.mark.parametrize("found", [CLASSES[::-1], ["a", "b"], ["No tumour", *CLASSES[1:]]])
def test_a_checkpoint_of_other_classes_is_refused(network: FACMIC, small_clip: Any, found: list[str]) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=re.escape(str(found)) + ".*" + re.escape(str(CLASSES))):
        network.load_state_dict(altered(FACMIC(found, clip=small_clip), "attention."))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["attention.0.weight", "attention.1.running_var", "prompts", "visual.proj"])
def test_a_checkpoint_of_other_shapes_is_refused(network: FACMIC, name: str) -> None:
    state = altered(network, "attention.")
    state[name] = torch.zeros(7, 7)
    with pytest.raises(RuntimeError, match=f"size mismatch for {re.escape(name)}"):
        network.load_state_dict(state)


@pytest.mark.parametrize("name", ["attention.3.bias", "prompts", "class_names_utf8", "visual.proj"])
def test_an_incomplete_checkpoint_is_refused(network: FACMIC, name: str) -> None:
    state = altered(network, "attention.")
    del state[name]
    with pytest.raises(RuntimeError, match=f"Missing.*{re.escape(name)}"):
        network.load_state_dict(state)


@pytest.mark.parametrize("shape", [(2, 3, 17, 16), (2, 3, 16, 32), (2, 1, 16, 16), (3, 16, 16), (2, 16)])
def test_pictures_of_another_size_are_refused(network: FACMIC, shape: tuple[int, ...]) -> None:
    for call in (network, network.encode):
        with pytest.raises(ValueError, match=rf"expected shape \(B, 3, 16, 16\), found {re.escape(str(shape))}"):
            call(torch.zeros(shape))


@pytest.mark.parametrize("names", [[], ["a"], ["a", "a"], ["a", "b", "a"]])
def test_class_names_must_be_two_or_more_and_differ(small_clip: dict[str, Any], names: list[str]) -> None:
    with pytest.raises(ValueError, match=f"two or more different names, found {re.escape(str(names))}"):
        FACMIC(names, clip=small_clip)


def test_class_names_of_a_checkpoint(network: FACMIC, tmp_path: Path) -> None:
    for name, content in {"whole.pt": {"model": network.state_dict()}, "plain.pt": network.state_dict()}.items():
        torch.save(content, tmp_path / name)
        assert checkpoint_class_names(tmp_path / name) == checkpoint_class_names(str(tmp_path / name)) == CLASSES
        assert checkpoint_class_names(tmp_path / name, missing=["other", "names"]) == CLASSES


def test_class_names_of_a_missing_checkpoint(tmp_path: Path) -> None:
    assert checkpoint_class_names(tmp_path / "model.pt", missing=("a", "b")) == ["a", "b"]
    with pytest.raises(FileNotFoundError, match="model.pt"):
        checkpoint_class_names(tmp_path / "model.pt")


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda path: torch.save({"weight": torch.zeros(2)}, path), id="other network"),
        pytest.param(lambda path: torch.save({"model": torch.zeros(2)}, path), id="no state under model"),
        pytest.param(lambda path: torch.save([torch.zeros(2), 1], path), id="list"),
        pytest.param(lambda path: torch.save({"a": 1, 2: torch.zeros(2)}, path), id="names that are no text"),
        pytest.param(lambda path: path.write_text("not a checkpoint"), id="text"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_bytes(b"PK\x03\x04" + bytes(200)), id="cut off"),
    ],
)
def test_class_names_of_a_foreign_file(tmp_path: Path, write: Callable[[Path], Any]) -> None:
    write(tmp_path / "foreign.pt")
    with pytest.raises(ValueError, match="foreign.pt: not a classifier's checkpoint"):
        checkpoint_class_names(tmp_path / "foreign.pt", missing=["a", "b"])


def golden_attention(golden: dict[str, torch.Tensor]) -> FeatureAttention:
    prefix = "round/initial/"
    attention = FeatureAttention(32)
    state = {name.removeprefix(prefix): value for name, value in golden.items() if name.startswith(prefix)}
    attention.load_state_dict(state)
    return attention


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_golden_attention(golden: dict[str, torch.Tensor], mode: str) -> None:
    output = golden_attention(golden).train(mode == "train")(golden["attention/input"])
    np.testing.assert_allclose(output.detach(), golden[f"attention/{mode}_output"], rtol=1e-5, atol=1e-7)


def test_number_of_trained_parameters() -> None:
    assert sum(value.numel() for value in FeatureAttention(512).parameters()) == 526_336


@pytest.mark.parametrize("compiled", ["script", "trace"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*torch.jit", "ignore::torch.jit.TracerWarning")
def test_torchscript_agrees(network: FACMIC, pictures: torch.Tensor, tmp_path: Path, compiled: str) -> None:
    module = torch.jit.script(network) if compiled == "script" else torch.jit.trace(network, pictures[:2])
    torch.jit.save(module, tmp_path / "model.ts")
    loaded = torch.jit.load(tmp_path / "model.ts")
    with torch.no_grad():
        np.testing.assert_allclose(loaded(pictures), network(pictures), rtol=1e-5, atol=1e-5)
