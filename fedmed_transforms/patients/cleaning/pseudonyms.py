"""Replaces UIDs, patients and dates by others, the same ones in all files of a folder, by a secret key.

Without the key nobody computes the old value from the new one, or checks a guess. The key is not in the copy.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import datetime, timedelta

LEAST_DAYS, MOST_DAYS = 365, 3650
"""Days by which the dates of a patient move back."""

OLDEST = 90
"""Years; a greater age becomes this one, as few people reach it (45 CFR 164.514(b)(2)(i)(C))."""

_date = re.compile(r"(\d{4})\.?(\d{2})?\.?(\d{2})?(.*)", re.DOTALL)


class Pseudonyms:
    """Computes the values of a cleaned copy.

    Parameters
    ----------
    key
        The secret. Copies that are made with one key have the same UIDs, patients and dates.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def _number(self, kind: str, value: str) -> int:
        return int.from_bytes(hmac.digest(self._key, f"{kind}/{value}".encode(), hashlib.sha256)[:16], "big")

    def uid(self, value: str) -> str:
        """Replaces a UID by one of the form of a random number (PS3.5, B.2)."""
        return f"2.25.{self._number('uid', value.strip())}" if value.strip() else value

    def patient(self, value: str) -> str:
        """Replaces a patient's number or name."""
        return f"P{self._number('patient', value.strip().casefold()):032x}"[:13].upper()

    def word(self, value: str) -> str:
        """Replaces a word of a file's name."""
        return f"x{self._number('word', value.casefold()):032x}"[:9]

    def shift(self, value: str, patient: str) -> str:
        """Moves a date, or a date with time, by the days of a patient; empty for a value that is no date.

        Parameters
        ----------
        value
            A value of DA or DT (PS3.5, 6.2).
        patient
            The patient; all dates of a patient move by the same number of whole days.
        """
        found = _date.fullmatch(value.strip())
        if not found:
            return ""
        year, month, day, rest = found.groups()
        days = LEAST_DAYS + self._number("days", patient.strip().casefold()) % (MOST_DAYS - LEAST_DAYS)
        try:
            moved = datetime(int(year), int(month or 7), int(day or 1)) - timedelta(days=days)
        except (ValueError, OverflowError):
            return ""
        length = 4 + 2 * bool(month) + 2 * bool(day)
        return f"{moved.year:04}{moved.month:02}{moved.day:02}"[:length] + (rest if day else "")


def bounded_age(value: str) -> str:
    """Replaces an age above 90 years by 90 years (AS, PS3.5, 6.2)."""
    return f"{OLDEST:03}Y" if value[-1:] == "Y" and value[:-1].isdigit() and int(value[:-1]) > OLDEST else value
