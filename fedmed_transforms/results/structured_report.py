"""Writes class probabilities as DICOM structured reports (TID 1500, measurement report), and reads them back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import highdicom as hd
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    DeviceObserverIdentifyingAttributes,
    EnhancedSR,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    SourceImageForMeasurementGroup,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, generate_uid

from fedmed_transforms.dicom.silenced_parsers import without_parser_texts
from fedmed_transforms.results.dicom_result import (
    CHARACTER_SET,
    COPIED_HEADER,
    MANUFACTURER,
    MODEL,
    PRIVATE_SCHEME,
    SOFTWARE_VERSION,
    Algorithm,
    Code,
    checked_text,
    concept,
    save_whole,
)
from fedmed_transforms.results.identity import ResultIdentity
from fedmed_transforms.results.sources import Sources, read_sources, source_name

SUM_TOLERANCE = 1e-3
"""Largest deviation of the sum of the probabilities from 1: float16 rounds by less, a missing class leaves more."""

SERIES_NUMBER = 901

IMAGING_PROCEDURE = CodedConcept("363679005", "SCT", "Imaging procedure")
PREDICTED_CLASS = CodedConcept("predicted_class", PRIVATE_SCHEME, "Predicted class")
TITLE_OF_A_PROBABILITY = "Probability: "


def write_report(
    probabilities: Mapping[str, float],
    sources: Sources,
    output: str | Path,
    algorithm: Algorithm = Algorithm(),
    class_codes: Mapping[str, Code] | None = None,
) -> Path:
    """Writes the class probabilities of an image or a series as a DICOM Enhanced SR.

    Each class is a measurement without unit, whose name is coded as the class's own name in the private scheme
    ``99FEDMED``; the most probable class is a qualitative evaluation. The observer is the device. The report is
    complete, preliminary and unverified: no person has seen it. The same probabilities of the same images by the same
    algorithm have the same UIDs, see :mod:`fedmed_transforms.results.identity`.

    Parameters
    ----------
    probabilities
        By name of the class, at most 51 characters, in [0, 1], summing to 1.
    sources
        The images that were classified: files, a folder with one series, or datasets.
    output
        The file to write.
    algorithm
        The algorithm that computed them.
    class_codes
        Public codes of classes, as ``{"glioma": ["393564001", "SCT", "Glioma"]}``, with which the predicted class is
        stated; a class without an entry is stated by its name in the private scheme.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        The probabilities are not finite, outside [0, 1] or do not sum to 1, or a source is no DICOM image; the message
        names the file.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from fedmed_transforms import write_report
    >>> from pydicom.data import get_testdata_file
    >>> with TemporaryDirectory() as folder:
    ...     write_report({"glioma": 0.9, "other": 0.1}, get_testdata_file("MR_small.dcm"), f"{folder}/report.dcm").name
    'report.dcm'
    """
    headers = read_sources(sources)
    name = source_name(headers[0], 1)
    _check(probabilities, name)
    known = {label: concept(code) for label, code in (class_codes or {}).items()}
    content = [list(probabilities.items()), {label: list(code) for label, code in (class_codes or {}).items()}]
    identity = ResultIdentity(headers, algorithm, content)
    group = _group(probabilities, headers, algorithm, known, identity.uid("tracking"))
    with without_parser_texts(name, COPIED_HEADER):
        report = EnhancedSR(
            evidence=headers, content=_content(group), series_instance_uid=identity.uid("series"),
            series_number=SERIES_NUMBER, sop_instance_uid=identity.uid("instance"), instance_number=1,
            manufacturer=MANUFACTURER, is_complete=True, specific_character_set=CHARACTER_SET,
        )  # fmt: skip
        report.ManufacturerModelName, report.SoftwareVersions = MODEL, SOFTWARE_VERSION
        report.SeriesDescription = algorithm.description
    return save_whole(report, output)


def _check(probabilities: Mapping[str, float], name: str) -> None:
    wrong = {label: value for label, value in probabilities.items() if not 0 <= value <= 1}  # NaN compares as wrong
    if wrong or not probabilities:
        raise ValueError(f"{name}: expected probabilities in [0, 1], found {wrong or 'none'}")
    total = math.fsum(probabilities.values())
    if abs(total - 1) > SUM_TOLERANCE:
        raise ValueError(f"{name}: expected probabilities that sum to 1 within {SUM_TOLERANCE}, found {total:.6g}")


def _class_concept(label: str, prefix: str = "") -> CodedConcept:
    return CodedConcept(label, PRIVATE_SCHEME, checked_text(prefix + label, "name of a class"))


def _group(
    probabilities: Mapping[str, float],
    headers: list[Dataset],
    algorithm: Algorithm,
    known: Mapping[str, CodedConcept],
    tracking: UID,
) -> MeasurementsAndQualitativeEvaluations:
    best = max(probabilities, key=lambda label: probabilities[label])
    predicted = known.get(best) or _class_concept(best)
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(tracking, "Classification of the images"),
        algorithm_id=AlgorithmIdentification(
            checked_text(algorithm.name, "name of the algorithm"),
            checked_text(algorithm.version, "version of the algorithm"),
        ),
        source_images=[SourceImageForMeasurementGroup.from_source_image(header) for header in headers],
        measurements=[
            Measurement(_class_concept(label, TITLE_OF_A_PROBABILITY), float(value), codes.UCUM.NoUnits)
            for label, value in probabilities.items()
        ],
        qualitative_evaluations=[QualitativeEvaluation(PREDICTED_CLASS, predicted)],
    )


def _content(group: MeasurementsAndQualitativeEvaluations) -> MeasurementReport:
    device = DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=[MANUFACTURER, MODEL, SOFTWARE_VERSION]),
        name=MODEL,
        manufacturer_name=MANUFACTURER,
        model_name=MODEL,
    )
    observer = ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    return MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=IMAGING_PROCEDURE,
        imaging_measurements=[group],
    )


def read_report(path: str | Path) -> dict[str, float]:
    """Reads the class probabilities of a report that :func:`write_report` wrote.

    Returns
    -------
    dict
        Probabilities by name of the class, in the order in which they were written.

    Raises
    ------
    ValueError
        The file is no measurement report, or holds no class probabilities; the message names it.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from fedmed_transforms import read_report, write_report
    >>> from pydicom.data import get_testdata_file
    >>> source = get_testdata_file("MR_small.dcm")
    >>> with TemporaryDirectory() as folder:
    ...     read_report(write_report({"glioma": 0.9, "other": 0.1}, source, f"{folder}/report.dcm"))
    {'glioma': 0.9, 'other': 0.1}
    """
    with without_parser_texts(path, "a DICOM measurement report (TID 1500)"):
        report: Any = hd.sr.srread(path).content
        groups = report.get_image_measurement_groups()
        found = [measured for group in groups for measured in group.get_measurements()]
        named = {
            str(measured.name.value): float(measured.value)
            for measured in found
            if measured.name.scheme_designator == PRIVATE_SCHEME
        }
    if not named:
        raise ValueError(f"{path}: expected class probabilities in the scheme {PRIVATE_SCHEME}, found none")
    return named
