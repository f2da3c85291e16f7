"""What of a site's error leaves the site: its other messages may name files, and files may name patients."""

from __future__ import annotations

from fedmed_workflows.exchange import ManifestError


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
