"""Handlers that write the results of studies, and the tables of results and of refused studies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents

from fedmed_networks.file_digests import loaded_digest
from fedmed_transforms.results.dicom_result import Algorithm
from fedmed_workflows.clinic.result_table import ResultTable
from fedmed_workflows.clinic.study_evaluator import StudyEvents

RESULTS = ("path", "study", "series", "passed_over", "files")
REFUSALS = ("path", "study", "error")
CLAIMS = ("file", "path", "study", "series")
NAMED = 8
"""Number of the first hexadecimal digits of a digest in the version of an algorithm, as in a trained bundle."""

KEYS = 2
"""Number of key columns: path and UID. A folder may hold several studies, and a study may lie in several folders."""


class ResultFiles(ABC):
    """Writes the results of every study as soon as the network has answered: all files of a study, or none.

    ``results.csv`` lists the study, the series that was selected, the series that were passed over with the reasons,
    and the files. The result of another image is never overwritten, also not in a later run. ``.unfinished.csv`` names
    the owners of files that are being written, for the case that the process is killed.

    Parameters
    ----------
    output_dir
        Folder of the files.
    algorithm
        Name and version of the algorithm, for DICOM.
    model
        File of the network. The start of its SHA-256 ends the version of the algorithm, so that a result names the file
        that computed it.
    """

    def __init__(
        self, output_dir: str, algorithm: Mapping[str, str] | None = None, model: str | Path | None = None
    ) -> None:
        self.output_dir = Path(output_dir)
        self.algorithm = Algorithm(**(algorithm or {}))
        self.model = None if model is None else Path(model)
        self._table: ResultTable | None = None
        self._claims: ResultTable | None = None
        self._owners: dict[str, tuple[str, ...]] = {}

    def attach(self, engine: Engine) -> None:
        """Attaches to an evaluator of items of :func:`fedmed_transforms.find_studies`."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._see)

    @abstractmethod
    def outputs(self, item: Mapping[str, Any], stem: Path) -> list[Path]:
        """Returns the files of the results of an item; `stem` is the common part of their paths."""

    @abstractmethod
    def write(self, item: Mapping[str, Any], outputs: list[Path]) -> None:
        """Writes the results of an item, all or none."""

    def start(self, engine: Engine) -> None:
        """Loads the tables of earlier runs, and names the file of the network in the version of the algorithm."""
        if self.model is not None and self.model.is_file():
            digest = loaded_digest(self.model)[:NAMED]
            if not self.algorithm.version.endswith(digest):
                self.algorithm = replace(self.algorithm, version=f"{self.algorithm.version} {digest}")
        self._table = ResultTable(self.output_dir / "results.csv", RESULTS, KEYS)
        self._claims = ResultTable(self.output_dir / ".unfinished.csv", CLAIMS, 1)
        self._owners = {name: _owner(*owner) for name, *owner in self._claims.rows}
        for path, study, series, _, files in self._table.rows:
            self._owners.update({name: _owner(path, study, series) for name in files.split("\n") if name})

    def _see(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            self._save({**item, **output})

    def _save(self, item: Mapping[str, Any]) -> None:
        assert self._table is not None
        outputs = self.outputs(item, self.output_dir / item["name"])
        names = [str(output.relative_to(self.output_dir)) for output in outputs]
        self._check_owners(item, outputs, names)
        described = [item[column] for column in RESULTS[:-1]]
        owner = _owner(*described[:3])
        with self._claimed(names, described[:3]):
            try:
                self.write(item, outputs)
            except OSError as error:
                listed = ", ".join(map(str, outputs))
                raise ValueError(f"{item['path']}: its results {listed} can't be written: {error.strerror}") from error
            self._owners.update(dict.fromkeys(names, owner))
            self._table.put([*described, "\n".join(name for name, of in self._owners.items() if of == owner)])

    @contextmanager
    def _claimed(self, names: list[str], owner: list[str]) -> Iterator[None]:
        """Records the owner of files while they are written, since a killed process cannot list them in the table."""
        assert self._claims is not None
        for name in names:
            self._claims.put([name, *owner])
        try:
            yield
        finally:
            for name in names:
                self._claims.drop(name)

    def _check_owners(self, item: Mapping[str, Any], outputs: list[Path], names: list[str]) -> None:
        for output, name in zip(outputs, names, strict=True):
            owner = self._owners.get(name)
            if owner != _owner(item["path"], item["study"], item["series"]) and (owner is not None or output.exists()):
                found = "/".join(owner) if owner else "nothing that results.csv lists"
                raise ValueError(f"{item['path']}: its result {output} is there already, of {found}; "
                                 "expected another output_dir")  # fmt: skip


class RefusedStudies:
    """Lists the refused studies and images in ``errors.csv``, with the reasons; a study that succeeds is removed.

    Parameters
    ----------
    output_dir
        Folder of the file. The file exists only while it has rows.

    Examples
    --------
    >>> from fedmed_workflows import RefusedStudies
    >>> RefusedStudies("results").path.name  # .attach(evaluator) has it list the studies that are refused
    'errors.csv'
    """

    def __init__(self, output_dir: str) -> None:
        self.path = Path(output_dir) / "errors.csv"
        self._table: ResultTable | None = None

    def attach(self, engine: Engine) -> None:
        """Attaches to a :class:`fedmed_workflows.StudyEvaluator`."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(StudyEvents.REFUSED, self._refused)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._completed)

    def _start(self, engine: Engine) -> None:
        self._table = ResultTable(self.path, REFUSALS, KEYS)

    def _refused(self, engine: Engine) -> None:
        assert self._table is not None
        refused = engine.state.refusal
        self._table.put([refused.path, refused.study, " ".join(refused.error.split())])

    def _completed(self, engine: Engine) -> None:
        assert self._table is not None
        if engine.state.refusal is None:
            for item in engine.state.batch:
                self._drop(self._table, item["path"], item["study"])

    def _drop(self, table: ResultTable, path: str, study: str) -> None:
        """Removes the rows of a study; its path was another one while no series could be selected."""
        for row in [row[:KEYS] for row in table.rows if row[1] == study and (study or row[0] == path)]:
            table.drop(*row)


def _owner(path: str, study: str, series: str) -> tuple[str, ...]:
    """Identifies the image of a result: by study and series of DICOM, in any folder, or by the path of the image."""
    return (study, series) if series else (str(Path(path).resolve()),)
