"""A handler that writes the masks that an evaluator made, beside which a clinic finds the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ignite.engine import Engine, Events

from fedmed_transforms.save_segmentation import SaveSegmentationd
from fedmed_transforms.segmentation_object import Segment


class SegmentationFiles:
    """Writes every image's masks as soon as they are there: DICOM of DICOM, NIfTI of NIfTI, PNG of pictures.

    Parameters
    ----------
    output_dir
        Folder of the files.
    segments
        Of each channel: a label, or what :class:`fedmed_transforms.segmentation_object.Segment` takes.
    algorithm
        Name and version of what made the masks, for DICOM.
    """

    def __init__(
        self,
        output_dir: str,
        segments: Sequence[str | Segment | Mapping[str, Any]],
        algorithm: Mapping[str, str] | None = None,
    ) -> None:
        self.save = SaveSegmentationd("masks", output_dir, segments, algorithm)

    def attach(self, engine: Engine) -> None:
        """Attaches to an evaluator whose items hold ``masks`` (n, X, Y[, Z]), 0 and 1, in the image's geometry."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._write)

    def _write(self, engine: Engine) -> None:
        for item in engine.state.output:
            self.save(item)
