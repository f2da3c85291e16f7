"""What went wrong with a request to a DICOMweb server, and whether it may pass."""

from __future__ import annotations

import ssl

import requests

BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
"""Errors of a link that is down or breaks."""

PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Status codes that say nothing of the request: it may succeed when it is made again."""


class UnexpectedAnswer(Exception):
    """A whole answer that is not what was asked for: what was found, and what was expected."""


def reason(error: BaseException) -> str:
    """Why a request failed, without the request, whose query may hold a patient's name."""
    if isinstance(error, UnexpectedAnswer):
        return f"found {error.args[0]}"
    if isinstance(error, requests.HTTPError):
        return f"{error.response.status_code} {error.response.reason}"
    first = _first_cause(error)
    return (first.strerror if isinstance(first, OSError) else None) or type(first).__name__


def may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed the next time: the link broke, the server was busy, the answer is damaged.

    A damaged answer may be a broken link's: servers send streams whose length nobody knows before their end.
    """
    if is_damaged(error):
        return True
    if isinstance(error, requests.HTTPError):
        return error.response.status_code in PASSING
    return isinstance(error, BROKEN) and not is_untrusted_certificate(error)


def is_damaged(error: BaseException) -> bool:
    """Whether what was sent is no answer."""
    others = isinstance(error, Exception) and not isinstance(error, OSError)  # requests' errors are OSErrors
    return others or isinstance(error, requests.JSONDecodeError)


def is_untrusted_certificate(error: BaseException) -> bool:
    """Whether the server's certificate is of no authority that is trusted here."""
    return isinstance(_first_cause(error), ssl.SSLCertVerificationError)


def _first_cause(error: BaseException) -> BaseException:
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error
