"""The help of a command that runs a bundle: the settings, from the tables of the bundle's page."""

from __future__ import annotations

import re
import shutil
import textwrap
from pathlib import Path

PAGE = "docs/README.md"
"""The page of a bundle, with a table of the settings of each configuration."""

SECTION = r"^#+ Settings of [^\n]*`{}`[^\n]*\n(.*?)(?=^##? |^### Settings|\Z)"
LINK = r"\[([^]]*)\]\([^)]*\)"
WIDEST = 120


def settings_help(usage: str, purpose: str, root: Path | None, configuration: str) -> str:
    """Returns the help of a command.

    Parameters
    ----------
    usage, purpose
        The command's arguments and its purpose.
    root
        Folder of the bundle; None for the help without settings.
    configuration
        Name of the configuration whose settings are listed.
    """
    lines = [f"usage: {usage}", "", f"{purpose[0].upper()}{purpose[1:]}."]
    if root is None:
        return "\n".join([*lines, "With a BUNDLE, --help lists its settings."])
    width = min(WIDEST, shutil.get_terminal_size((WIDEST, 0)).columns)
    found = setting_rows(root, configuration)
    texts = [f"--{name} (default: {default})\n{_indented(meaning, width)}" for name, default, meaning in found]
    return "\n".join([*lines, "", f"Settings of {configuration}; none unsets a setting:", "", *texts])


def setting_rows(root: Path, configuration: str) -> list[tuple[str, str, str]]:
    """Reads the name, the default and the meaning of each setting; an empty list where the bundle has no page."""
    page = root / PAGE
    text = page.read_text("utf-8") if page.is_file() else ""
    section = re.search(SECTION.format(re.escape(configuration)), text, re.MULTILINE | re.DOTALL)
    lines = section[1].splitlines() if section else []
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    plain = [[re.sub(LINK, r"\1", cell).replace("`", "") for cell in row] for row in cells]
    return [(row[0], row[1], row[2] + (f" ({row[3]})" if row[3:] and row[3] else "")) for row in plain]


def _indented(text: str, width: int) -> str:
    return textwrap.fill(text, width, initial_indent="    ", subsequent_indent="    ")
