"""Simulates the shift of a site: its own acquisition of images and its own style of labels."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from fedmed_transforms.image_metadata import plain_tensor, with_metadata_of
from fedmed_transforms.preprocessing.pictures import Cut, cut_of, slices_of
from fedmed_transforms.simulation.acquisition_shift import AcquisitionShift
from fedmed_transforms.simulation.label_style import LabelStyle

LABEL_STYLE = "label_style"
"""Entry of a shift with the settings of :class:`LabelStyle`; all other entries set :class:`AcquisitionShift`."""


class SiteShiftd(MapTransform):
    """Shifts images and their labels by plain settings.

    The transform is deterministic and no random transform of MONAI: see :class:`AcquisitionShift`.

    Parameters
    ----------
    keys
        The images, in [0, 1]: (C, X, Y) or (C, X, Y, Z), or `stacked`.
    shift
        Settings of :class:`AcquisitionShift` (``contrast``, ``bias_field``, ``resolution``, ``noise``, ``seed``) and,
        under ``label_style``, of :class:`LabelStyle` (``dilation``, ``smoothing``); a missing setting changes nothing.
    label_key
        The labels of 0 and 1, (n, X, Y[, Z]) on the grid of the image; None for images without labels.
    stacked
        Whether the images are stacks of pictures (N, C, H, W), as :class:`ToPicturesd` makes them.

    Raises
    ------
    ValueError
        A setting is unknown or out of range, or ``label_style`` is set for images without labels.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import SiteShiftd
    >>> shift = SiteShiftd("image", {"noise": 0.05, "label_style": {"dilation": 2}}, label_key="label")
    >>> shift({"image": torch.rand(1, 32, 32), "label": torch.zeros(1, 32, 32)})["image"].shape
    torch.Size([1, 32, 32])
    """

    def __init__(
        self,
        keys: KeysCollection,
        shift: Mapping[str, Any],
        label_key: str | None = None,
        stacked: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        settings = _settings(shift, "shift")
        if LABEL_STYLE in settings and label_key is None:
            raise ValueError(f"shift: found {LABEL_STYLE}, expected none, as these images have no labels")
        style = _settings(settings.pop(LABEL_STYLE, {}), f"shift: {LABEL_STYLE}")
        self.acquisition: AcquisitionShift = _create(AcquisitionShift, settings, "shift")
        self.style: LabelStyle = _create(LabelStyle, style, f"shift: {LABEL_STYLE}")
        self.label_key, self.stacked = label_key, stacked

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Shifts the image of every key, and the label."""
        shifted = dict(data)
        for key in self.key_iterator(shifted):
            image = shifted[key]
            cut = None if self.stacked else cut_of(image)
            if self.label_key is not None and self.label_key in shifted:
                shifted[self.label_key] = _by_slice(shifted[self.label_key], cut, self.style)
            shifted[key] = _by_slice(image, cut, self.acquisition)
        return shifted


def _by_slice(image: torch.Tensor, cut: Cut | None, change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Changes a volume as a stack of slices and returns it as a volume."""
    if cut is None:
        return change(image)
    volume = cut.volume(plain_tensor(change(cut.pictures(slices_of(image)))))  # (C, X, Y, Z)
    return with_metadata_of(image, volume if image.ndim == 4 else volume[..., 0])


def _settings(settings: Any, where: str) -> dict[str, Any]:
    if not isinstance(settings, Mapping):
        raise ValueError(f"{where}: found {settings!r}, expected settings by name")
    return dict(settings)


def _create(kind: Callable[..., Any], settings: Mapping[str, Any], where: str) -> Any:
    known = inspect.signature(kind).parameters
    for name, value in settings.items():
        if name not in known:
            raise ValueError(f"{where}: found {name!r}, expected some of {sorted(known)}")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{where}: {name}: found {value!r}, expected a number")
    return kind(**settings)
