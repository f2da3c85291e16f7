"""A site's secret, from which its noise is drawn, and which never leaves it."""

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
"""Length of a secret."""


class NoiseSecret:
    """32 random bytes in a file that its owner alone may read, made once.

    All else that is random in a federation comes from (seed, site, round), and the server knows all three: noise drawn
    from them could be computed there and taken off again. Noise comes from this secret and from what is answered, so
    that the same answer of a restarted run has the same noise, bit for bit, while another answer in the same round has
    noise of its own; had it the same noise, the difference of the two would show the updates without any.

    Parameters
    ----------
    file
        The secret's file. Whoever reads it can take the noise off.
    begun
        Whether the site has answered before, and so must have the secret.

    Raises
    ------
    ValueError
        The file is missing, damaged, or open to others than its owner.
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
        """Standard normal values, always the same for a purpose and independent between purposes.

        Parameters
        ----------
        purpose
            What the values are for.
        count
            How many.

        Notes
        -----
        The bytes are SHAKE256 of secret and purpose: from known values nobody gets to others, as one would from the
        state of a usual generator. Every 52 bits become a probability, and the inverse normal distribution's value.
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
