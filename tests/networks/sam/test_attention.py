"""The attention without kept scores beside segment_anything's: answers, gradients, and what the backward pass keeps."""

from __future__ import annotations

import pytest
import torch
from segment_anything.modeling.image_encoder import Attention

import fedmed_networks.sam.attention as attention_module
from fedmed_networks.sam.attention import RelativeAttention, relative_positions

WIDTH, HEADS = 24, 3


def pair(side: int) -> tuple[RelativeAttention, Attention]:
    """Ours and segment_anything's with the same weights."""
    ours, theirs = (
        kind(WIDTH, HEADS, use_rel_pos=True, input_size=(side, side)).double()
        for kind in (RelativeAttention, Attention)
    )
    random = torch.Generator().manual_seed(side)
    state = {name: torch.randn(value.shape, generator=random) * 0.4 for name, value in ours.state_dict().items()}
    ours.load_state_dict(state)
    theirs.load_state_dict(state)
    return ours, theirs


@pytest.fixture(params=["tiles", "one tile", "folded"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to compute: in tiles of at most 60 scores, in one tile, by scaled_dot_product_attention."""
    if request.param == "tiles":
        monkeypatch.setattr(attention_module, "TILE", 60)
    if request.param == "folded":
        monkeypatch.setattr(attention_module, "_recorded", lambda: True)
    return str(request.param)


@pytest.mark.parametrize("side", [1, 3, 4, 7])
def test_answers_and_gradients_are_those_of_segment_anything(kernel: str, side: int) -> None:
    random = torch.Generator().manual_seed(0)
    tokens = torch.randn(5, side, side, WIDTH, generator=random, dtype=torch.double)
    direction = torch.randn(5, side, side, WIDTH, generator=random, dtype=torch.double)
    results = []
    for module in pair(side):
        leaf = tokens.clone().requires_grad_()
        answer = module(leaf)
        (answer * direction).sum().backward()
        results.append({"answer": answer, "tokens": leaf.grad} | {n: p.grad for n, p in module.named_parameters()})
    for name, expected in results[1].items():
        torch.testing.assert_close(results[0][name], expected, rtol=1e-9, atol=1e-11, msg=lambda text, n=name: n + text)
        assert name == "qkv.bias" or side == 1 or bool(expected.any())


def test_without_gradients_the_answer_is_the_same(kernel: str) -> None:
    ours, theirs = pair(4)
    tokens = torch.randn(2, 4, 4, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=1e-9, atol=1e-11)


def test_a_gpu_gets_only_kernels_that_take_short_values() -> None:
    with attention_module._kernels(torch.device("cuda")):
        assert not torch.backends.cuda.cudnn_sdp_enabled() and not torch.backends.cuda.flash_sdp_enabled()
        assert torch.backends.cuda.mem_efficient_sdp_enabled()
    assert torch.backends.cuda.flash_sdp_enabled()


def test_relative_positions_are_query_less_key() -> None:
    table = torch.arange(5.0)[:, None]  # of places -2, -1, 0, 1, 2
    assert relative_positions(table)[..., 0].tolist() == [[2, 1, 0], [3, 2, 1], [4, 3, 2]]


def kept_by(module: torch.nn.Module, tokens: torch.Tensor) -> int:
    """The number of elements of the largest tensor that a backward pass keeps."""
    sizes = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(tokens)
    return max(sizes)


def test_no_scores_are_kept(kernel: str) -> None:
    side = 12
    ours, theirs = pair(side)
    tokens = torch.randn(1, side, side, WIDTH).double().requires_grad_()
    assert kept_by(theirs, tokens) == HEADS * side**4
    places = (WIDTH // HEADS + 2 * side) * HEADS * side**2
    assert kept_by(ours, tokens) <= max(places, 3 * WIDTH * side**2) < HEADS * side**4 / 4


def test_bfloat16_agrees_to_its_precision(kernel: str) -> None:
    ours, theirs = (module.float() for module in pair(6))
    tokens = torch.randn(2, 6, 6, WIDTH, generator=torch.Generator().manual_seed(0))
    expected = theirs(tokens).detach()
    with torch.autocast("cpu", torch.bfloat16):
        found = ours(tokens).detach()
    assert float((found - expected).abs().max() / expected.abs().max()) < 0.03
