"""An evaluator that tells a bad study from a full disk."""

from __future__ import annotations

import errno
import sqlite3
from typing import Any

import torch

from fedmed_transforms.studies.dicomweb.unreachable import ServerUnreachable
from fedmed_workflows.clinic.study_evaluator import Refusal, StudyEvaluator

DEVICE_FAILED = getattr(torch, "AcceleratorError", ())
"""What older versions of torch raise as a RuntimeError among others."""


class WatchEvaluator(StudyEvaluator):
    """An evaluator of studies that come without end; ``state.trouble`` is what kept the last one from being finished.

    Nothing is refused while a disk is full or a server away, and refusals are no error of the run: a ledger keeps them.

    Raises
    ------
    torch.AcceleratorError
        A GPU failed: nothing can be computed in this process any more.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.state.trouble = None

    def finish(self) -> None:
        """Refusals are no error."""

    def _iteration(self, engine: Any, batchdata: dict[str, Any]) -> Any:
        self.state.trouble = None
        return super()._iteration(engine, batchdata)

    def _failed(self, error: Exception, path: str, study: str) -> list[Any]:
        if isinstance(error, DEVICE_FAILED) and not isinstance(error, torch.OutOfMemoryError):
            raise error
        self.state.trouble = passing_trouble(error)
        if self.state.trouble is None:
            return super()._failed(error, path, study)
        self.state.refusal = Refusal(path, study, str(self.state.trouble))  # of which nobody is told
        return []

    def _refuse(self, refused: Refusal) -> list[Any]:
        try:
            return super()._refuse(refused)
        except OSError as error:  # of the list of refused studies
            self.state.trouble = passing_trouble(error)
            if not self.state.trouble:
                raise
            return []


PASSING = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EACCES", "EPERM", "ENODEV", "ENXIO", "ESTALE", "ENOTCONN",
                 "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENETUNREACH", "EMFILE", "ENFILE")
    if hasattr(errno, name)
)  # fmt: skip
"""Of a disk that is full, read-only, taken away or not to be written to; what names a study, as ENAMETOOLONG, is not
among them."""


def passing_trouble(error: BaseException) -> BaseException | None:
    """What is wrong with a disk or a server, if that is an error's cause.

    Parameters
    ----------
    error
        What was raised, with its causes.
    """
    cause: BaseException | None = error
    while cause is not None:
        disk = isinstance(cause, OSError) and cause.errno in PASSING
        if disk or isinstance(cause, (sqlite3.OperationalError, ServerUnreachable)):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None
