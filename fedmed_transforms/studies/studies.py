"""A clinic's folder to the images that a network is to see: of every DICOM study one series, and every other image.

What can't be taken is an item of its own that says why, so that the others go on.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.studies.result_names import name_results
from fedmed_transforms.studies.series_choice import Instance, Rule, choose_series
from fedmed_transforms.studies.study_files import StudyFiles, find_study_files

logger = logging.getLogger(__name__)

ERROR = "error"
"""Entry of an item that can't be taken: why."""

Item = dict[str, Any]


def find_studies(
    source: str | Sequence[str], rules: Mapping[str, Any] | None = None, output_dir: str | None = None
) -> list[Item]:
    """The images of folders, files and DICOMDIRs: of each DICOM study the series that a rule chooses.

    A study is what has one StudyInstanceUID, wherever its files lie. Pictures and NIfTI files are an image each.
    Files beside DICOM that are no images (of viewers, for example) are passed over with a warning.

    Parameters
    ----------
    source
        Paths.
    rules
        Keywords of :class:`fedmed_transforms.SeriesRules`, of which ``series`` is used here.
    output_dir
        Folder of results, which is not looked in.

    Returns
    -------
    list
        Items in the order of their paths. Of an image: ``image``, what :func:`fedmed_transforms.load_image` takes;
        ``path`` for people, a series' folder; ``name`` of its results, relative and without ending; ``study`` and
        ``series``, UIDs, and ``passed_over``, the study's other series with the reasons: empty where it is no DICOM.
        Of what can't be taken: ``path``, ``study`` and ``error``.

    Raises
    ------
    ValueError
        A path does not exist, there is nothing that may be an image, or results are to go where the images are.
    """
    paths = [Path(source)] if isinstance(source, (str, Path)) else [Path(path) for path in source]
    rule = SeriesRules.of(rules or {}).series
    files = find_study_files(paths, rule, Path(output_dir) if output_dir else None)
    if files.strange and files.instances:
        logger.warning("%s: passed over %d files that are no images: %s ...", source, len(files.strange),
                       files.strange[0])  # fmt: skip
    items = [*_images(files), *_studies(files, rule), *_refused(files)]
    if not items:
        raise ValueError(f"{source}: found no image, expected jpg, png, NIfTI or DICOM")
    return sorted(name_results(items, paths), key=lambda item: (os.path.abspath(item["path"]), item["study"]))


def _images(files: StudyFiles) -> list[Item]:
    described = {"study": "", "series": "", "passed_over": ""}
    return [{"image": str(path), "path": str(path), **described} for path in files.images]


def _studies(files: StudyFiles, rule: Rule) -> list[Item]:
    studies: dict[str, list[Instance]] = {}
    for instance in files.instances:
        studies.setdefault(instance.study, []).append(instance)
    return [_study(uid, studies[uid], rule, files.damaged) for uid in studies]


def _study(uid: str, instances: Sequence[Instance], rule: Rule, damaged: Mapping[Path, str]) -> Item:
    try:
        choice = choose_series(instances, rule)
        _check_neighbours(choice.files, damaged)
    except ValueError as error:
        folder = _common([instance.path for instance in instances])
        return {"path": folder, "study": uid, ERROR: f"{folder}: {error}"}
    path = _common(choice.files)
    logger.info("%s: took series %s; passed over: %s", path, choice.series, choice.passed_over or "none")
    return {
        "image": [str(path) for path in choice.files], "path": path, "study": uid,
        "series": choice.series, "passed_over": choice.passed_over,
    }  # fmt: skip


def _check_neighbours(files: Sequence[Path], damaged: Mapping[Path, str]) -> None:
    """A damaged file may be a slice of any series in its folder, and nobody would miss it at an end."""
    for folder in {path.parent for path in files} if len(files) > 1 else ():
        if folder in damaged:
            raise ValueError(f"expected all slices, found a damaged file beside them: {damaged[folder]}")


def _common(paths: Sequence[Path]) -> str:
    return os.path.commonpath(paths)


def _refused(files: StudyFiles) -> list[Item]:
    refused = dict(files.refused)
    if not files.instances:
        refused.update({path: f"{path}: expected a jpg, png, NIfTI or DICOM image" for path in files.strange})
    return [{"path": str(path), "study": "", ERROR: message} for path, message in refused.items()]
