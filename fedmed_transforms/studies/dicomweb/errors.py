"""Classifies the errors of requests to a DICOMweb server: their reason, and whether a retry may succeed."""

from __future__ import annotations

import ssl

import requests

BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
"""Errors of a connection that is down or breaks."""

TEMPORARY = (408, 425, 429, 500, 502, 503, 504)
"""Status codes that do not depend on the request: a retry may succeed."""


class UnexpectedAnswer(Exception):
    """A complete answer that does not fit the request; the arguments are the texts for found and expected."""


def reason(error: BaseException) -> str:
    """Describes why a request failed, without the request, because its query may hold a patient's name."""
    if isinstance(error, UnexpectedAnswer):
        return f"found {error.args[0]}"
    if isinstance(error, requests.HTTPError):
        return f"{error.response.status_code} {error.response.reason}"
    first = _first_cause(error)
    return (first.strerror if isinstance(first, OSError) else None) or type(first).__name__


def may_pass(error: BaseException) -> bool:
    """Checks whether a retry may succeed: the connection broke, the server was busy, or the answer is damaged.

    A broken connection can cause a damaged answer, because servers send streams of unknown length.
    """
    if is_damaged(error):
        return True
    if isinstance(error, requests.HTTPError):
        return error.response.status_code in TEMPORARY
    return isinstance(error, BROKEN) and not is_untrusted_certificate(error)


def is_damaged(error: BaseException) -> bool:
    """Checks whether the error comes from an answer that cannot be parsed."""
    others = isinstance(error, Exception) and not isinstance(error, OSError)  # requests' errors are OSErrors
    return others or isinstance(error, requests.JSONDecodeError)


def is_untrusted_certificate(error: BaseException) -> bool:
    """Checks whether no authority that this machine trusts issued the server's certificate."""
    return isinstance(_first_cause(error), ssl.SSLCertVerificationError)


def _first_cause(error: BaseException) -> BaseException:
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error
