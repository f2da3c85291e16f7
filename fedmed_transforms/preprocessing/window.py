"""Scales a CT window, the range of Hounsfield units that a radiologist displays, to [0, 1]."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from fedmed_transforms.image_metadata import FULL_SCALE, dicom_of, file_of, number

FROM_FILE = "from_file"
"""Stands for the window that the image's own DICOM file stores."""

PRESETS: dict[str, tuple[float, float]] = {
    "abdomen": (50, 400),
    "bone": (400, 1800),
    "brain": (40, 80),
    "liver": (30, 150),
    "lung": (-600, 1500),
    "mediastinum": (50, 350),
    "soft_tissue": (40, 400),
    "stroke": (40, 40),
    "subdural": (75, 215),
    "temporal_bone": (600, 2800),
}
"""Centre and width in HU, typical values of Radiopaedia's article "Windowing (CT)": the middle of its ranges, and for
soft tissue a width of 400 HU at the middle of its levels."""


class Window(Transform):
    """Scales an image to [0, 1] by the window function LINEAR of DICOM PS3.3, C.11.2.1.2.1.

    With centre c and width w, values up to c - 0.5 - (w - 1) / 2 become 0, values above c - 0.5 + (w - 1) / 2 become 1,
    between them y = (x - (c - 0.5)) / (w - 1) + 0.5. A viewer shows the same, because LINEAR is DICOM's default. Only
    the window of a file whose VOILUTFunction is LINEAR_EXACT is scaled from c - w / 2 to c + w / 2.

    Parameters
    ----------
    window
        A name of :data:`PRESETS`, ``[centre, width]`` in the image's unit (HU for CT), or ``"from_file"`` for
        WindowCenter and WindowWidth in ``meta["dicom"]``, the first of several. With PhotometricInterpretation
        MONOCHROME1 the window from the file changes its sign, because the reader changed the sign of the values.

    Raises
    ------
    ValueError
        The window is unknown, or narrower than 1; a preset is used for an image that is not in Hounsfield units, or
        the window in the file is missing or not linear (these messages name the file).

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import Window
    >>> Window([50, 101])(torch.tensor([-100.0, 49.5, 200.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """

    def __init__(self, window: str | Sequence[float]) -> None:
        if isinstance(window, str) and window not in (*PRESETS, FROM_FILE):
            raise ValueError(
                f"window: found {window!r}, expected one of {sorted(PRESETS)}, {FROM_FILE!r} or two numbers"
            )
        if not isinstance(window, str) and (len(window) != 2 or not window[1] >= 1):
            raise ValueError(f"window: found {list(window)}, expected [centre, width] with a width of at least 1")
        self.window = window

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Scales an image of any shape, float values out."""
        low, high = self._range(image)
        image = image.float()
        if low == high:
            return (image > low).float()
        return ((image - low) / (high - low)).clamp(0, 1)

    def _range(self, image: torch.Tensor) -> tuple[float, float]:
        if self.window == FROM_FILE:
            return _stored_range(image)
        if isinstance(self.window, str):
            _check_hounsfield(image, self.window)
        centre, width = PRESETS[self.window] if isinstance(self.window, str) else self.window
        return _linear(float(centre), float(width))


class Windowd(MapTransform):
    """Scales the images of a dictionary as :class:`Window` does.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import Windowd
    >>> Windowd("image", "lung")({"image": torch.tensor([-2000.0, 400.0])})["image"]
    tensor([0., 1.])
    """

    def __init__(self, keys: KeysCollection, window: str | Sequence[float], allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.scale = Window(window)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Scales the image of every key."""
        return {**data, **{key: self.scale(data[key]) for key in self.key_iterator(data)}}


def _linear(centre: float, width: float) -> tuple[float, float]:
    low = centre - 0.5 - (width - 1) / 2
    return low, low + width - 1


def _stored_range(image: torch.Tensor) -> tuple[float, float]:
    centre, width = (number(image, keyword, "the window from the file") for keyword in ("WindowCenter", "WindowWidth"))
    function = str(dicom_of(image).get("VOILUTFunction") or "LINEAR")
    if function not in ("LINEAR", "LINEAR_EXACT"):
        raise ValueError(f"{file_of(image)}: VOILUTFunction: found {function}, expected LINEAR or LINEAR_EXACT")
    exact = function == "LINEAR_EXACT"
    if not (width > 0 if exact else width >= 1):
        least = "more than 0" if exact else "at least 1"
        raise ValueError(f"{file_of(image)}: WindowWidth: found {width}, expected {least} for {function}")
    low, high = (centre - width / 2, centre + width / 2) if exact else _linear(centre, width)
    inverted = dicom_of(image).get("PhotometricInterpretation") == "MONOCHROME1"
    return (-high, -low) if inverted else (low, high)


def _check_hounsfield(image: torch.Tensor, preset: str) -> None:
    modality = dicom_of(image).get("Modality", "CT")
    picture = isinstance(image, MetaTensor) and FULL_SCALE in image.meta
    if picture or modality != "CT":
        found = "a picture" if picture else f"an image of modality {modality}"
        raise ValueError(f"{file_of(image)}: found {found}, expected CT in Hounsfield units for the window {preset!r}")
