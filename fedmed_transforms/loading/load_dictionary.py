"""Loads the images and labels of a dictionary, as MONAI's transforms and inference servers ask for it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import ImageReader
from monai.transforms import LoadImaged
from monai.utils import CommonKeys, ensure_tuple

from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.loading.load import load_source


class LoadMedicalImaged(LoadImaged):  # type: ignore[misc]
    """Loads the images of a dictionary as :func:`load_image` does.

    The class is a ``LoadImaged``, because inference servers search for one when they replace the input. Beside an
    image, a structure set (RTSTRUCT) loads without voxels, (n, 0, 0, 0) for n structures:
    :class:`fedmed_transforms.SegmentationToLabelsd` draws its contours on the image.

    Parameters
    ----------
    keys
        Entries of the data that hold paths.
    device
        The device of the tensors.
    allow_missing_keys
        Whether data may lack a key.
    rules
        Rules for what is refused without them: keywords of :class:`fedmed_transforms.SeriesRules`.
    label_keys
        The keys that hold labels, which are loaded as :func:`load_label` does.

    Raises
    ------
    ValueError
        As :func:`load_image`.

    Examples
    --------
    >>> from fedmed_transforms import LoadMedicalImaged
    >>> from pydicom.data import get_testdata_file
    >>> load = LoadMedicalImaged("image", rules={"uneven": "resample"})
    >>> load({"image": get_testdata_file("MR_small.dcm")})["image"].shape
    torch.Size([1, 64, 64, 1])
    """

    def __init__(
        self,
        keys: KeysCollection,
        device: str | torch.device = "cpu",
        allow_missing_keys: bool = False,
        rules: Mapping[str, Any] | None = None,
        label_keys: KeysCollection = CommonKeys.LABEL,
    ) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MONAI warns of optional readers that this loader does not use
            super().__init__(keys, ensure_channel_first=True, allow_missing_keys=allow_missing_keys)
        self._loader.readers = []
        self.device = torch.device(device)
        self.rules = SeriesRules.of(rules or {})
        self.label_keys = ensure_tuple(label_keys)

    def __call__(self, data: Mapping[Any, Any], reader: ImageReader | None = None) -> dict[Any, Any]:
        """Loads paths as tensors, (C, X, Y) or (C, X, Y, Z) float32; a given or registered reader loads as in MONAI."""
        if reader is not None or self._loader.readers:
            loaded: dict[Any, Any] = super().__call__(data, reader)
            return loaded
        keys = list(self.key_iterator(data))
        several = len(keys) > 1
        loaded = {key: load_source(data[key], self.device, self.rules, key in self.label_keys, several) for key in keys}
        return {**data, **loaded}
