"""Colours, sizes and the file format of all pictures."""

from __future__ import annotations

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 150
"""Resolution of the pictures, sufficient for print."""

TRAINING, UNSEEN, LIGHT = "#0072B2", "#D55E00", "#56B4E9"
"""Blue, vermilion and sky blue of Okabe and Ito, distinguishable with any colour vision."""

MUTED = "#C4C4C4"
"""Grey for the background."""

PAGE_WIDTH, PAGE_HEIGHT = 8.4, 11.4
"""Maximum size of a picture in inches, with the proportion of a printed page."""

TITLE_SIZE, LABEL_SIZE, TICK_SIZE = 10, 9, 8
"""Font sizes in points."""


def png(figure: Figure) -> bytes:
    """Draws a figure as a PNG file; the same figure gives the same bytes."""
    figure.set_dpi(DPI)
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content, metadata={"Software": None})
    return content.getvalue()


def shorten(name: str, room: int) -> str:
    """Shortens a name for a picture to one line of at most `room` characters; escapes ``$``, which starts a formula."""
    line = " ".join(str(name).split())
    if len(line) > room:
        line = f"{line[: room - room // 2 - 1]}…{line[-(room // 2) :]}"
    return line.replace("$", r"\$")
