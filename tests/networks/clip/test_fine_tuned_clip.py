"""All of CLIP, trained: what it computes, what of it trains, what it shares, and which checkpoints it refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedmed_networks import FACMIC, FineTunedCLIP
from fedmed_networks.clip.class_names import checkpoint_class_names
from fedmed_networks.clip.foundation import shared_clip
from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.trainable import exchanged_tensors
from fedmed_workflows.methods.image_prompt_pairs import PairInferer, PairLoss

CLASSES = ["no tumour", "glioma", "méningiome"]


@pytest.fixture
def network(small_clip: dict[str, Any]) -> FineTunedCLIP:
    return FineTunedCLIP(CLASSES, clip=small_clip).eval()


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_untrained_it_answers_as_clip_does(network: FineTunedCLIP, small_clip: Any, pictures: torch.Tensor) -> None:
    foundation = shared_clip(small_clip)
    prompts = foundation.embed_prompts([f"a picture of a {name}" for name in CLASSES])
    features = foundation.visual(pictures)
    expected = foundation.scale * features / features.norm(dim=1, keepdim=True) @ prompts.t()
    assert network(pictures).shape == (5, 3)
    np.testing.assert_allclose(network(pictures).detach(), expected.detach(), rtol=1e-4, atol=1e-5)
    assert torch.equal(network(pictures), network.classify(network.encode(pictures)))


def test_all_of_it_travels_and_every_tensor_of_that_gets_a_gradient(
    network: FineTunedCLIP, pictures: torch.Tensor
) -> None:
    expected = {f"clip.{name}" for name, _ in network.clip.named_parameters()}
    assert set(exchanged_tensors(network.train())) == expected
    assert {"clip.logit_scale", "clip.token_embedding.weight", "clip.visual.conv1.weight"} <= expected
    PairLoss()(PairInferer()(pictures, network), torch.tensor([0, 1, 2, 0, 1])).backward()
    without = [name for name, value in exchanged_tensors(network).items() if value.grad is None or not value.grad.any()]
    assert without == []


def test_what_no_answer_depends_on_stays() -> None:
    sizes = {"width": 32, "heads": 2, "layers": 1, "context_length": 76, "vocab_size": 49408}
    coca = {
        "embed_dim": 16, "init_logit_bias": -10, "custom_text": True,
        "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8, "attentional_pool": True,
                       "attn_pooler_heads": 2, "output_tokens": True},
        "text_cfg": {**sizes, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {**sizes, "attn_pooler_heads": 2},
    }  # fmt: skip
    network = FineTunedCLIP(["a", "b"], clip=coca)
    PairLoss()(PairInferer()(torch.randn(2, 3, 16, 16), network), torch.tensor([0, 1])).backward()
    assert not any(name.startswith(("clip.text_decoder", "clip.logit_bias")) for name in exchanged_tensors(network))
    assert [name for name, value in exchanged_tensors(network).items() if value.grad is None] == []


def test_it_shares_nothing(network: FineTunedCLIP, small_clip: dict[str, Any], pictures: torch.Tensor) -> None:
    frozen = FACMIC(CLASSES, clip=small_clip).eval()
    before = frozen(pictures)
    with torch.no_grad():
        for value in network.parameters():
            value.add_(1)
    assert torch.equal(frozen(pictures), before)
    assert not any(value.requires_grad for value in frozen.visual.parameters())


def test_what_it_is_told_apart_by_is_its_classes(network: FineTunedCLIP, small_clip: dict[str, Any]) -> None:
    same, other = FineTunedCLIP(CLASSES, clip=small_clip), FineTunedCLIP(CLASSES[::-1], clip=small_clip)
    Manifest.of(network).check_same(Manifest.of(same), "the same")
    with pytest.raises(ValueError, match="class names"):
        Manifest.of(network).check_same(Manifest.of(other), "another")
    said = f"classes are {CLASSES}, this network was made for {CLASSES[::-1]}"
    with pytest.raises(ValueError, match=re.escape(said)):
        other.load_state_dict(network.state_dict())


def test_a_checkpoint_is_loaded_whole(network: FineTunedCLIP, small_clip: Any, tmp_path: Path) -> None:
    with torch.no_grad():
        network.clip.logit_scale.fill_(1.5)
    torch.save({"model": network.state_dict()}, tmp_path / "model.pt")
    again = FineTunedCLIP(CLASSES, clip=small_clip)
    again.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True)["model"])
    assert again.clip.logit_scale == 1.5 and checkpoint_class_names(tmp_path / "model.pt") == CLASSES


def test_pictures_of_another_size_are_refused(network: FineTunedCLIP) -> None:
    with pytest.raises(ValueError, match=r"expected shape \(B, 3, 16, 16\), found \(2, 3, 8, 8\)"):
        network(torch.zeros(2, 3, 8, 8))


@pytest.mark.parametrize("compiled", ["script", "trace"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*torch.jit", "ignore::torch.jit.TracerWarning")
def test_torchscript_agrees(network: FineTunedCLIP, pictures: torch.Tensor, tmp_path: Path, compiled: str) -> None:
    module = torch.jit.script(network) if compiled == "script" else torch.jit.trace(network, pictures[:2])
    torch.jit.save(module, tmp_path / "model.ts")
    with torch.no_grad():
        answer = torch.jit.load(tmp_path / "model.ts")(pictures)
        np.testing.assert_allclose(answer, network(pictures), rtol=1e-4, atol=1e-5)
