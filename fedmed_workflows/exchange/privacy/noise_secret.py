"""The secret of a site: its noise is drawn from it, and it never leaves the site."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from fedmed_transforms.whole_file import whole_file

BYTES = 32
"""Length of a secret in bytes."""


class NoiseSecret:
    """Keeps 32 random bytes in a file that only its owner may read, and draws noise from them.

    All other random values of a federation come from (seed, site, round). The server knows these three, so it could
    compute noise drawn from them and subtract it. The noise of an answer is therefore drawn from the secret and from
    the answer: a restarted run gives the same answer with the same noise, bit for bit, and another answer in the same
    round gets other noise. With the same noise, the difference of two answers would show their updates without noise.

    Parameters
    ----------
    file
        The secret's file. Anyone who can read it can subtract the noise.
    begun
        Whether the site has answered before, so that the secret must exist.

    Raises
    ------
    ValueError
        The file is missing, is damaged, or can be read by others than its owner.
    """

    def __init__(self, file: Path, begun: bool) -> None:
        if not file.is_file():
            if begun:
                raise ValueError(f"{file}: no such file, expected the secret of the site's earlier rounds")
            _make(file)
        mode = file.stat().st_mode & 0o777
        if mode & 0o077:
            raise ValueError(f"{file}: found mode {mode:04o}, expected 0600: a secret is its owner's alone")
        self._secret = file.read_bytes()
        if len(self._secret) != BYTES:
            raise ValueError(f"{file}: found {len(self._secret)} bytes, expected a secret of {BYTES}")

    def normal(self, purpose: str, count: int) -> NDArray[np.float64]:
        """Draws standard normal values; they are always the same for one purpose and independent between purposes.

        Parameters
        ----------
        purpose
            Text that identifies the use of the values.
        count
            Number of values.

        Notes
        -----
        The bytes are SHAKE256 of secret and purpose. Known values do not reveal other values, as the state of a usual
        generator would. Every 52 bits are a probability, and its quantile of the normal distribution is the value.
        """
        stream = hashlib.shake_256(self._secret + purpose.encode()).digest(8 * count)
        bits = np.frombuffer(stream, dtype="<u8") >> 12
        values: NDArray[np.float64] = ndtri((bits + 0.5) * 2.0**-52)
        return values


def _make(file: Path) -> None:
    with whole_file(file) as temporary:
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            target.write(secrets.token_bytes(BYTES))
