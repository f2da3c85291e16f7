"""SAM's attention with relative positions; its memory does not grow with the square of the number of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from segment_anything.modeling.image_encoder import Attention
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

TILE = 1 << 21
"""Number of scores that exist at a time on a CPU: 8 MB of float32, about the size of its caches."""


class RelativeAttention(Attention):
    """Computes segment_anything's attention with the same parameters, without keeping scores for the backward pass.

    SAM adds to the score of a query and a key a term of the key's row and one of its column: q·R_h[row] + q·R_w[column]
    (decomposed relative positions, Li et al., MViTv2, arXiv 2112.01526, equation 4). On an accelerator, and while a
    graph is recorded, the terms become part of the product, q' = [q·scale, q·R_h, q·R_w] and k' = [k, one-hot row,
    one-hot column], so that torch's scaled_dot_product_attention can compute it. On a CPU the kernel of torch requires
    values as long as keys, which is three times the work in SAM's global blocks. There, scores are computed tile by
    tile, dropped after use, and computed again in the backward pass.
    """

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Attends among the tokens of each image or window.

        Parameters
        ----------
        tokens
            (B, H, W, D), with the H and W of the module.

        Returns
        -------
        torch.Tensor
            (B, H, W, D).
        """
        batch, height, width, _ = tokens.shape
        projected = self.qkv(tokens).reshape(batch, height * width, 3, self.num_heads, -1)  # (B, N, 3, heads, d)
        query, key, value = projected.permute(2, 0, 3, 1, 4).flatten(1, 2).unbind(0)  # (P, N, d), P = B heads
        by_place = query.unflatten(1, (height, width))  # (P, H, W, d)
        rows = torch.einsum("phwd,hkd->phwk", by_place, relative_positions(self.rel_pos_h)).flatten(1, 2)
        columns = torch.einsum("phwd,wkd->phwk", by_place, relative_positions(self.rel_pos_w)).flatten(1, 2)
        attend = _in_tiles if tokens.device.type == "cpu" and not _recorded() else _folded
        attended = attend(query, key, value, rows, columns)  # (P, N, d)
        attended = attended.unflatten(0, (-1, self.num_heads)).transpose(1, 2)  # (B, N, heads, d)
        return self.proj(attended.reshape(batch, height, width, -1))  # (B, H, W, D)


def relative_positions(table: torch.Tensor) -> torch.Tensor:
    """Looks up the embedding of every query position minus key position: table (2 S - 1, D) -> (S, S, D)."""
    side = (table.shape[0] + 1) // 2
    places = table.new_ones(side, dtype=torch.long).cumsum(0) - 1  # arange would fix the device in a traced network
    return table[places[:, None] - places[None, :] + (side - 1)]


def _recorded() -> bool:
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


def _in_tiles(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    """Attends for P pairs of image and head, tile by tile.

    Inputs are queries, keys and values (P, N, D), and the terms of every query for the key's row (P, N, H) and for its
    column (P, N, W); the result is (P, N, D).
    """
    places = query.shape[1]
    pairs, queries = max(1, TILE // places**2), max(1, TILE // places)
    answers = []
    for q, k, v, r, c in _split_all((query, key, value, rows, columns), pairs, dim=0):
        tiles = _split_all((q, r, c), queries, dim=1)
        answers.append(torch.cat([_forgetful(tile_q, k, v, tile_r, tile_c) for tile_q, tile_r, tile_c in tiles], 1))
    return torch.cat(answers)


def _split_all(tensors: Sequence[torch.Tensor], size: int, dim: int) -> list[tuple[torch.Tensor, ...]]:
    return list(zip(*(tensor.split(size, dim) for tensor in tensors), strict=True))


def _forgetful(*tensors: torch.Tensor) -> torch.Tensor:
    if not torch.is_grad_enabled():
        return _tile(*tensors)
    return checkpoint(_tile, *tensors, use_reentrant=False, preserve_rng_state=False)


def _tile(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    terms = (rows.unsqueeze(3) + columns.unsqueeze(2)).flatten(2)  # (P, N, H, W) -> (P, N, H W)
    scores = torch.baddbmm(terms, query, key.transpose(1, 2), alpha=query.shape[2] ** -0.5)
    return scores.softmax(dim=2) @ value


def _folded(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    """Attends as :func:`_in_tiles` does, with one call of scaled_dot_product_attention."""
    height, width, length = rows.shape[2], columns.shape[2], value.shape[2]
    filling = -(length + height + width) % 8  # the kernels of accelerators require multiples of 8
    queries = functional.pad(torch.cat([query * length**-0.5, rows, columns], dim=2), (0, filling))
    # torch.eye would fix the device in a traced network, and so would repeat_interleave with a traced number
    of_row = key.new_ones(height).diag().unsqueeze(1).expand(-1, width, -1).flatten(0, 1)  # (N, H)
    of_column = key.new_ones(width).diag().repeat(height, 1)  # (N, W)
    places = functional.pad(torch.cat([of_row, of_column], dim=1), (0, filling))
    keys = torch.cat([key, places.expand(key.shape[0], -1, -1)], dim=2)
    if value.device.type == "cpu":
        value = functional.pad(value, (0, height + width + filling))
    # with three dimensions torch would select the kernel that keeps all scores
    with _kernels(value.device):
        answer = functional.scaled_dot_product_attention(queries[:, None], keys[:, None], value[:, None], scale=1.0)
    return answer[:, 0, :, :length]


def _kernels(device: torch.device) -> AbstractContextManager[Any]:
    """Selects the kernels that take values shorter than keys, with gradients.

    Without it torch tries cuDNN's kernel first on some GPUs, which is not made for all such lengths.
    """
    kernels = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    return sdpa_kernel(kernels) if device.type == "cuda" else nullcontext()
