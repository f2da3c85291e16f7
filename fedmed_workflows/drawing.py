"""Colours, sizes and files of all pictures."""

from __future__ import annotations

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 150
"""Of the pictures: sharp on paper."""


def png(figure: Figure) -> bytes:
    """The picture of a figure, the same bytes for the same figure."""
    figure.set_dpi(DPI)
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content, metadata={"Software": None})
    return content.getvalue()


TRAINING = "#0072B2"


UNSEEN = "#D55E00"


LIGHT = "#56B4E9"


MUTED = "#C4C4C4"
"""Blue, vermilion and sky blue of Okabe and Ito, told apart with any colour vision; grey for what is background."""


PAGE_WIDTH, PAGE_HEIGHT = 8.4, 11.4
"""Inches: the proportion of a sheet, so that a picture fits one."""


TITLE_SIZE, LABEL_SIZE, TICK_SIZE = 10, 9, 8


def shorten(name: str, room: int) -> str:
    """A name for a picture: on one line, without its middle where it is long, its dollars not taken for formulas."""
    line = " ".join(str(name).split())
    if len(line) > room:
        line = f"{line[: room - room // 2 - 1]}…{line[-(room // 2) :]}"
    return line.replace("$", r"\$")
