"""Readers of NRRD and MetaImage files for MONAI."""

from __future__ import annotations

from pathlib import Path

from fedmed_transforms.image_metadata import Loaded
from fedmed_transforms.loading.formats.itk_volume import load_meta_image, load_nrrd
from fedmed_transforms.loading.formats.meta_image import META_IMAGE_SUFFIXES
from fedmed_transforms.loading.formats.nrrd import NRRD_SUFFIXES
from fedmed_transforms.loading.refusing_reader import RefusingReader


class NrrdReader(RefusingReader):
    """Reads NRRD for MONAI's ``LoadImage(reader="fedmed_transforms.NrrdReader")``.

    Parameters
    ----------
    device
        The device of the values.
    **rules
        Keywords of :class:`fedmed_transforms.SeriesRules`; ``nan`` and ``assume_spacing`` are used.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from monai.transforms import LoadImage
    >>> geometry = "space: LPS\\nspace directions: (1,0,0) (0,1,0) (0,0,2)\\nspace origin: (0,0,0)"
    >>> header = f"NRRD0004\\ntype: uchar\\ndimension: 3\\nsizes: 4 3 2\\n{geometry}\\nencoding: raw\\n\\n"
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "scan.nrrd").write_bytes(header.encode() + bytes(24))
    ...     LoadImage("fedmed_transforms.NrrdReader", image_only=True)(Path(folder, "scan.nrrd")).shape
    torch.Size([1, 4, 3, 2])
    """

    suffixes = NRRD_SUFFIXES

    def load(self, path: Path) -> Loaded:
        """Loads the values (C, X, Y[, Z]) and the metadata of a path."""
        return load_nrrd(path, self.device, self.rules)


class MetaImageReader(RefusingReader):
    """Reads MetaImage for MONAI's ``LoadImage(reader="fedmed_transforms.MetaImageReader")``.

    Parameters
    ----------
    device
        The device of the values.
    **rules
        Keywords of :class:`fedmed_transforms.SeriesRules`; ``nan`` and ``assume_spacing`` are used.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from monai.transforms import LoadImage
    >>> geometry = "TransformMatrix = 1 0 0 0 1 0 0 0 1\\nOffset = 0 0 0\\nElementSpacing = 1 1 2\\nDimSize = 4 3 2"
    >>> header = f"NDims = 3\\n{geometry}\\nElementType = MET_UCHAR\\nElementDataFile = LOCAL\\n"
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "scan.mha").write_bytes(header.encode() + bytes(24))
    ...     LoadImage("fedmed_transforms.MetaImageReader", image_only=True)(Path(folder, "scan.mha")).shape
    torch.Size([1, 4, 3, 2])
    """

    suffixes = META_IMAGE_SUFFIXES

    def load(self, path: Path) -> Loaded:
        """Loads the values (C, X, Y[, Z]) and the metadata of a path."""
        return load_meta_image(path, self.device, self.rules)
