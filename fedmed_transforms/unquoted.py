"""Headers are read and copied without a word of what they say: pydicom and highdicom quote values, perhaps a patient's.

Both warn of a strange value, pydicom also logs it, and an error's text holds the value that caused it.
"""

from __future__ import annotations

import logging
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def unquoted() -> Iterator[None]:
    """Keeps back the warnings of a block and what pydicom logs in it."""
    logger = logging.getLogger("pydicom")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


@contextmanager
def unquoted_errors(source: str | Path, expected: str) -> Iterator[None]:
    """Keeps back also the texts of a block's errors.

    Parameters
    ----------
    source
        The file whose header is read or copied.
    expected
        What it should have been, to end the sentence "expected ...".

    Raises
    ------
    ValueError
        Instead of any error in the block; the message names the file, and the kind and the place of the error.
    """
    try:
        with unquoted():
            yield
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}, line {last.lineno}"
        raise ValueError(f"{source}: expected {expected}, found {type(error).__name__} in {place}") from None
