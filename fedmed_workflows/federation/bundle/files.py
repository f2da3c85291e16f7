"""The digests (SHA-256) of a bundle's files, compared before any file is parsed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fedmed_networks.weights import file_digest
from fedmed_workflows.errors import SiteError

NOT_COMPARED = ("models", "eval")
"""Folders that training fills; the digest of the manifest compares the weights."""


def bundle_files(bundle_root: str | Path) -> dict[str, str]:
    """Computes the SHA-256 of every file of a bundle, by its path in the bundle's folder.

    Raises
    ------
    SiteError
        The folder holds no bundle; the message names the bundle and not the folder.
    """
    root = Path(bundle_root)
    files = {
        path.relative_to(root).as_posix(): file_digest(path)
        for path in sorted(root.rglob("*"))
        if path.is_file() and _belongs(path.relative_to(root))
    }
    if "configs/federated.json" not in files:
        raise SiteError(f"bundle {root.name!r}: not installed here, expected configs/federated.json in its folder")
    return files


def check_bundle(bundle_root: str | Path, expected: Mapping[str, str]) -> None:
    """Refuses a bundle with other files than expected.

    Raises
    ------
    SiteError
        The message names the bundle and the files that differ, are missing or are not expected.
    """
    found = bundle_files(bundle_root)
    differing = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    if differing:
        listed = "; ".join(
            f"{name}: found {found.get(name, 'no file')}, expected {expected.get(name, 'no file')}"
            for name in differing
        )
        raise SiteError(f"bundle {Path(bundle_root).name!r} installed here is not the job's: {listed}")


def _belongs(path: Path) -> bool:
    return path.parts[0] not in NOT_COMPARED and not any(part.startswith((".", "__pycache__")) for part in path.parts)
