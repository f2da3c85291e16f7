"""Finds the images of a clinic's folder for a network: one series of every DICOM study, and every other image.

A study or file that cannot be used becomes an item with the reason, so that the other images are processed.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.loading.find import IMAGES
from fedmed_transforms.studies.result_names import name_results
from fedmed_transforms.studies.series_choice import Choice, Instance, Rule, choose_series
from fedmed_transforms.studies.study_files import StudyFiles, find_study_files

logger = logging.getLogger(__name__)

ERROR = "error"
"""Entry of an item that cannot be used, with the reason."""

Item = dict[str, Any]


def find_studies(
    source: str | Sequence[str], rules: Mapping[str, Any] | None = None, output_dir: str | None = None
) -> list[Item]:
    """Finds the images of folders, files and DICOMDIRs: the series that a rule chooses of each DICOM study, and others.

    A study is the set of all files with one StudyInstanceUID, in any folder. Every other image file is one
    image. Other files beside DICOM files (of viewers, for example) are skipped with a warning.

    Parameters
    ----------
    source
        The paths.
    rules
        Keywords of :class:`fedmed_transforms.SeriesRules`; this function uses ``series``.
    output_dir
        Folder of results, which is not searched.

    Returns
    -------
    list
        Items in the order of their paths. The item of an image has ``image``, the argument of
        :func:`fedmed_transforms.load_image`; ``path``, the file or the series' folder, for reports; ``name`` of its
        results, relative and without ending; ``study`` and ``series``, UIDs, and ``passed_over``, the study's other
        series with the reasons: empty for other formats than DICOM. The item of a study or file that cannot be used has
        ``path``, ``study`` and ``error``.

    Raises
    ------
    ValueError
        A path does not exist, no file may be an image, or the folder of results is a folder of images.

    Examples
    --------
    >>> from fedmed_transforms import find_studies
    >>> from pydicom.data import get_testdata_file
    >>> [(item["name"], item["series"]) for item in find_studies(get_testdata_file("MR_small.dcm"))]
    [('MR_small', '1.3.6.1.4.1.5962.1.3.4.1.20040826185059.5457')]
    """
    paths = [Path(source)] if isinstance(source, (str, Path)) else [Path(path) for path in source]
    rule = SeriesRules.of(rules or {}).series
    files = find_study_files(paths, rule, Path(output_dir) if output_dir else None)
    if files.other_files and files.instances:
        logger.warning("%s: skipped %d files that are no images: %s ...", source, len(files.other_files),
                       files.other_files[0])  # fmt: skip
    items = [*_images(files), *_studies(files, rule), *_refused(files)]
    if not items:
        raise ValueError(f"{source}: found no image, expected {IMAGES}")
    return sorted(name_results(items, paths), key=lambda item: (os.path.abspath(item["path"]), item["study"]))


def _images(files: StudyFiles) -> list[Item]:
    described = {"study": "", "series": "", "passed_over": ""}
    return [{"image": str(path), "path": str(path), **described} for path in files.images]


def _studies(files: StudyFiles, rule: Rule) -> list[Item]:
    studies: dict[str, list[Instance]] = {}
    for instance in files.instances:
        studies.setdefault(instance.study, []).append(instance)
    places = {uid: {(it.path.parent, it.series) for it in instances} for uid, instances in studies.items()}
    shared = {place for place, count in Counter(place for own in places.values() for place in own).items() if count > 1}
    return [_study(uid, studies[uid], rule, files.damaged, shared) for uid in studies]


def _study(
    uid: str, instances: Sequence[Instance], rule: Rule, damaged: Mapping[Path, str], shared: Set[tuple[Path, str]]
) -> Item:
    try:
        choice = choose_series(instances, rule)
        _check_neighbours(choice.files, damaged)
        _check_one_study(choice, shared)
    except ValueError as error:
        folder = _common([instance.path for instance in instances])
        return {"path": folder, "study": uid, ERROR: f"{folder}: {error}"}
    path = _common(choice.files)
    logger.info("%s: chose series %s; skipped: %s", path, choice.series, choice.passed_over or "none")
    return {
        "image": [str(path) for path in choice.files], "path": path, "study": uid,
        "series": choice.series, "passed_over": choice.passed_over,
    }  # fmt: skip


def _check_neighbours(files: Sequence[Path], damaged: Mapping[Path, str]) -> None:
    """Refuses a series beside a damaged file, which may be a slice of it: a missing end slice cannot be detected."""
    for folder in {path.parent for path in files} if len(files) > 1 else ():
        if folder in damaged:
            raise ValueError(f"expected all slices, found a damaged file beside them: {damaged[folder]}")


def _check_one_study(choice: Choice, shared: Set[tuple[Path, str]]) -> None:
    """Refuses a series that has files of another study beside it: each study would hold a part of the volume."""
    for file in choice.files:
        if (file.parent, choice.series) in shared:
            raise ValueError(f"{file}: expected one StudyInstanceUID in its series, found others beside it")


def _common(paths: Sequence[Path]) -> str:
    return os.path.commonpath(paths)


def _refused(files: StudyFiles) -> list[Item]:
    refused = dict(files.refused)
    if not files.instances:
        refused.update({path: f"{path}: expected {IMAGES} image" for path in files.other_files})
    return [{"path": str(path), "study": "", ERROR: message} for path, message in refused.items()]
