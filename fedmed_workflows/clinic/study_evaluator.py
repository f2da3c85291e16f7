"""An evaluator of studies: a study that fails is set aside with its error, and the others go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ignite.engine import EventEnum, Events
from monai.engines import SupervisedEvaluator

from fedmed_transforms.studies.studies import ERROR
from fedmed_workflows.errors import RefusedInputsError, refusal


class StudyEvents(EventEnum):  # type: ignore[misc]
    """Events of studies besides those of MONAI; ``engine.state.refusal`` has the study and the reason.

    Examples
    --------
    >>> from fedmed_workflows import StudyEvents
    >>> StudyEvents.REFUSED.value
    'study_refused'
    """

    REFUSED = "study_refused"


@dataclass(frozen=True)
class Refusal:
    """A study or an image that was set aside.

    Attributes
    ----------
    path, study
        Entries of its item, see :func:`fedmed_transforms.find_studies`.
    error
        The reason.
    """

    path: str
    study: str
    error: str


class StudyEvaluator(SupervisedEvaluator):  # type: ignore[misc]
    """Evaluates studies with MONAI's evaluator, one per batch; an error ends only its own study.

    An error of the network, of the postprocessing, or of a handler of ``IterationEvents.MODEL_COMPLETED`` sets a study
    aside, as does an item with an ``error`` in place of an image. ``StudyEvents.REFUSED`` is fired for it, and its
    output is an empty list.

    Raises
    ------
    RefusedInputsError
        At the end of a run with refused studies; the message has their number and the reason of the first one.
    ValueError
        All studies were refused.
    """

    def __init__(self, *args: Any, event_names: Sequence[Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, event_names=[*(event_names or []), StudyEvents], **kwargs)
        self.state.refusal, self.state.refused, self.state.first_refusal = None, 0, None
        self.add_event_handler(Events.GET_BATCH_STARTED, self._forget)

    def run(self, global_epoch: int = 1) -> None:
        """Evaluates every study, then raises an error if a study was refused."""
        self.state.refused, self.state.first_refusal = 0, None
        super().run(global_epoch)
        self.finish()

    def finish(self) -> None:
        """Raises an error if a study was refused."""
        if self.state.refused:
            some = self.state.refused < self.state.iteration
            raise (RefusedInputsError if some else ValueError)(
                f"{self.state.refused} of {self.state.iteration} studies and images were refused; the first: "
                f"{self.state.first_refusal.error}"
            )

    def _iteration(self, engine: Any, batchdata: dict[str, Any]) -> Any:
        engine.state.refusal = None
        (path,), (study,) = batchdata["path"], batchdata["study"]
        if ERROR in batchdata:
            return self._refuse(Refusal(path, study, batchdata[ERROR][0]))
        try:
            return super()._iteration(engine, batchdata)
        except Exception as error:  # of the pixels, the memory or the disk: the next study may succeed
            return self._failed(error, path, study)

    def _failed(self, error: Exception, path: str, study: str) -> list[Any]:
        return self._refuse(Refusal(path, study, refusal(error, path)))

    def _forget(self) -> None:
        """Frees a study and its output before the next one is read, so that memory holds one study."""
        self.state.batch = self.state.output = None

    def _refuse(self, refused: Refusal) -> list[Any]:
        self.logger.error("refused: %s", refused.error)
        self.state.refusal, self.state.refused = refused, self.state.refused + 1
        self.state.first_refusal = self.state.first_refusal or refused
        self.fire_event(StudyEvents.REFUSED)
        return []
