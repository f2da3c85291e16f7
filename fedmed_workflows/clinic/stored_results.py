"""A handler that stores results on the DICOMweb server of the studies."""

from __future__ import annotations

from ignite.engine import Engine
from monai.engines.utils import IterationEvents

from fedmed_workflows.clinic.result_files import ResultFiles


class StoredResults:
    """Stores the DICOM files of every study after they are written; a file that the server has is not stored again.

    Parameters
    ----------
    results
        The handler that writes the files, attached before this one.
    url
        Address of the server, see :class:`fedmed_transforms.studies.dicomweb.server.DicomWebServer`.

    Raises
    ------
    ValueError
        The server refuses a file or does not answer. The evaluator sets the study aside, and its files are kept.
    """

    def __init__(self, results: ResultFiles, url: str) -> None:
        from fedmed_transforms.studies.dicomweb.server import DicomWebServer

        self.results, self.server = results, DicomWebServer(url)

    def attach(self, engine: Engine) -> None:
        """Attaches to a :class:`fedmed_workflows.StudyEvaluator`."""
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._store)

    def _store(self, engine: Engine) -> None:
        from fedmed_transforms.studies.dicomweb.store import store_results

        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            files = self.results.outputs({**item, **output}, self.results.output_dir / item["name"])
            store_results(self.server, [file for file in files if file.suffix == ".dcm"])
