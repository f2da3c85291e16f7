"""TinyViT in the place of SAM's image encoder."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.models.tiny_vit import TinyVit

from fedmed_networks import FedSAM
from fedmed_networks.sam.tiny_vit import TinyVitEncoder


@pytest.mark.parametrize("size", [64, 128, 224, 256])
def test_an_embedding_has_a_sixteenth_of_the_images_side(size: int) -> None:
    encoder = TinyVitEncoder(neck=24).eval()
    with torch.no_grad():
        assert encoder(torch.rand(1, 3, size, size)).shape == (1, 24, size // 16, size // 16)


def test_the_network_at_sams_size() -> None:
    network = FedSAM(2, "tiny_vit").eval()
    with torch.no_grad():
        assert network(torch.rand(1, 3, 1024, 1024)).shape == (1, 2, 256, 256)


def test_all_but_the_last_stage_are_timms() -> None:
    encoder = TinyVitEncoder(neck=24).eval()
    whole = TinyVit(
        num_classes=0, embed_dims=(64, 128, 160, 320), depths=(2, 2, 6, 2), num_heads=(2, 4, 5, 10),
        window_sizes=(7, 7, 14, 7), drop_path_rate=0.0,
    ).eval()  # fmt: skip
    random = torch.Generator().manual_seed(0)
    state = {
        name: torch.rand(value.shape, generator=random) * 0.1 + (0.9 if value.ndim == 1 else -0.05)
        for name, value in encoder.state_dict().items()
        if value.is_floating_point() and not name.startswith("neck.")
    }
    for network in (encoder, whole):
        assert not network.load_state_dict(state, strict=False).unexpected_keys
    image = torch.rand(2, 3, 128, 128, generator=random)
    with torch.no_grad():
        stages = [whole.patch_embed(image)]
        for stage in whole.stages[:3]:
            stages.append(stage(stages[-1]))
        torch.testing.assert_close(encoder.stages[:3](encoder.patch_embed(image)), stages[3], rtol=1e-5, atol=1e-5)
        assert encoder.stages(encoder.patch_embed(image)).shape == (2, 320, 8, 8)
        assert whole.stages[3](stages[3]).shape == (2, 320, 4, 4)
    assert sum(value.numel() for value in encoder.stages.parameters()) > 4_900_000


def test_weights_that_an_aggregation_writes_count_in_evaluation_mode() -> None:
    network = FedSAM(1, "tiny_vit", 64).eval()
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = network(image)
        for name, value in network.named_parameters():
            if name.endswith("attention_biases"):
                value.normal_(std=3, generator=torch.Generator().manual_seed(1))
        after = network(image)
        fresh = copy.deepcopy(network)(image)
    assert float((after - before).abs().max()) > 1e-6
    assert torch.equal(after, fresh)


def test_evaluation_passes_with_gradients_may_follow_each_other() -> None:
    network = FedSAM(1, "tiny_vit", 64).eval()
    for _ in range(2):
        network(torch.rand(1, 3, 64, 64)).sum().backward()
    assert copy.deepcopy(network) is not network


def test_checkpointing_is_refused() -> None:
    with pytest.raises(ValueError, match="checkpointing: tiny_vit cannot"):
        FedSAM(1, "tiny_vit", 64, checkpointing=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*torch.jit", "ignore::torch.jit.TracerWarning")
def test_a_trace_agrees() -> None:
    network = FedSAM(1, "tiny_vit", 128).eval()
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    traced = torch.jit.trace(network, images[:1])
    with torch.no_grad():
        torch.testing.assert_close(traced(images), network(images), rtol=1e-5, atol=1e-5)
