"""Predicted masks of pictures as PNG files: upright as the picture looks, one a channel, all or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from fedmed_transforms import SlicesToVolume, VolumeToSlices, load_image
from fedmed_transforms.results.save_segmentation import SaveSegmentationd


def predicted(path: Path, channels: int = 1) -> MetaTensor:
    """Returns a mask of a picture's bright pixels, as from a network that sees slices; further channels are empty."""
    slices = VolumeToSlices()(load_image(path))
    results = torch.zeros(1, channels, *slices.shape[2:])
    results[:, 0] = (slices.as_tensor()[:, 0] > 100).float()
    return SlicesToVolume()(results, slices)


def read(path: Path) -> Any:
    with Image.open(path) as image:
        assert image.format == "PNG" and image.mode == "L"
        return np.asarray(image)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["scan.v2.png", "scan.v2.JPG", "scan.v2.bmp"])
def test_one_channel_is_one_file_of_black_and_white(tmp_path: Path, letter: Any, name: str) -> None:
    Image.fromarray(letter).save(tmp_path / name)
    data = {"pred": predicted(tmp_path / name), "label": 3}
    assert SaveSegmentationd("pred", str(tmp_path / "out"), ["lesion"])(data) == data
    assert names(tmp_path / "out") == ["scan.v2_seg.png"]
    np.testing.assert_array_equal(read(tmp_path / "out" / "scan.v2_seg.png"), np.where(letter > 0, 255, 0))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_that_was_turned_gets_a_mask_as_it_looks(tmp_path: Path, letter: Any, orientation: int) -> None:
    """The mask has no EXIF entry and looks like the picture; loaded again it lies on the picture."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(letter).save(tmp_path / "photo.png", exif=exif)
    upright = [letter, letter[:, ::-1], letter[::-1, ::-1], letter[::-1], letter.T, letter.T[:, ::-1],
               letter.T[::-1, ::-1], letter.T[::-1]][orientation - 1]  # fmt: skip
    SaveSegmentationd("pred", str(tmp_path / "out"), ["lesion"])({"pred": predicted(tmp_path / "photo.png")})
    saved = tmp_path / "out" / "photo_seg.png"
    np.testing.assert_array_equal(read(saved) > 0, upright > 0)
    assert not Image.open(saved).getexif()
    assert torch.equal(load_image(saved).as_tensor() > 0, load_image(tmp_path / "photo.png").as_tensor() > 0)


def test_several_channels_are_a_file_each(tmp_path: Path, letter: Any) -> None:
    Image.fromarray(np.stack([letter] * 3, axis=2)).save(tmp_path / "eye.png")
    mask = predicted(tmp_path / "eye.png", 2)
    mask[1, 3, 7] = 1
    SaveSegmentationd("pred", str(tmp_path / "out"), ["optic disc", {"label": "cup/left"}])({"pred": mask})
    assert names(tmp_path / "out") == ["eye_seg_cup_left.png", "eye_seg_optic_disc.png"]
    np.testing.assert_array_equal(read(tmp_path / "out" / "eye_seg_optic_disc.png") > 0, letter > 0)
    assert np.argwhere(read(tmp_path / "out" / "eye_seg_cup_left.png")).tolist() == [[7, 3]]  # row 7, column 3


def test_labels_that_give_one_name_are_refused(tmp_path: Path, letter: Any) -> None:
    Image.fromarray(letter).save(tmp_path / "eye.png")
    save = SaveSegmentationd("pred", str(tmp_path / "out"), ["a b", "a/b"])
    with pytest.raises(ValueError, match=r"segments: expected labels that give file names that differ, found \['a b'"):
        save({"pred": predicted(tmp_path / "eye.png", 2)})
    assert not (tmp_path / "out").exists()


def test_a_mask_that_does_not_fit_is_refused_and_nothing_written(tmp_path: Path, letter: Any) -> None:
    Image.fromarray(letter).save(tmp_path / "f.png")
    mask = predicted(tmp_path / "f.png")
    save = SaveSegmentationd("pred", str(tmp_path / "out"), ["lesion"])
    wrong = [
        (mask.transpose(1, 2), r"f\.png: expected a mask of 12 x 20 pixels as the picture has, found \(20, 12, 1\)"),
        (mask[..., None].repeat(1, 1, 1, 2), r"f\.png: expected a mask of 12 x 20 pixels .*, found \(12, 20, 2\)"),
        (mask * 0.5, r"f\.png: expected a mask of 0 and 1"),
        (mask.repeat(2, 1, 1), r"f\.png: expected a mask .* a channel for each of 1 segments"),
    ]
    for given, message in wrong:
        with pytest.raises(ValueError, match=message):
            save({"pred": given})
    assert not (tmp_path / "out").exists()


def test_masks_are_written_all_or_none(tmp_path: Path, letter: Any) -> None:
    """The second one's name is taken by a folder."""
    Image.fromarray(letter).save(tmp_path / "eye.png")
    (tmp_path / "out" / "eye_seg_cup.png").mkdir(parents=True)
    save = SaveSegmentationd("pred", str(tmp_path / "out"), ["disc", "cup"])
    with pytest.raises(ValueError, match=r"eye\.png: its result .*eye_seg_cup\.png can.t be written: Is a directory"):
        save({"pred": predicted(tmp_path / "eye.png", 2)})
    assert names(tmp_path / "out") == ["eye_seg_cup.png"]


def test_pictures_of_one_name_are_refused(tmp_path: Path, letter: Any) -> None:
    for name in ("f.png", "f.bmp"):
        Image.fromarray(letter).save(tmp_path / name)
    save = SaveSegmentationd("pred", str(tmp_path / "out"), ["lesion"])
    save({"pred": predicted(tmp_path / "f.png")})
    with pytest.raises(ValueError, match=r"f\.bmp: its result .*f_seg\.png is that of .*f\.png, expected another name"):
        save({"pred": predicted(tmp_path / "f.bmp")})
