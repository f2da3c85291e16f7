"""Privacy filters of NVFlare on what a site sends after a round: checked here, and named in the job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pkgutil import resolve_name
from typing import Any

from nvflare.apis.filter import Filter

from fedmed_workflows.nvflare.wire.messages import TRAIN


def check_filters(filters: Sequence[Mapping[str, Any]]) -> None:
    """Builds each filter once, so that a mistake is told here and does not end the job at a site.

    Parameters
    ----------
    filters
        In the order in which they are applied: ``{"path": class, "args": its arguments}``.

    Raises
    ------
    ValueError
        An entry names no filter of NVFlare, or its arguments are refused; the message names the entry.
    """
    for index, entry in enumerate(filters):
        if set(entry) - {"args"} != {"path"}:
            raise ValueError(f"filters#{index}: expected the entries 'path' and 'args', found {sorted(entry)}")
        try:
            built = resolve_name(entry["path"])(**entry.get("args", {}))
        except Exception as error:
            raise ValueError(f"filters#{index}: {entry['path']}: {error}") from error
        if not isinstance(built, Filter):
            raise ValueError(f"filters#{index}: expected a filter of NVFlare, found {entry['path']}")


def result_filters(filters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The part of a site's job configuration that has NVFlare apply filters to the answers of the training task."""
    entries = [{"path": entry["path"], "args": dict(entry.get("args", {}))} for entry in filters]
    return {"task_result_filters": [{"tasks": [TRAIN], "filters": entries}]}
