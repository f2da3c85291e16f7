"""Renders pages from templates, with their figures included."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FunctionLoader, StrictUndefined
from matplotlib.figure import Figure

from fedmed_transforms.whole_file import write_whole
from fedmed_workflows.drawing import png
from fedmed_workflows.report.figures.curves import byte_unit


def render(template: str, values: Mapping[str, Any]) -> str:
    """Renders one of this package's templates. A value that the template needs and `values` lacks is an error."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    # Names of sites and classes are untrusted input, so everything is escaped. A misspelt name is an error.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        loader=FunctionLoader(template_source),
    )  # fmt: skip
    environment.filters |= {
        "size": readable_size,
        "json": lambda value: json.dumps(value, ensure_ascii=False),
        "address": lambda name: quote(name, safe=""),
        "path": quote,
    }
    return environment


def write_figures(
    drawn: Mapping[str, Figure], folder: Path, captions: Mapping[str, tuple[str, str]]
) -> list[dict[str, Any]]:
    """Writes figures to ``figures/NAME.png`` in a folder; returns the entries that a page needs to show them."""
    pictures = []
    for name, figure in drawn.items():
        content = png(figure)
        write_whole(folder / "figures" / f"{name}.png", content)
        pictures.append(_picture(name, figure, content, captions))
    return pictures


def _picture(name: str, figure: Figure, content: bytes, captions: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Returns the entry of a picture. Only the first of several sheets has the caption."""
    kind, sheet = re.sub(r"_\d+$", "", name), re.search(r"_(\d+)$", name)
    title, caption = captions[kind]
    return {
        "title": f"{title} ({sheet[1]})" if sheet else title,
        "caption": caption if not sheet or sheet[1] == "1" else "",
        "base64": base64.b64encode(content).decode(),
        "width": round(figure.get_figwidth() * 100),
        "height": round(figure.get_figheight() * 100),
    }


def template_source(name: str) -> str:
    """Reads the text of one of this package's templates."""
    return files("fedmed_workflows.report").joinpath(name).read_text("utf-8")


def readable_size(number: int) -> str:
    """Formats a number of bytes in the largest unit that suits it."""
    size, unit = byte_unit(number)
    return f"{number / size:.{0 if size == 1 else 2}f} {unit}"
