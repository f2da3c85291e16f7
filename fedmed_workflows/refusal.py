"""Why something was refused: the error that names the input, from beneath those of the libraries around it."""

from __future__ import annotations


def refusal(error: BaseException, name: str = "") -> str:
    """The message of the first of an error's causes that is a ValueError and names the input.

    MONAI wraps the errors of transforms and of configured components in its own.

    Parameters
    ----------
    error
        What was raised.
    name
        The input, for example an image's path; it stands before the message where no cause names it.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ValueError) and name in str(cause):
            return str(cause)
        cause = cause.__cause__
    return f"{name}: {error}" if name else str(error)
