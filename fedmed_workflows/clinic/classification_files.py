"""A handler that writes the results of a classifier: a table of all images, and structured reports for DICOM."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from fedmed_transforms.loading.dicom import is_dicom_path
from fedmed_transforms.results.dicom_result import Code
from fedmed_transforms.results.save_segmentation import source_path, sources_of
from fedmed_transforms.results.structured_report import write_report
from fedmed_transforms.whole_file import write_whole
from fedmed_workflows.clinic.result_files import KEYS, ResultFiles
from fedmed_workflows.clinic.result_table import ResultTable
from fedmed_workflows.clinic.study_dataset import SOURCE


class ClassificationFiles(ResultFiles):
    """Writes the class probabilities of every image, and a structured report for every DICOM study.

    Probabilities are appended to ``predictions.csv`` after every study and written to ``predictions.json`` at the end
    of the run. The structured report ``<name>_sr.dcm`` of a DICOM study references its series. Items have probabilities
    (C,) in ``pred``.

    Parameters
    ----------
    output_dir
        Folder of the files.
    class_names
        The classes, in the order of the probabilities.
    codes
        Public codes of classes, see :func:`fedmed_transforms.write_report`.
    algorithm, model
        Name and version of the algorithm, for DICOM, and the file of its network, see
        :class:`fedmed_workflows.clinic.result_files.ResultFiles`.

    Raises
    ------
    ValueError
        A code belongs to none of the classes.

    Examples
    --------
    >>> from fedmed_workflows import ClassificationFiles
    >>> files = ClassificationFiles("results", ["benign", "malignant"])
    >>> files.class_names  # .attach(evaluator) has it write the results of every study
    ['benign', 'malignant']
    """

    def __init__(
        self,
        output_dir: str,
        class_names: Sequence[str],
        codes: Mapping[str, Code] | None = None,
        algorithm: Mapping[str, str] | None = None,
        model: str | Path | None = None,
    ) -> None:
        super().__init__(output_dir, algorithm, model)
        self.class_names, self.codes = list(class_names), dict(codes or {})
        unknown = sorted(set(self.codes) - set(class_names))
        if unknown:
            raise ValueError(f"codes: expected classes of {self.class_names}, found {unknown}")
        self._predictions: ResultTable | None = None

    def attach(self, engine: Engine) -> None:
        """Attaches to an evaluator of items of :func:`fedmed_transforms.find_studies`."""
        super().attach(engine)
        engine.add_event_handler(Events.COMPLETED, self._write_json)

    def start(self, engine: Engine) -> None:
        """Loads the tables of earlier runs."""
        super().start(engine)
        columns = ["image", "study", "prediction", *self.class_names]
        self._predictions = ResultTable(self.output_dir / "predictions.csv", columns, KEYS)

    def outputs(self, item: Mapping[str, Any], stem: Path) -> list[Path]:
        """Returns ``<name>_sr.dcm`` for DICOM; other images only get a row."""
        source = source_path(item[SOURCE], SOURCE)
        return [stem.with_name(f"{stem.name}_sr.dcm")] if is_dicom_path(source) else []

    def write(self, item: Mapping[str, Any], outputs: list[Path]) -> None:
        """Writes the report of an image, then its row."""
        probabilities = dict(zip(self.class_names, (float(value) for value in item["pred"]), strict=True))
        for output in outputs:
            sources = sources_of(item[SOURCE], source_path(item[SOURCE], SOURCE))
            write_report(probabilities, sources, output, self.algorithm, self.codes)
        assert self._predictions is not None
        best = max(probabilities, key=lambda name: probabilities[name])
        self._predictions.put([item["path"], item["study"], best, *probabilities.values()])

    def _write_json(self, engine: Engine) -> None:
        assert self._predictions is not None
        rows = [
            {
                "image": image,
                "study": study,
                "prediction": prediction,
                "probabilities": dict(zip(self.class_names, map(float, values), strict=True)),
            }
            for image, study, prediction, *values in self._predictions.rows
        ]
        write_whole(self.output_dir / "predictions.json", json.dumps(rows, indent=2))
