"""What a step before round 1 decides for a federation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preparation:
    """What a step before round 1 decided.

    Attributes
    ----------
    settings
        Entries of the training configuration to replace at the training sites.
    notes
        Remarks for the report's reader.
    """

    settings: dict[str, Any]
    notes: list[str]
