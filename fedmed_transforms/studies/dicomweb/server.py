"""A DICOMweb server that is asked again while its link is broken, and named with what it refused."""

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
    PASSING,
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
"""The environment variable that holds a bearer token."""

PATIENCE = 60.0
"""Seconds for which a server that does not answer is asked again."""

CONNECTS, ANSWERS = 10.0, 120.0
"""Seconds within which a server has to take a connection, and to send the next part of its answer."""

DAMAGED = 3
"""Attempts after which a damaged answer is taken for what the server has."""

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0  # seconds between one attempt and the next

PLACE = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
"""What names an instance, and its address."""

UID_FORM = re.compile(r"[0-9]+(\.[0-9]+)*")

LONGEST_UID = 64

Answer = TypeVar("Answer")

_log = logging.getLogger(__name__)

logging.getLogger("retrying").setLevel(logging.ERROR)  # dicomweb-client's: it logs a traceback of each broken request


class BearerToken(requests.auth.AuthBase):
    """States a token, which the session's own pictures of itself leave out."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Adds the token to a request."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class PlainWildcards(requests.adapters.HTTPAdapter):
    """Sends ``*`` and ``?`` of a query as they are, which RFC 3986 allows: some archives do not read them escaped."""

    def request_url(self, request: requests.PreparedRequest, proxies: Mapping[str, str] | None) -> str:
        """The path and the query that are sent."""
        path, mark, query = super().request_url(request, proxies).partition("?")
        return path + mark + query.replace("%2A", "*").replace("%3F", "?")


class DicomWebServer:
    """The DICOMweb services of a server: QIDO-RS, WADO-RS and STOW-RS below one address.

    A user's name and password are those that ``~/.netrc`` (or the file that NETRC names) holds for the host; a bearer
    token is that of the environment variable DICOMWEB_TOKEN. Of https, the certificate has to be one that the system,
    or the file that REQUESTS_CA_BUNDLE names, vouches for.

    Parameters
    ----------
    url
        Of the services, as ``https://archive.hospital.org/dicom-web``.
    patience
        Seconds for which a request is repeated, at growing distances, while the server can't be reached, breaks off or
        answers with an error that may pass.

    Raises
    ------
    ValueError
        The address is no http or https, or holds a password.
    """

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        self.url = _checked_url(url)
        self.patience = patience
        token = os.environ.get(TOKEN)
        session = create_session_from_auth(BearerToken(token)) if token else create_session()
        session.headers["Accept"] = "application/dicom+json"  # for a store's answer, of which the client says nothing
        for scheme in ("http://", "https://"):
            session.mount(scheme, PlainWildcards())
        self._client = DICOMwebClient(self.url, session=session, timeout=(CONNECTS, ANSWERS))
        self._client.set_http_retry_params(retry=False)  # its own would repeat a large store without its content

    def ask(self, request: Callable[[DICOMwebClient], Answer], subject: str) -> Answer:
        """What the server answers to a request, which may be made several times.

        Parameters
        ----------
        request
            Makes the request and reads all of the answer.
        subject
            What it is about, for messages: "study 1.2.3".

        Raises
        ------
        ServerUnreachable
            The server was not reached, or answers with an error that may pass, or to nobody.
        ValueError
            The server refused the request, or its answer is damaged; the message names its address, the subject, and
            what was found.
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
            kind = ServerUnreachable if error.response.status_code in (401, *PASSING) else ValueError
        except requests.RequestException as error:
            kind = ServerUnreachable
            found, expected = f"{reason(error)} for {self.patience:g} s", "a DICOMweb server that answers"
            if is_untrusted_certificate(error):
                found, expected = "a certificate that nobody vouches for", "one of an authority that is trusted here"
        except OSError:  # of this machine's disk
            raise
        except Exception as error:  # every way in which what was sent can be no DICOM; its text may quote a patient's
            found, expected = f"a damaged answer ({type(error).__name__})", "a whole one"
        raise kind(f"{self.url}: {subject}: found {found}, expected {expected}")

    def ask_until(self, request: Callable[[DICOMwebClient], bool], subject: str, seconds: float) -> bool:
        """Makes a request until its answer is yes, for some seconds; whether it came to be so.

        Raises
        ------
        ValueError
            As of :meth:`ask`.
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
            before_sleep=self._say,
            reraise=True,
        )

    def _say(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is not None:
            _log.warning("%s: %s; asked again, attempt %d", self.url, reason(error), state.attempt_number + 1)


def checked_uid(uid: object, role: str) -> str:
    """A UID as it may stand in an address and in a file's name.

    Raises
    ------
    ValueError
        It is something else; the message says of what it should have been the UID.
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
    """What was found and what was expected."""
    found = f"{response.status_code} {response.reason}"
    if response.status_code in (401, 403):
        return found, f"access: a name and a password in ~/.netrc, or a token in {TOKEN}"
    return found, "it there" if response.status_code == 404 else "the request to be granted"


def _is_damaged_again(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    return state.attempt_number >= DAMAGED and error is not None and is_damaged(error)
