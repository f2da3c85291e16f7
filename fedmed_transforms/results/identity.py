"""The identity of a DICOM result: its UIDs follow from its sources, its algorithm and its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid

from fedmed_transforms.dicom.dicom_file import frame_count
from fedmed_transforms.dicom.geometry.mask_grid import Array
from fedmed_transforms.results.dicom_result import SOFTWARE_VERSION, Algorithm


class ResultIdentity:
    """The UIDs of a result.

    Two results have the same UIDs if, and only if, they are of the same images, by the same algorithm in the same
    version, of the same content, and written by the same version of this package: a study that is processed twice
    gives one result, which an archive keeps once. Of the sources only their SOPInstanceUIDs matter, in any order; the
    time of writing does not matter.

    Parameters
    ----------
    sources
        Headers of the images.
    algorithm
        The algorithm that computed the result.
    content
        The content of the result, as values that JSON holds.
    """

    def __init__(self, sources: Sequence[Dataset], algorithm: Algorithm, content: Any) -> None:
        images = sorted(str(header.SOPInstanceUID) for header in sources)
        self._text = json.dumps([images, asdict(algorithm), SOFTWARE_VERSION, content])

    def uid(self, part: str) -> UID:
        """Computes the UID of the result's instance, its series, or another part of it, which `part` names."""
        return UID(generate_uid(entropy_srcs=["fedmed result", part, self._text]))


def frame_digests(frames: Array, sources: Sequence[Dataset]) -> dict[str, str]:
    """Computes the SHA-256 of a mask's part on each source image.

    Parameters
    ----------
    frames
        (n, frames, rows, columns), in the order of the sources' frames.
    sources
        Headers of the images.

    Returns
    -------
    dict
        By SOPInstanceUID, in its order.
    """
    ends = np.cumsum([frame_count(header) for header in sources])
    parts = zip(sources, np.split(frames, ends[:-1], axis=1), strict=True)
    digests = {str(header.SOPInstanceUID): hashlib.sha256(np.ascontiguousarray(part)) for header, part in parts}
    return {uid: digest.hexdigest() for uid, digest in sorted(digests.items())}
