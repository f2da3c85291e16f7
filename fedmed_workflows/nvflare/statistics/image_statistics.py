"""A site's side of federated statistics on NVFlare: its images, counted and measured where they lie."""

from __future__ import annotations

import logging

from nvflare.apis.fl_context import FLContext
from nvflare.app_common.abstract.statistics_spec import Bin, DataType, Feature, Histogram, HistogramType, Statistics

from fedmed_workflows.errors import refusal
from fedmed_workflows.nvflare.site.environment import SiteEnvironment
from fedmed_workflows.nvflare.site.executor import check_log_stays, job_of
from fedmed_workflows.nvflare.site.joined_site import installed_federation
from fedmed_workflows.sites.cases import IMAGES
from fedmed_workflows.sites.statistics import SiteStatistics

logger = logging.getLogger(__name__)

DATASET = "site"
"""NVFlare's statistics may come of several data sets of a site; a site of a federation is one."""


class ImageStatistics(Statistics):  # type: ignore[misc]
    """What NVFlare's statistics job asks a site, answered of the images that lie there.

    It takes no arguments: bundle and values that all sites agree on are in the job's ``federation.json``, where the
    images lie is in the site's own environment. NVFlare's count of records is the number of patients.
    """

    def __init__(self) -> None:
        super().__init__()
        self._statistics: SiteStatistics | None = None
        self._site = ""

    def initialize(self, fl_ctx: FLContext) -> None:
        """Remembers which site this is; nothing is read before the server asks.

        Raises
        ------
        SiteError
            The site's logs, which name the images that are refused, would leave it.
        """
        check_log_stays(fl_ctx)
        self._site, self._job = fl_ctx.get_identity_name(), job_of(fl_ctx)

    def features(self) -> dict[str, list[Feature]]:
        """Every quantity that some patient of the site has; reads all images, once.

        Raises
        ------
        ValueError
            The site has no image, or no federation of this job; NVFlare writes it to the site's own log.
        """
        if self._statistics is None:
            self._statistics = self._read()
        return {DATASET: [Feature(name, DataType.FLOAT) for name in self._statistics.quantities]}

    def count(self, dataset_name: str, feature_name: str) -> int:
        """Number of patients that have the quantity."""
        return self._of_site().count(feature_name)

    def failure_count(self, dataset_name: str, feature_name: str) -> int:
        """Number of images that were refused, which is said once, with the number of images."""
        return self._of_site().refused if feature_name == IMAGES else 0

    def sum(self, dataset_name: str, feature_name: str) -> float:
        """Sum of the patients' values."""
        return self._of_site().total(feature_name)

    def stddev(self, dataset_name: str, feature_name: str) -> float:
        """Standard deviation at this site."""
        return self._of_site().deviation(feature_name)

    def variance_with_mean(
        self, dataset_name: str, feature_name: str, global_mean: float, global_count: float
    ) -> float:
        """This site's part of the variance over all sites."""
        return self._of_site().variance(feature_name, global_mean, global_count)

    def min_value(self, dataset_name: str, feature_name: str) -> float:
        """Least value, to which NVFlare adds noise before it leaves the site."""
        return self._of_site().range(feature_name)[0]

    def max_value(self, dataset_name: str, feature_name: str) -> float:
        """Greatest value, to which NVFlare adds noise before it leaves the site."""
        return self._of_site().range(feature_name)[1]

    def histogram(
        self, dataset_name: str, feature_name: str, num_of_bins: int, global_min_value: float, global_max_value: float
    ) -> Histogram:
        """Patients by value."""
        counts, edges = self._of_site().histogram(feature_name, num_of_bins, global_min_value, global_max_value)
        bins = [Bin(*parts) for parts in zip(edges[:-1], edges[1:], counts, strict=True)]
        return Histogram(HistogramType.STANDARD, bins)

    def _of_site(self) -> SiteStatistics:
        self.features()
        assert self._statistics is not None
        return self._statistics

    def _read(self) -> SiteStatistics:
        try:
            federation = installed_federation(self._job, self._site, SiteEnvironment.read(), {})
            sites, settings = federation.sites, federation.settings
            return SiteStatistics(sites.cases(self._site, settings), sites.case_reader(settings))
        except Exception as error:  # MONAI wraps what a component refuses in its own error
            raise ValueError(f"site {self._site!r}: {refusal(error)}") from error
