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
        The inputs, for example an image's path and its label's; where no cause names any, the first of them (or the
        error) stands before the kind and the message of the first cause.
    """
    cause: BaseException | None = error
    first = error
    while cause is not None:
        if isinstance(cause, ValueError) and any(name in str(cause) for name in names or ("",)):
            return str(cause)
        first, cause = cause, cause.__cause__
    if not names and first is error:
        return str(error)
    return f"{names[0] if names else error}: {type(first).__name__}: {first}"
