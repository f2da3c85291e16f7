"""The evaluator of a watch: it separates errors of a study from passing trouble of a disk or a server."""

from __future__ import annotations

import errno
import sqlite3
from typing import Any

import torch

from fedmed_transforms.studies.dicomweb.unreachable import ServerUnreachable
from fedmed_workflows.clinic.study_evaluator import Refusal, StudyEvaluator

DEVICE_FAILED = getattr(torch, "AcceleratorError", ())
"""The error of a failed GPU; older versions of torch raise a plain RuntimeError."""

PASSING = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EACCES", "EPERM", "ENODEV", "ENXIO", "ESTALE", "ENOTCONN",
                 "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENETUNREACH", "EMFILE", "ENFILE")
    if hasattr(errno, name)
)  # fmt: skip
"""Errors of a disk that is full, read-only, missing or not writable. Errors of one study's files, as ENAMETOOLONG, are
not among them."""


class WatchEvaluator(StudyEvaluator):
    """Evaluates an endless stream of studies; ``state.trouble`` is the passing trouble that interrupted the last one.

    No study is refused while a disk is full or a server does not answer. Refused studies are no error of the run: the
    ledger lists them.

    Raises
    ------
    torch.AcceleratorError
        A GPU failed, so that this process can compute nothing more.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.state.trouble = None

    def finish(self) -> None:
        """Does nothing: refused studies are no error of the run."""

    def _iteration(self, engine: Any, batchdata: dict[str, Any]) -> Any:
        self.state.trouble = None
        return super()._iteration(engine, batchdata)

    def _failed(self, error: Exception, path: str, study: str) -> list[Any]:
        if isinstance(error, DEVICE_FAILED) and not isinstance(error, torch.OutOfMemoryError):
            raise error
        self.state.trouble = passing_trouble(error)
        if self.state.trouble is None:
            return super()._failed(error, path, study)
        self.state.refusal = Refusal(path, study, str(self.state.trouble))  # no handler is notified
        return []

    def _refuse(self, refused: Refusal) -> list[Any]:
        try:
            return super()._refuse(refused)
        except OSError as error:  # the list of refused studies could not be written
            self.state.trouble = passing_trouble(error)
            if not self.state.trouble:
                raise
            return []


def passing_trouble(error: BaseException) -> BaseException | None:
    """Returns the cause of an error that is a trouble of a disk or a server, or None.

    Parameters
    ----------
    error
        The error that was raised, with its causes.
    """
    cause: BaseException | None = error
    while cause is not None:
        disk = isinstance(cause, OSError) and cause.errno in PASSING
        if disk or isinstance(cause, (sqlite3.OperationalError, ServerUnreachable)):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None
