"""Errors that are no fault of a study: of the disk that results go to, of a server that is away."""

from __future__ import annotations

import errno
import sqlite3

from fedmed_transforms.unreachable import ServerUnreachable

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
