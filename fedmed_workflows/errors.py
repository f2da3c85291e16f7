"""Errors whose messages may leave a site, and the messages that refusals show."""

from __future__ import annotations


class ManifestError(ValueError):
    """Raised for tensors that do not match a manifest. The message names tensors, never a file of a site."""


class NonFiniteLossError(RuntimeError):
    """Raised when a loss became NaN or infinite. The message names no file."""


class UpdateError(ValueError):
    """Raised for an update with wrong claims of its site. The message names the site, never a file."""


class SiteError(RuntimeError):
    """Raised when a site failed or did not answer. The message names no file."""


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
    cause: BaseException | None = error
    first = error
    while cause is not None:
        if isinstance(cause, ValueError) and any(name in str(cause) for name in names or ("",)):
            return str(cause)
        first, cause = cause, cause.__cause__
    if not names and first is error:
        return str(error)
    return f"{names[0] if names else error}: {type(first).__name__}: {first}"
