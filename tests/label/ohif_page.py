"""OHIF in a headless Chromium: what its viewports show, and where a segment's colour lies on the picture."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-unsafe-swiftshader",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
"""A root's browser without a screen or a graphics card, which reaches this machine alone."""

SCREENSHOTS = Path(__file__).parents[2] / "runs" / "screenshots"

SHOWN_SECONDS = 120.0


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with an empty profile.

    Raises
    ------
    RuntimeError
        It is not installed.
    """
    if not CHROMIUM.is_file():
        raise RuntimeError(f"no {CHROMIUM} here; expected 'apt-get install --no-install-recommends chromium'")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


class OhifPage:
    """A study in one of OHIF's modes, ``monai-label`` or ``segmentation``; its picture is there."""

    def __init__(self, browser: Browser, server: str, mode: str, study: str) -> None:
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        context.add_cookies([{"name": "MONAILABEL_SERVER_URL", "value": f"{server}/", "url": server}])
        self.page: Page = context.new_page()
        self.page.goto(f"{server}/ohif/{mode}?StudyInstanceUIDs={study}", timeout=1000 * SHOWN_SECONDS)
        self.page.get_by_role("button", name="Confirm and Hide").click(timeout=1000 * SHOWN_SECONDS)
        assert until(self._settled), "OHIF shows no picture that stays"

    def segment(self, model: str) -> None:
        """Connects the panel to the server and has a model segment the picture."""
        self.page.locator(".settingsTable .actionButton").click()
        self.page.get_by_text("Auto-Segmentation").click(timeout=1000 * SHOWN_SECONDS)
        tab = self.page.locator(".tab", has_text="Auto-Segmentation")
        tab.locator("select").select_option(model)
        tab.get_by_title("Run Segmentation", exact=True).click()

    def open_segmentation(self) -> None:
        """Opens the study's only DICOM SEG over its picture."""
        self.page.locator('[data-cy^="study-browser-thumbnail"]', has_text="SEG").dblclick()
        self.page.get_by_role("button", name="Yes").click(timeout=1000 * SHOWN_SECONDS)

    def views(self) -> list[np.ndarray]:
        """Returns the pictures that the viewports show: (rows, columns, 3), 0 to 255."""
        canvases = self.page.locator("canvas.cornerstone-canvas")
        boxes = canvases.evaluate_all("all => all.map(one => one.getBoundingClientRect().toJSON())")
        shown = np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")).astype(int)
        edges = [[round(box[edge]) for edge in ("top", "bottom", "left", "right")] for box in boxes]
        return [shown[top:bottom, left:right] for top, bottom, left, right in edges]

    def save(self, name: str) -> None:
        """Keeps a picture of the whole page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")

    def close(self) -> None:
        """Ends it, its cookies too."""
        self.page.context.close()

    def _settled(self) -> bool:
        before = self.views()
        time.sleep(1)
        after = self.views()
        same = len(before) == len(after) > 0 and all(map(np.array_equal, before, after))
        return same and all(bright(view).any() for view in after)


def bright(view: np.ndarray) -> np.ndarray:
    """Where a view is brighter than half, by its red: the phantom's pattern, under an overlay too."""
    return np.asarray(view[..., 0] > 127)


def coloured(view: np.ndarray) -> np.ndarray:
    """Where a view has a colour, a segment's or one of OHIF's own marks: the picture is grey."""
    return np.asarray(view.max(axis=-1) - view.min(axis=-1) > 20)


def until(reached: Callable[[], Any]) -> bool:
    """Waits, and says whether it was reached in time."""
    end = time.monotonic() + SHOWN_SECONDS
    while time.monotonic() < end:
        if reached():
            return True
        time.sleep(0.5)
    return False
