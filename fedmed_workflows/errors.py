"""Refusals: errors that may leave a site, and the one of an error's causes that names the input."""

from __future__ import annotations


class ManifestError(ValueError):
    """Tensors that do not match a manifest. Its message names tensors, never a file of a site."""


class NonFiniteLossError(RuntimeError):
    """A loss became NaN or infinite. The message names no file."""


class UpdateError(ValueError):
    """An update that is refused for what the site claims. Its message names the site, never a file."""


class SiteError(RuntimeError):
    """What a site said of its failure, or what is said of a site that said nothing. Its message names no file."""


REPORTED = (NonFiniteLossError, ManifestError, UpdateError, SiteError)
"""Errors whose messages name sites and tensors only."""


def reported_error(error: Exception) -> str:
    """An error's message where it may leave the site, its kind where it may not."""
    if isinstance(error, REPORTED):
        return str(error)
    return f"the site's round ended with {type(error).__name__}; the site's own log says more"


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
