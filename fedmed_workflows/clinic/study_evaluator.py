"""An evaluator that a bad study does not stop: it is set aside with its error, and the run ends with their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ignite.engine import EventEnum, Events
from monai.engines import SupervisedEvaluator

from fedmed_transforms.studies.studies import ERROR
from fedmed_workflows.errors import refusal


class StudyEvents(EventEnum):  # type: ignore[misc]
    """What happens to a study besides MONAI's events; ``engine.state.refusal`` says which study, and why."""

    REFUSED = "study_refused"


@dataclass(frozen=True)
class Refusal:
    """A study or an image that was set aside.

    Attributes
    ----------
    path, study
        As of its item (:func:`fedmed_transforms.find_studies`).
    error
        Why.
    """

    path: str
    study: str
    error: str


class StudyEvaluator(SupervisedEvaluator):  # type: ignore[misc]
    """MONAI's evaluator for studies, a batch each, whose errors end that study alone.

    What the network, the postprocessing, or a handler of ``IterationEvents.MODEL_COMPLETED`` raises sets a study aside,
    as does an item that holds an ``error`` in place of an image. ``StudyEvents.REFUSED`` is fired for it; its output is
    an empty list.

    Raises
    ------
    ValueError
        At the end of a run in which studies were refused; the message says how many, and why the first one was.
    """

    def __init__(self, *args: Any, event_names: Sequence[Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, event_names=[*(event_names or []), StudyEvents], **kwargs)
        self.state.refusal, self.state.refused, self.state.first_refusal = None, 0, None
        self.add_event_handler(Events.GET_BATCH_STARTED, self._forget)

    def run(self, global_epoch: int = 1) -> None:
        """Answers every study, then raises if any was refused."""
        self.state.refused, self.state.first_refusal = 0, None
        super().run(global_epoch)
        self.finish()

    def finish(self) -> None:
        """Raises if any study was refused."""
        if self.state.refused:
            raise ValueError(
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
        except Exception as error:  # of a study's pixels, of memory, of the disk: the next study may be fine
            return self._failed(error, path, study)

    def _failed(self, error: Exception, path: str, study: str) -> list[Any]:
        return self._refuse(Refusal(path, study, refusal(error, path)))

    def _forget(self) -> None:
        """Lets go of a study before the next one is read: memory need not hold two."""
        self.state.output = None

    def _refuse(self, refused: Refusal) -> list[Any]:
        self.logger.error("refused: %s", refused.error)
        self.state.refusal, self.state.refused = refused, self.state.refused + 1
        self.state.first_refusal = self.state.first_refusal or refused
        self.fire_event(StudyEvents.REFUSED)
        return []
