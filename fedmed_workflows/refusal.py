"""Why something was refused: the error that names the input, from beneath those of the libraries around it."""

from __future__ import annotations


def refusal(error: BaseException, *names: str) -> str:
    """The message of the first of an error's causes that is a ValueError and names an input.

    MONAI wraps the errors of transforms and of configured components in its own.

    Parameters
    ----------
    error
        What was raised.
    names
        The inputs, for example an image's path and its label's; the first stands before the message where no cause
        names any, and the kind and the message of the first cause.
    """
    cause: BaseException | None = error
    first = error
    while cause is not None:
        if isinstance(cause, ValueError) and any(name in str(cause) for name in names or ("",)):
            return str(cause)
        first, cause = cause, cause.__cause__
    return f"{names[0]}: {type(first).__name__}: {first}" if names else str(error)
