"""Privacy filters of NVFlare for a site's update: their check, and their entry in the configuration of a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pkgutil import resolve_name
from typing import Any

from nvflare.apis.filter import Filter

from fedmed_workflows.nvflare.wire.messages import TRAIN


def check_filters(filters: Sequence[Mapping[str, Any]]) -> None:
    """Builds each filter once, so that an error appears here and not at a site during the job.

    Parameters
    ----------
    filters
        The filters in order: ``{"path": class, "args": arguments of the class}``.

    Raises
    ------
    ValueError
        An entry is not a filter of NVFlare, or the filter refuses its arguments. The message names the entry.
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
    """Returns the part of a site's job configuration that applies filters to the answers of the training task."""
    entries = [{"path": entry["path"], "args": dict(entry.get("args", {}))} for entry in filters]
    return {"task_result_filters": [{"tasks": [TRAIN], "filters": entries}]}
