"""The DICOM elements that tell the volumes of a series apart, in the order in which they are asked.

The elements are asked only where slices share positions, so that an ordinary series pays nothing for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from fedmed_transforms.dicom.dicom_file import DicomFile, read_dicom_file, text_of
from fedmed_transforms.dicom.header_index import tags_of
from fedmed_transforms.dicom.planes import FrameElements, decimals_of, frame_elements
from fedmed_transforms.dicom.slices import Slice
from fedmed_transforms.dicom.volumes.private_elements import PRIVATE_TAGS, private_b_value, private_component
from fedmed_transforms.dicom.volumes.times import TIME_PAIRS, is_time, seconds_of

Value: TypeAlias = float | str | None
"""The value of an element in one slice; None where the slice does not state it."""


@dataclass(frozen=True)
class VolumeElement:
    """An element whose values tell volumes apart.

    Attributes
    ----------
    keyword
        Of the header.
    in_frames
        Sequences down to the same element of a frame's functional groups, and its keyword there; several if frames
        may state it in several places.
    numeric
        Whether volumes are in the order of its numbers; else they are in the order of their first slice or frame.
    ranked
        Whether its values may differ a little from slice to slice, so that only their order at a position counts.
    in_turn
        Whether, besides, all slices of a volume must come before those of the next: a time of day.
    private
        Function that reads the element from a manufacturer's own elements.
    """

    keyword: str
    in_frames: tuple[tuple[str, ...], ...] = ()
    numeric: bool = True
    ranked: bool = False
    in_turn: bool = False
    private: Callable[[Dataset], tuple[str, Value]] | None = None


_CARDIAC, _CONTENT, _DIFFUSION = "CardiacSynchronizationSequence", "FrameContentSequence", "MRDiffusionSequence"
_TIMING = "MRTimingAndRelatedParametersSequence"

ELEMENTS = (
    VolumeElement("TemporalPositionIdentifier", (
        (_CONTENT, "TemporalPositionIndex"), ("TemporalPositionSequence", "TemporalPositionTimeOffset"),
    )),
    VolumeElement("TriggerTime", (
        (_CARDIAC, "NominalCardiacTriggerDelayTime"), (_CARDIAC, "ActualCardiacTriggerDelayTime"),
    ), ranked=True),
    VolumeElement("NominalPercentageOfCardiacPhase", ((_CARDIAC, "NominalPercentageOfCardiacPhase"),)),
    VolumeElement("ImageType", (
        ("MRImageFrameTypeSequence", "FrameType"), ("CTImageFrameTypeSequence", "FrameType"),
        ("PETFrameTypeSequence", "FrameType"),
    ), numeric=False),
    VolumeElement("ComplexImageComponent", (
        ("MRImageFrameTypeSequence", "ComplexImageComponent"),
    ), numeric=False, private=private_component),
    VolumeElement("EchoNumbers"),
    VolumeElement("EchoTime", (("MREchoSequence", "EffectiveEchoTime"),)),
    VolumeElement("DiffusionBValue", ((_DIFFUSION, "DiffusionBValue"),), private=private_b_value),
    VolumeElement("DiffusionGradientOrientation", (
        (_DIFFUSION, "DiffusionGradientDirectionSequence", "DiffusionGradientOrientation"),
        (_DIFFUSION, "DiffusionDirectionality"),
    ), numeric=False),
    VolumeElement("ASLContext", (("MRArterialSpinLabelingSequence", "ASLContext"),), numeric=False),
    VolumeElement("InversionTime", (("MRModifierSequence", "InversionTimes"),)),
    VolumeElement("FlipAngle", ((_TIMING, "FlipAngle"),)),
    VolumeElement("AcquisitionNumber", ((_CONTENT, "FrameAcquisitionNumber"),)),
    VolumeElement("FrameReferenceTime", ((_CONTENT, "FrameReferenceDateTime"),), ranked=True, in_turn=True),
    VolumeElement("AcquisitionTime", ((_CONTENT, "FrameAcquisitionDateTime"),), ranked=True, in_turn=True),
    VolumeElement("AcquisitionDateTime", ranked=True, in_turn=True),
    VolumeElement("ContentTime", ranked=True, in_turn=True),
    VolumeElement("ActualFrameDuration", ((_CONTENT, "FrameAcquisitionDuration"),)),
    VolumeElement("RepetitionTime", ((_TIMING, "RepetitionTime"),)),
    VolumeElement("TimeSlotVector"),
    VolumeElement("EnergyWindowVector"),
    VolumeElement("PhaseVector"),
    VolumeElement("DetectorVector"),
    VolumeElement("KVP"),
    VolumeElement("ConvolutionKernel", numeric=False),
    VolumeElement("StackID", ((_CONTENT, "StackID"),), numeric=False),
)  # fmt: skip
"""Elements that tell volumes apart: the phase of a series first, then the kind of its images and what was set, then the
clock.

Source: DICOM PS3.3, C.7.6.16.2 (functional groups), C.8.13.5 (MR), C.8.9 (PET), C.7.6.18.1 (heart), C.8.4.8 (vectors).
"""

WANTED = tags_of([element.keyword for element in ELEMENTS] + list(TIME_PAIRS.values())) | PRIVATE_TAGS


class SliceElements:
    """The elements of slices; the header of each file is read once more for them, where the loader left them out.

    Parameters
    ----------
    slices
        In any order.
    """

    def __init__(self, slices: Sequence[Slice]) -> None:
        self.slices = slices
        self._frames: dict[int, list[FrameElements]] = {}

    def values(self, element: VolumeElement) -> tuple[str, list[Value]]:
        """Reads an element of all slices: its name in messages, and a value for each slice."""
        found = [self._value(item, element) for item in self.slices]
        names = [name for name, value in found if value is not None]
        return names[0] if names else element.keyword, [value for _, value in found]

    def _value(self, item: Slice, element: VolumeElement) -> tuple[str, Value]:
        name, value = self._stated(item, element)
        if value is None or isinstance(value, float) == element.numeric:
            return name, value
        return name, None if element.numeric else str(value)

    def _stated(self, item: Slice, element: VolumeElement) -> tuple[str, Value]:
        frame = self._of_file(item.file)[item.frame]
        for path in element.in_frames:
            if (value := _in_groups(frame.groups, path)) is not None:
                return path[-1], value
        if (value := _plain(frame.header, element.keyword, item.frame)) is not None:
            return element.keyword, value
        return element.private(frame.header) if element.private else (element.keyword, None)

    def _of_file(self, file: DicomFile) -> list[FrameElements]:
        if id(file) not in self._frames:
            whole = file if file.frames > 1 else read_dicom_file(file.source, file.name, WANTED)
            frames = frame_elements(whole.header)
            most = 1 + max(item.frame for item in self.slices if item.file is file)
            self._frames[id(file)] = frames if len(frames) >= most else frames[:1] * most
        return self._frames[id(file)]


def _in_groups(groups: Sequence[Dataset], path: Sequence[str]) -> Value:
    """Reads an element below the sequences of a path, from the first group that has it."""
    for group in groups:
        holder: Dataset | None = group
        for sequence in path[:-1]:
            items = holder.get(sequence) if holder is not None else None
            holder = items[0] if items else None
        if holder is not None and (value := _plain(holder, path[-1])) is not None:
            return value
    return None


def _plain(holder: Dataset, keyword: str, frame: int = 0) -> Value:
    """Reads an element as a number, as seconds of a time, or as text; None where it is absent or damaged.

    Of a vector, which has a number for each frame, the frame's number is read.
    """
    if (tag_for_keyword(keyword) or 0) not in holder:
        return None
    if is_time(keyword):
        return seconds_of(holder, keyword)
    try:
        numbers = decimals_of(holder, keyword)
    except (ValueError, TypeError):  # a text, or a damaged number
        numbers = []
    if keyword.endswith("Vector") and frame < len(numbers):
        return numbers[frame]
    return numbers[0] if len(numbers) == 1 else text_of(holder, keyword) or None
