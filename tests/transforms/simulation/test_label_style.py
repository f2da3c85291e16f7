"""Wider, narrower and smoother labels, by hand."""

from __future__ import annotations

import pytest
import torch

from fedmed_transforms import LabelStyle


def label(*rows: str, slices: int = 1) -> torch.Tensor:
    """(slices, 1, H, W) of 0 and 1."""
    return torch.tensor([[int(mark == "#") for mark in row] for row in rows]).repeat(slices, 1, 1, 1).to(torch.uint8)


POINT = label(".....", ".....", "..#..", ".....", ".....")
SQUARE = label(".....", ".###.", ".###.", ".###.", ".....")
FULL = label("#####", "#####", "#####", "#####", "#####")


@pytest.mark.parametrize(
    ("dilation", "before", "after"),
    [
        (1, POINT, SQUARE), (2, POINT, FULL), (-1, SQUARE, POINT), (-2, FULL, FULL), (-2, SQUARE, POINT * 0),
        (1, label("#....", ".....", ".....", ".....", "....."), label("##...", "##...", ".....", ".....", ".....")),
    ],
)  # fmt: skip
def test_labels_grow_and_shrink_by_pixels(dilation: int, before: torch.Tensor, after: torch.Tensor) -> None:
    """A label that the picture's border cuts is taken to go on behind it."""
    found = LabelStyle(dilation=dilation)(before)
    assert torch.equal(found, after) and found.dtype == torch.uint8


def test_neither_channels_nor_slices_mix() -> None:
    channels = torch.cat([POINT, SQUARE, POINT * 0], dim=1)
    assert torch.equal(LabelStyle(dilation=-1)(channels), torch.cat([POINT * 0, POINT, POINT * 0], dim=1))
    slices = torch.cat([POINT * 0, POINT, POINT * 0])
    assert torch.equal(LabelStyle(dilation=1)(slices), torch.cat([POINT * 0, SQUARE, POINT * 0]))


def test_smoothing_rounds_corners_keeps_edges_and_drops_points() -> None:
    square = torch.zeros(1, 2, 24, 24)
    square[0, 0, 6:18, 6:18] = 1
    square[0, 1, 12, 12] = 1
    smooth = LabelStyle(smoothing=1.5)(square)
    assert smooth[0, 0, 6, 12] == 1 and smooth[0, 0, 5, 12] == 0  # a straight edge stays where it is
    assert all(smooth[0, 0, row, column] == 0 for row in (6, 17) for column in (6, 17))
    assert smooth[0, 1].sum() == 0 and set(smooth.unique().tolist()) == {0, 1}


def test_a_nested_channel_stays_nested() -> None:
    cup, disc = torch.zeros(1, 1, 20, 20), torch.zeros(1, 1, 20, 20)
    cup[..., 8:12, 7:11], disc[..., 5:15, 4:16] = 1, 1
    for style in (LabelStyle(2, 1.0), LabelStyle(-1, 2.0)):
        inner, outer = style(torch.cat([cup, disc], dim=1))[0]
        assert (inner <= outer).all() and outer.sum() > 0


@pytest.mark.parametrize(("setting", "value"), [("dilation", 0.5), ("smoothing", -1), ("smoothing", float("nan"))])
def test_settings_out_of_range_are_refused(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{setting}: found {value}, expected"):
        LabelStyle(**{setting: value})
