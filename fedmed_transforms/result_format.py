"""In which format a server writes a result."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from fedmed_transforms.picture_mask import is_picture

RESULT_EXTENSION = "result_extension"
"""Entry of a request in which MONAI Label looks for the ending of the file that it is to write."""


class ResultFormatd(MapTransform):
    """Has MONAI Label write labels as PNG of a picture and as NIfTI of all else, where its request names no format.

    It would write them as the image's file is: a JPEG blurs labels, a folder with a DICOM series has no ending.

    Parameters
    ----------
    keys
        Entries that hold results: MetaTensors whose ``meta["filename_or_obj"]`` is the image's path. Of one without
        a path nothing is said.
    allow_missing_keys
        Whether data may lack a key.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Adds the ending; the results stay as they are."""
        named = dict(data)
        for key in self.key_iterator(named):
            result = named[key]
            source = result.meta.get("filename_or_obj") if isinstance(result, MetaTensor) else None
            if source and not named.get(RESULT_EXTENSION):
                named[RESULT_EXTENSION] = ".png" if is_picture(Path(source)) else ".nii.gz"
        return named
