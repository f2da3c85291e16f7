"""OHIF in a real browser: a segmentation lies on the picture, be it MONAI Label's or the inference command's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from monai.bundle import run

from tests.label.ohif_page import OhifPage, bright, chromium, coloured, until


@pytest.fixture(scope="module")
def browser(processes: None) -> Iterator[Any]:
    with chromium() as browser:
        yield browser


def study_of(folder: Path) -> str:
    return str(pydicom.dcmread(next(folder.iterdir())).StudyInstanceUID)


def dice(mask: np.ndarray, expected: np.ndarray) -> float:
    return float(2 * np.sum(mask & expected) / max(mask.sum() + expected.sum(), 1))


@pytest.mark.usefixtures("studied")
@pytest.mark.parametrize("model", ["fedsam_segmentation", "fedmsa_segmentation"])
@pytest.mark.parametrize("name", ["axial", "oblique"])
def test_the_overlay_is_on_the_picture(
    browser: Any, archive_label: Any, archived: dict[str, Path], name: str, model: str
) -> None:
    """In three planes, where the picture was bright before; mirrored it would lie elsewhere."""
    page = OhifPage(browser, archive_label.url, "monai-label", study_of(archived[name]))
    before = page.views()
    page.save(f"{model}_{name}_before")
    assert len(before) == 3 and max(dice(coloured(view), bright(view)) for view in before) < 0.1
    page.segment(model)

    def overlaid() -> list[float]:
        pairs = zip(page.views(), before, strict=True)
        return [dice(coloured(view) & ~coloured(picture), bright(picture)) for view, picture in pairs]

    reached = until(lambda: min(overlaid()) > 0.9)  # once: OHIF's coloured notice comes and goes over the third view
    page.save(f"{model}_{name}")
    assert reached, overlaid()
    assert dice(coloured(page.views()[1])[:, ::-1], bright(before[1])) < 0.8
    page.close()


@pytest.mark.parametrize("name", ["axial", "oblique"])
def test_a_result_of_the_inference_command_opens(
    browser: Any, archive_label: Any, archived: dict[str, Path], bundles: dict[str, Path], studied: Any, name: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.syspath_prepend(Path(__file__).parent)
    root, study = bundles["fedmsa_segmentation"], study_of(archived[name])
    run(config_file=str(root / "configs" / "inference.json"), bundle_root=str(root), device="cpu",
        dicomweb=studied.url, study=study, output_dir=str(tmp_path), channels={"Organ": [1]})  # fmt: skip
    page = OhifPage(browser, archive_label.url, "segmentation", study)
    page.open_segmentation()
    page.page.get_by_text("Organ", exact=True).wait_for()
    shown = []
    for _ in range(5):
        assert until(lambda: dice(coloured(page.views()[0]), bright(page.views()[0])) > 0.9)
        (view,) = page.views()
        shown.append((coloured(view) & bright(view)).sum())  # notices of OHIF's are dark
        page.save(f"result_{name}_{len(shown)}")
        page.page.keyboard.press("ArrowDown")
    assert np.array(shown) / shown[0] == pytest.approx([1, 3, 1, 4 / 3, 2], rel=0.05)
    page.close()
