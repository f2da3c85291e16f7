"""Sends requests to a DICOMweb server, repeats them while the connection is broken, and explains refusals."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from operator import not_
from typing import TypeVar
from urllib.parse import urlsplit

import requests

from fedmed_transforms.dicom.silenced_parsers import silenced_parsers
from fedmed_transforms.studies.dicomweb.errors import (
    TEMPORARY,
    UnexpectedAnswer,
    is_damaged,
    is_untrusted_certificate,
    may_pass,
    reason,
)
from fedmed_transforms.studies.dicomweb.unreachable import ServerUnreachable

try:
    from dicomweb_client import DICOMwebClient
    from dicomweb_client.session_utils import create_session, create_session_from_auth
    from tenacity import (
        RetryCallState,
        Retrying,
        retry_if_exception,
        retry_if_result,
        stop_any,
        stop_before_delay,
        wait_exponential,
        wait_random,
    )
except ImportError as error:
    raise ImportError(f"DICOMweb: {error}; expected pip install 'fedmed[clinic]'") from error

TOKEN = "DICOMWEB_TOKEN"
"""Name of the environment variable with a bearer token."""

PATIENCE = 60.0
"""Seconds during which a request without an answer is repeated."""

CONNECT_SECONDS, READ_SECONDS = 10.0, 120.0
"""Seconds within which a server must accept a connection, and must send the next part of its answer."""

DAMAGED_ATTEMPTS = 3
"""Number of damaged answers after which the request fails."""

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0  # seconds between two attempts

INSTANCE_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
"""Keywords of the UIDs that identify an instance and form its address."""

UID_FORM = re.compile(r"[0-9]+(\.[0-9]+)*")

LONGEST_UID = 64

Answer = TypeVar("Answer")

_log = logging.getLogger(__name__)

logging.getLogger("retrying").setLevel(logging.ERROR)  # dicomweb-client logs a traceback of each broken request


class BearerToken(requests.auth.AuthBase):
    """Sends a bearer token without showing it in `repr`."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Adds the token to a request."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class PlainWildcards(requests.adapters.HTTPAdapter):
    """Sends ``*`` and ``?`` of a query without escapes, as RFC 3986 allows: some archives do not decode the escapes."""

    def request_url(self, request: requests.PreparedRequest, proxies: Mapping[str, str] | None) -> str:
        """Returns the path and the query to send."""
        path, mark, query = super().request_url(request, proxies).partition("?")
        return path + mark + query.replace("%2A", "*").replace("%3F", "?")


class DicomWebServer:
    """Connects to the DICOMweb services of a server: QIDO-RS, WADO-RS and STOW-RS below one address.

    The name and password of a user come from ``~/.netrc`` (or the file that NETRC names), a bearer token from the
    environment variable DICOMWEB_TOKEN. For https, the system or the file that REQUESTS_CA_BUNDLE names must trust the
    certificate.

    Parameters
    ----------
    url
        Address of the services, such as ``https://archive.hospital.org/dicom-web``.
    patience
        Seconds during which a request is repeated, at growing intervals, while the server cannot be reached, breaks the
        connection or answers with a temporary error.

    Raises
    ------
    ValueError
        The address is no http or https address, or holds a password.
    """

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        self.url = _checked_url(url)
        self.patience = patience
        token = os.environ.get(TOKEN)
        session = create_session_from_auth(BearerToken(token)) if token else create_session()
        session.headers["Accept"] = "application/dicom+json"  # the client requests no format for the answer of a store
        for scheme in ("http://", "https://"):
            session.mount(scheme, PlainWildcards())
        self._client = DICOMwebClient(self.url, session=session, timeout=(CONNECT_SECONDS, READ_SECONDS))
        self._client.set_http_retry_params(retry=False)  # the client repeats a large store without its content

    def ask(self, request: Callable[[DICOMwebClient], Answer], subject: str) -> Answer:
        """Sends a request, repeats it after temporary errors, and returns the answer.

        Parameters
        ----------
        request
            Function that sends the request and reads the complete answer.
        subject
            Subject of the request for error messages: "study 1.2.3".

        Raises
        ------
        ServerUnreachable
            The server was not reached, answers with a temporary error, or requires a login.
        ValueError
            The server refused the request, or its answer is damaged; the message has the address, the subject, and what
            was found.
        """
        kind: type[ValueError] = ValueError
        try:
            with silenced_parsers():
                return self._retrying()(request, self._client)
        except UnexpectedAnswer as error:
            found, expected = error.args
        except requests.JSONDecodeError:
            found, expected = "no JSON", "an answer of a DICOMweb server"
        except requests.HTTPError as error:
            found, expected = _refusal(error.response)
            kind = ServerUnreachable if error.response.status_code in (401, *TEMPORARY) else ValueError
        except requests.RequestException as error:
            kind = ServerUnreachable
            found, expected = f"{reason(error)} for {self.patience:g} s", "a DICOMweb server that answers"
            if is_untrusted_certificate(error):
                found, expected = "an untrusted certificate", "one of an authority that this machine trusts"
        except OSError:  # an error of this machine's disk
            raise
        except Exception as error:  # a damaged answer can raise any error, whose text may quote a patient's data
            found, expected = f"a damaged answer ({type(error).__name__})", "a complete answer"
        raise kind(f"{self.url}: {subject}: found {found}, expected {expected}")

    def ask_until(self, request: Callable[[DICOMwebClient], bool], subject: str, seconds: float) -> bool:
        """Repeats a request until its answer is true or the seconds are over; returns the last answer.

        Raises
        ------
        ValueError
            As in :meth:`ask`.
        """
        asking = Retrying(
            retry=retry_if_result(not_),
            stop=stop_before_delay(min(seconds, self.patience)),
            wait=wait_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE),
            retry_error_callback=lambda state: False,
        )
        return bool(asking(self.ask, request, subject))

    def _retrying(self) -> Retrying:
        return Retrying(
            retry=retry_if_exception(may_pass),
            stop=stop_any(stop_before_delay(self.patience), _is_damaged_again),
            wait=wait_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE) + wait_random(0, FIRST_PAUSE),
            before_sleep=self._log_retry,
            reraise=True,
        )

    def _log_retry(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is not None:
            _log.warning("%s: %s; repeats the request, attempt %d", self.url, reason(error), state.attempt_number + 1)


def checked_uid(uid: object, role: str) -> str:
    """Returns a UID that is safe in an address and in a file's name.

    Raises
    ------
    ValueError
        The text is no UID; the message has the role.
    """
    text = str(uid)
    if len(text) > LONGEST_UID or not UID_FORM.fullmatch(text):
        raise ValueError(f"{role}: expected a UID, up to {LONGEST_UID} digits and dots, found {text[:LONGEST_UID]!r}")
    return text


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"dicomweb: expected an address as https://host/dicom-web, found {url!r}")
    if "@" in parts.netloc:
        raise ValueError(
            f"dicomweb: found a name or a password in the address of {parts.hostname}, expected them in ~/.netrc"
        )
    return url.rstrip("/")


def _refusal(response: requests.Response) -> tuple[str, str]:
    """Returns the texts for found and expected of a refused request."""
    found = f"{response.status_code} {response.reason}"
    if response.status_code in (401, 403):
        return found, f"access: a name and a password in ~/.netrc, or a token in {TOKEN}"
    return found, "it there" if response.status_code == 404 else "the request to be granted"


def _is_damaged_again(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    return state.attempt_number >= DAMAGED_ATTEMPTS and error is not None and is_damaged(error)
