"""Chooses the series of a study for the network by the rule `series`, with the reasons against the other series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pydicom.uid import ParametricMapStorage, RTDoseStorage, SurfaceSegmentationStorage

from fedmed_transforms.dicom.damage import safe_code
from fedmed_transforms.dicom.dicom_file import DicomFile, read_dicom_file, text_of
from fedmed_transforms.dicom.folder.passed_over import LOCALIZER, accompanies, image_type
from fedmed_transforms.dicom.header_index import tags_of
from fedmed_transforms.dicom.segmentation import SEGMENTATIONS
from fedmed_transforms.dicom.series import describe, unmatched

RESULTS = (*SEGMENTATIONS, SurfaceSegmentationStorage, ParametricMapStorage, RTDoseStorage)
"""SOP classes of objects with pixels that were computed from images and are no images."""

LONGEST_DESCRIPTION = 40
"""Number of characters of a SeriesDescription that messages show."""

Rule: TypeAlias = str | Mapping[str, str] | None
"""The rule ``series`` of :class:`fedmed_transforms.SeriesRules`."""


@dataclass(frozen=True)
class Instance:
    """Describes a DICOM file for the choice of a series; memory holds the descriptions of all files of a study.

    Attributes
    ----------
    path
        The file.
    study, series
        UIDs; a missing StudyInstanceUID is replaced by the series' UID, a missing SeriesInstanceUID by the file's path.
    modality, description
        Text for a list of the study's series.
    reason
        The reason why the file is not used; empty for an image that matches the rule.
    localiser
        Whether ImageType declares a localiser.
    captured
        Whether the file is a secondary capture: a picture of a screen, or of a dose report.
    frames
        Number of images in the file.
    """

    path: Path
    study: str
    series: str
    modality: str
    description: str
    reason: str
    localiser: bool
    captured: bool
    frames: int


@dataclass(frozen=True)
class Choice:
    """Describes the chosen series of a study.

    Attributes
    ----------
    series
        The SeriesInstanceUID.
    files
        The files of the series that match the rule, in order of their names.
    passed_over
        The study's other series, each with the reason, as readable text.
    """

    series: str
    files: list[Path]
    passed_over: str


def read_instance(path: Path, rule: Rule) -> Instance:
    """Reads the elements of a DICOM file that the choice of a series needs.

    Raises
    ------
    ValueError
        The file is no DICOM, or damaged before its pixels; the message names the file.
    """
    keywords = list(rule) if isinstance(rule, Mapping) else []
    wanted = tags_of(["StudyInstanceUID", "SeriesDescription", *keywords])
    file = read_dicom_file(path, str(path), wanted)
    series = text_of(file.header, "SeriesInstanceUID") or str(path)
    modality, size = describe(file)
    return Instance(
        path=path, study=text_of(file.header, "StudyInstanceUID") or series, series=series, modality=modality,
        description=f"{size}{_description(file)}", reason=_reason(file, rule),
        localiser=LOCALIZER in image_type(file.header), captured=accompanies(file.header) == "secondary captures",
        frames=file.frames,
    )  # fmt: skip


def _description(file: DicomFile) -> str:
    text = "".join(part if part.isprintable() else " " for part in text_of(file.header, "SeriesDescription"))
    return f", {text[:LONGEST_DESCRIPTION]!r}" if text.strip() else ""


def _reason(file: DicomFile, rule: Rule) -> str:
    if not file.keyword or not file.header.get("Rows"):
        return "holds no image"
    if file.header.get("SOPClassUID") in RESULTS:
        return "is computed from images"
    differing = unmatched(file, rule) if isinstance(rule, Mapping) else []
    return f"does not match {', '.join(differing)}" if differing else ""


def choose_series(instances: Sequence[Instance], rule: Rule) -> Choice:
    """Chooses the series of a study by the rule; without a rule, the study's only series.

    Files without an image and objects computed from images are skipped; a series of localisers is skipped too, unless
    the rule names the series or ImageType. Secondary captures are skipped where another series remains.

    Parameters
    ----------
    instances
        All files of one study.
    rule
        The rule ``series`` of :class:`fedmed_transforms.SeriesRules`.

    Raises
    ------
    ValueError
        No series remains, or several; the message lists the study's series with the reasons.
    """
    groups: dict[str, list[Instance]] = {}
    for instance in instances:
        groups.setdefault(instance.series, []).append(instance)
    reasons = {uid: _series_reason(group, rule) for uid, group in groups.items()}
    reasons.update(_captured(groups, reasons))
    left = [uid for uid, reason in reasons.items() if not reason]
    if rule == "largest" and left:
        largest = max(left, key=lambda uid: (_frames(groups[uid]), uid))
        reasons.update({uid: "has fewer images" for uid in left if uid != largest})
        left = [largest]
    if len(left) != 1:
        raise ValueError(_refusal(groups, reasons, len(left), rule))
    chosen = groups.pop(left[0])
    files = [instance.path for instance in chosen if not instance.reason]
    passed_over = [_describe_series(uid, group, reasons[uid]) for uid, group in groups.items()]
    if len(files) < len(chosen):
        passed_over.append(f"{len(chosen) - len(files)} of the {len(chosen)} files of {safe_code(left[0])}")
    return Choice(left[0], sorted(files), "; ".join(passed_over))


def _series_reason(group: Sequence[Instance], rule: Rule) -> str:
    """Returns the reason against a series; empty if the series may be chosen."""
    if all(instance.reason for instance in group):
        return group[0].reason
    if isinstance(rule, str) and rule != "largest":
        return "" if group[0].series == rule else "has another SeriesInstanceUID"
    named = isinstance(rule, Mapping) and "ImageType" in rule
    return "holds localisers" if not named and all(instance.localiser for instance in group) else ""


def _captured(groups: Mapping[str, Sequence[Instance]], reasons: Mapping[str, str]) -> dict[str, str]:
    """Returns the reason against series of secondary captures, where another series may be chosen."""
    left = [uid for uid, reason in reasons.items() if not reason]
    captured = [uid for uid in left if all(instance.captured or instance.reason for instance in groups[uid])]
    return {uid: "holds secondary captures" for uid in captured} if len(captured) < len(left) else {}


def _frames(group: Sequence[Instance]) -> int:
    return sum(instance.frames for instance in group if not instance.reason)


def _refusal(groups: Mapping[str, Sequence[Instance]], reasons: Mapping[str, str], left: int, rule: Rule) -> str:
    expected = "expected one series of images" + (f" that matches {rule!r}" if rule is not None else "")
    lines = "; ".join(_describe_series(uid, group, reasons[uid] or "may be taken") for uid, group in groups.items())
    return f"{expected}, found {left or 'none'}; the rule `series` chooses; the study's {len(groups)} series: {lines}"


def _describe_series(uid: str, group: Sequence[Instance], reason: str) -> str:
    first = group[0]
    name = uid if uid == str(first.path) else safe_code(uid)
    return f"{name} ({first.modality}, {len(group)} files, {first.description}): {reason}"
