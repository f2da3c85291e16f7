"""Tests the limits of a site's statistics for any job: no count below the site's least, no bare range, few bins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nvflare.apis.dxo import from_shareable
from nvflare.apis.fl_constant import ReservedKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.app_common.abstract.statistics_spec import StatisticConfig
from nvflare.app_common.executors.statistics.statistics_task_handler import StatisticsTaskHandler
from nvflare.fuel.utils import fobs
from PIL import Image

from fedmed_workflows.errors import SiteError
from fedmed_workflows.nvflare.site.environment import SiteEnvironment
from fedmed_workflows.nvflare.statistics.executor import SiteStatisticsExecutor
from fedmed_workflows.nvflare.statistics.image_statistics import ImageStatistics
from fedmed_workflows.sites.classification_sites import ClassificationSites
from fedmed_workflows.sites.statistics import SiteStatistics


@pytest.fixture
def executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SiteStatisticsExecutor:
    """The executor of a site with twelve pictures of brightness 1 to 100: seven show dots, five show stripes."""
    for index, brightness in enumerate(np.linspace(1, 100, 12).round().astype(np.uint8)):
        folder = tmp_path / "here" / ("dots" if index < 7 else "stripes")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), brightness)).save(folder / f"{index}.png")
    sites = ClassificationSites(str(tmp_path), ["here"])
    generator = ImageStatistics()
    generator._statistics = SiteStatistics(sites.cases("here", {}), sites.case_reader({}))
    for name in ("FEDMED_BUNDLES", "FEDMED_DATASET_DIR", "FEDMED_STATE_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("FEDMED_MIN_COUNT", raising=False)
    made = SiteStatisticsExecutor("images")
    made.task_handler = StatisticsTaskHandler("images")
    made.task_handler.stats_generator = generator
    return made


def answer(executor: SiteStatisticsExecutor, task: str, *names: str, **inputs: Any) -> dict[str, Any]:
    """A site's answer to a job without any filter, by statistic and quantity."""
    asked = [
        StatisticConfig(name, {"*": {"bins": 10}} if name in ("min", "max", "histogram") else {}) for name in names
    ]
    shareable = Shareable({"fed_stats_task_key": task, "statistics": fobs.dumps(asked), **inputs})
    context = FLContext()
    context.set_prop(ReservedKey.IDENTITY_NAME, "here")
    reply = executor.execute("fed_stats", shareable, context, Signal())
    assert reply.get_return_code() == ReturnCode.OK
    found = fobs.loads(from_shareable(reply).data[task])
    return {statistic: datasets["site"] for statistic, datasets in found.items()}


def test_a_job_without_filters_gets_nothing_of_few_patients_and_no_bare_range(executor: SiteStatisticsExecutor) -> None:
    found = answer(executor, "fed_stats_1st_statistics", "count", "sum", "min", "max")
    assert found["count"] == {"images": 12, "intensity": 12, "size x": 12, "size y": 12}
    assert set(found["sum"]) == set(found["min"]) == set(found["max"]) == set(found["count"])
    assert set(found["failure_count"]) == {*found["count"], "class dots", "class stripes"}
    assert 0.7 <= found["min"]["intensity"] <= 0.9 and 110 <= found["max"]["intensity"] <= 130


def test_a_job_without_filters_gets_no_histogram_of_as_many_bins_as_patients(executor: SiteStatisticsExecutor) -> None:
    ends = {"min": {"site": {"intensity": 0.0}}, "max": {"site": {"intensity": 110.0}}}
    found = answer(executor, "fed_stats_2nd_statistics", "histogram", **ends)
    assert "intensity" not in found["histogram"] and found["count"]["intensity"] == 12
    assert all(histogram.bins == [] for histogram in found["histogram"].values())  # of those it sent no range for


@pytest.mark.parametrize("least, kept", [("5", True), ("13", False)])
def test_the_site_s_people_say_how_many(
    executor: SiteStatisticsExecutor, monkeypatch: pytest.MonkeyPatch, least: str, kept: bool
) -> None:
    monkeypatch.setenv("FEDMED_MIN_COUNT", least)
    found = answer(executor, "fed_stats_1st_statistics", "count")
    everything = {"images": 12, "intensity": 12, "size x": 12, "size y": 12, "class dots": 7, "class stripes": 5}
    assert found["count"] == (everything if kept else {})


@pytest.mark.parametrize("text", ["0", "-3", "ten", "2.5"])
def test_a_least_count_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    folders = dict.fromkeys(("FEDMED_BUNDLES", "FEDMED_DATASET_DIR", "FEDMED_STATE_DIR"), str(tmp_path))
    with pytest.raises(SiteError, match="FEDMED_MIN_COUNT in the site's environment: found .* a whole number"):
        SiteEnvironment.read({**folders, "FEDMED_MIN_COUNT": text})
    assert SiteEnvironment.read(folders).min_count == 10
