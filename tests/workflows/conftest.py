"""What tests of reports share, a page as its tags, its text and its tables; and an aggregate all at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from fedmed_workflows.aggregation import Aggregation, Before, Update


class Page(HTMLParser):
    """The tags of a page, its text, and the text of its table rows by cell."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.in_cell = False
        self.feed(content)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] != "style":
            self.words.append(data)
            if self.in_cell:
                self.rows[-1][-1] = f"{self.rows[-1][-1]} {data}".strip()

    def row(self, *start: str) -> list[str]:
        """The only row that starts with these cells."""
        (found,) = [row for row in self.rows if row[: len(start)] == list(start)]
        return found


@pytest.fixture(scope="session")
def read_page() -> Callable[[Path], Page]:
    """Reads a page from its file."""
    return lambda path: Page(path.read_text("utf-8"))


@pytest.fixture(scope="session")
def aggregated() -> Callable[..., dict[str, torch.Tensor]]:
    """The whole aggregate of updates, of sites that began with zeros where a test does not say with what."""

    def all_at_once(
        aggregation: Aggregation, updates: Mapping[str, Update], before: Before | None = None
    ) -> dict[str, torch.Tensor]:
        zeros = {name: torch.zeros_like(value) for update in updates.values() for name, value in update.weights.items()}
        return {tensor.name: tensor.value for tensor in aggregation.aggregate(updates, before or Before(zeros))}

    return all_at_once
