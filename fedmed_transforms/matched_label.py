"""A label on its image's grid: checked, before anything is trained or judged by it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from fedmed_transforms.image_metadata import like, values_of
from fedmed_transforms.slice_checks import check_label


class MatchedLabeld(MapTransform):
    """Refuses labels that do not lie on their image; one of a single DICOM slice may be a picture, and is put there.

    Parameters
    ----------
    keys
        The labels, (n, X, Y, Z) or (n, X, Y).
    image_key
        The image.

    Raises
    ------
    ValueError
        Shapes or affines differ, or a volume has one slice; the message names both files and what was measured.
    """

    def __init__(self, keys: KeysCollection, image_key: str, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Checks every key's label; each comes out in the shape of the image."""
        image, labels = data[self.image_key], {}
        for key in self.key_iterator(data):
            label = data[key]
            check_label(image, label)
            if label.ndim < image.ndim:
                label = like(image, values_of(label)[..., None])
            labels[key] = label
        return {**data, **labels}
