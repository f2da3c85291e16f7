"""Errors whose messages may leave a site, and the messages that refusals show."""

from __future__ import annotations

import os
import sys
from types import TracebackType


class ManifestError(ValueError):
    """Raised for tensors that do not match a manifest. The message names tensors, never a file of a site."""


class NonFiniteLossError(RuntimeError):
    """Raised when a loss became NaN or infinite. The message names no file."""


class UpdateError(ValueError):
    """Raised for an update with wrong claims of its site. The message names the site, never a file."""


class SiteError(RuntimeError):
    """Raised when a site failed or did not answer. The message names no file."""


class RefusedInputsError(ValueError):
    """Raised at the end of a run that refused some inputs and completed the others."""


REPORTED = (NonFiniteLossError, ManifestError, UpdateError, SiteError)
"""Errors whose messages name only sites and tensors, so that they may leave a site."""


def reported_error(error: Exception) -> str:
    """Returns the message of an error if it may leave the site, and otherwise only the kind of the error."""
    if isinstance(error, REPORTED):
        return str(error)
    return f"the site's round ended with {type(error).__name__}; the site's own log says more"


def refusal(error: BaseException, *names: str) -> str:
    """Returns the message of the first cause of an error that is a ValueError and names an input.

    MONAI wraps the errors of transforms and of configured components in errors of its own.

    Parameters
    ----------
    error
        The error that was raised.
    names
        The inputs, for example the path of an image and the path of its label. If no cause names an input, the first
        of them (or the error) stands before the kind and the message of the first cause.
    """
    causes = _causes(error)
    for cause in causes:
        if isinstance(cause, ValueError) and any(name in str(cause) for name in names or ("",)):
            return str(cause)
    if not names and len(causes) == 1:
        return str(error)
    return f"{names[0] if names else error}: {type(causes[-1]).__name__}: {causes[-1]}"


def _causes(error: BaseException) -> list[BaseException]:
    """Lists an error and its causes, the first cause last."""
    causes = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    return causes


DEBUG = "FEDMED_DEBUG"
"""Environment variable that shows the whole traceback of an error, where it is not empty."""

ERROR, BAD_INPUT, SOME_REFUSED, INTERRUPTED = 1, 2, 3, 130
"""Exit statuses besides 0: an error; a bad input or setting; done, but some inputs were refused; interrupted."""

COMMAND = "monai.bundle.__main__"
"""The module of the command ``python -m monai.bundle``."""


def end_with_cause() -> None:
    """Lets the command ``python -m monai.bundle`` end with the cause of an error as its last line, without a traceback.

    The exit status is 2 where the cause is a bad input or setting, 130 after an interruption and 1 for other errors.
    """
    module = getattr(sys.modules["__main__"], "__spec__", None)
    if module is not None and module.name == COMMAND and not os.environ.get(DEBUG):
        sys.excepthook = _end


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    text, status = last_line(error)
    print(text, file=sys.stderr)
    sys.exit(status)


def last_line(error: BaseException) -> tuple[str, int]:
    """Returns the cause of an error in one line, and the exit status of the command that the error ended.

    Examples
    --------
    >>> last_line(ValueError("rounds: found -1, expected a whole number of at least 0"))
    ('error: rounds: found -1, expected a whole number of at least 0', 2)
    >>> last_line(KeyError("image"))
    ("error: KeyError: 'image' (FEDMED_DEBUG=1 shows where)", 1)
    """
    causes = _causes(error)
    refused = next((cause for cause in causes if isinstance(cause, (ValueError, FileNotFoundError))), None)
    if refused is not None:
        return f"error: {_one_line(refused)}", SOME_REFUSED if isinstance(refused, RefusedInputsError) else BAD_INPUT
    ours = next((cause for cause in causes if isinstance(cause, OSError) or _is_ours(cause)), None)
    if ours is not None:
        return f"error: {_one_line(ours)}", ERROR
    return f"error: {type(causes[-1]).__name__}: {_one_line(causes[-1])} ({DEBUG}=1 shows where)", ERROR


def _is_ours(error: BaseException) -> bool:
    return type(error).__module__.startswith("fedmed_")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
