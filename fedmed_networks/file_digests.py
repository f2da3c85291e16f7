"""The SHA-256 of a trained bundle's files in ``models/SHA256SUMS``, compared before a network is loaded.

The file has the format of the command ``sha256sum``: ``cd models && sha256sum -c SHA256SUMS`` compares it, too.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from fedmed_networks.weights import file_digest

SUMS = "SHA256SUMS"
"""Name of the list, in the folder of the networks."""

LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")


def check_digest(path: str | Path) -> None:
    """Compares the file of a network, the data beside it and the configurations with the list in the file's folder.

    A folder without a list, and a file that does not exist, are not refused here.

    Parameters
    ----------
    path
        The file of a network, for example ``models/model.pt`` or ``models/model.onnx``.

    Raises
    ------
    ValueError
        A file is not listed, is missing, or has another SHA-256. The message names the file, the digests found and
        expected, and the command that lists a file.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from fedmed_networks import check_digest
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "model.pt")
    ...     _ = file.write_bytes(b"network")
    ...     _ = Path(folder, "SHA256SUMS").write_text(f"{file_digest(file)}  model.pt")
    ...     check_digest(file)
    """
    file = Path(path)
    sums = file.parent / SUMS
    if not sums.is_file() or not file.is_file():
        return
    expected = read_digests(sums)
    others = sorted(name for name in expected if name.startswith("../"))
    for name in [*sorted(beside.name for beside in file.parent.glob(f"{file.name}*")), *others]:
        _compare(file.parent / name, expected.get(name), sums, name)


def loaded_digest(file: Path) -> str:
    """Computes the SHA-256 of a file; a file that was not written since is read once."""
    state = file.stat()
    return _digest(file, state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(maxsize=64)
def _digest(file: Path, *written: int) -> str:
    return file_digest(file)


def _compare(file: Path, expected: str | None, sums: Path, name: str) -> None:
    listing = f"(cd {sums.parent} && sha256sum {name} >> {SUMS}); the last line of a file counts"
    if expected is None:
        raise ValueError(f"{file}: {sums} does not list this file, so no damage could be seen; list it: {listing}")
    found = loaded_digest(file) if file.is_file() else "no file"
    if found != expected.lower():
        raise ValueError(
            f"{file}: found the SHA-256 {found}, expected {expected} as in {sums}: the file is damaged or was changed; "
            f"copy it again, or, after a change of your own, list it again: {listing}"
        )


def read_digests(sums: Path) -> dict[str, str]:
    """Reads a list: the SHA-256 by file name; the last line of a file counts.

    Raises
    ------
    ValueError
        A line is not one of sha256sum; the message names the list and the line.
    """
    found = {}
    for number, line in enumerate(sums.read_text("utf-8").splitlines(), start=1):
        match = LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{sums}: line {number}: expected a SHA-256 and a file's name, as sha256sum writes them")
        found[match[2]] = match[1]
    return found
