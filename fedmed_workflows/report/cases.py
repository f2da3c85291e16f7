"""The pictures of best, median and worst cases that a page shows, where the sites' folders lie beside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedmed_workflows.case_overlays import CASES

PNG = b"\x89PNG\r\n\x1a\n"


def case_rows(result: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """One row for every site whose final score names cases.

    Parameters
    ----------
    result
        The run. What it says of a file is a site's word: only a picture within the site's own folder is taken.
    folder
        The run's folder; a site's pictures lie in ``sites/SITE`` below it, or nowhere, if they stayed at the site.

    Returns
    -------
    list
        ``site`` and ``cases``: by case its ``dice`` and the picture as ``base64``, None where there is none.
    """
    rows = []
    for site in result["sites"]:
        cases = {case["case"]: case for case in result["final"].get(site["name"], {}).get("cases", [])}
        shown = {
            name: {"dice": cases[name]["dice"], "base64": _picture(folder / "sites", site["name"], cases[name]["file"])}
            for name in CASES
            if name in cases
        }
        if shown:
            rows.append({"site": site, "cases": shown})
    return rows


def _picture(sites: Path, site: str, file: str) -> str | None:
    folder = (sites / site).resolve()
    path = (folder / file).resolve()
    if folder.parent != sites.resolve() or not path.is_relative_to(folder) or not path.is_file():
        return None
    content = path.read_bytes()
    return base64.b64encode(content).decode() if content.startswith(PNG) else None
