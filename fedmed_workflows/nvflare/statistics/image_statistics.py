"""The site's part of federated statistics on NVFlare: counts and measures the images at the site."""

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
"""Name of the only data set of a site. NVFlare's statistics support several data sets."""


class ImageStatistics(Statistics):  # type: ignore[misc]
    """Computes the statistics of NVFlare's job from the images of the site.

    The class has no arguments. The bundle and the agreed values are in the job's ``federation.json``; the folder of the
    images is in the site's own environment. NVFlare's count of records is the number of patients.
    """

    def __init__(self) -> None:
        super().__init__()
        self._statistics: SiteStatistics | None = None
        self._site = ""

    def initialize(self, fl_ctx: FLContext) -> None:
        """Stores the name of the site and the job. No image is read before the first request.

        Raises
        ------
        SiteError
            NVFlare would send the site's logs, which name refused images, to the server.
        """
        check_log_stays(fl_ctx)
        self._site, self._job = fl_ctx.get_identity_name(), job_of(fl_ctx)

    def features(self) -> dict[str, list[Feature]]:
        """Returns every quantity of the site's patients; reads all images, once.

        Raises
        ------
        ValueError
            The site has no image, or cannot build the federation of the job. NVFlare writes the message to the site's
            own log.
        """
        if self._statistics is None:
            self._statistics = self._read()
        return {DATASET: [Feature(name, DataType.FLOAT) for name in self._statistics.quantities]}

    def count(self, dataset_name: str, feature_name: str) -> int:
        """Returns the number of patients that have the quantity."""
        return self._of_site().count(feature_name)

    def failure_count(self, dataset_name: str, feature_name: str) -> int:
        """Returns the number of refused images for the quantity ``images``, and 0 for any other quantity."""
        return self._of_site().refused if feature_name == IMAGES else 0

    def sum(self, dataset_name: str, feature_name: str) -> float:
        """Returns the sum of the patients' values."""
        return self._of_site().total(feature_name)

    def stddev(self, dataset_name: str, feature_name: str) -> float:
        """Returns the standard deviation at this site."""
        return self._of_site().deviation(feature_name)

    def variance_with_mean(
        self, dataset_name: str, feature_name: str, global_mean: float, global_count: float
    ) -> float:
        """Returns this site's part of the variance over all sites."""
        return self._of_site().variance(feature_name, global_mean, global_count)

    def min_value(self, dataset_name: str, feature_name: str) -> float:
        """Returns the smallest value, to which NVFlare adds noise before it leaves the site."""
        return self._of_site().range(feature_name)[0]

    def max_value(self, dataset_name: str, feature_name: str) -> float:
        """Returns the largest value, to which NVFlare adds noise before it leaves the site."""
        return self._of_site().range(feature_name)[1]

    def histogram(
        self, dataset_name: str, feature_name: str, num_of_bins: int, global_min_value: float, global_max_value: float
    ) -> Histogram:
        """Returns the histogram of the patients over the values of the quantity."""
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
