"""The quantities of each site from a statistics job: known, withheld, absent or without an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

ALL_SITES = "Global"
"""NVFlare's name for all sites together."""

KNOWN, WITHHELD, NONE, SILENT = "known", "withheld", "none", "no answer"
"""States of a quantity at a site: the numbers are known; the site withholds the numbers; the site does not have the
quantity; the site did not answer."""

COLUMNS = ("site", "role", "quantity", "state", "patients", "total", "mean", "deviation", "refused")


@dataclass(frozen=True)
class Quantity:
    """A quantity at a site.

    Attributes
    ----------
    state
        :data:`KNOWN`, :data:`WITHHELD`, :data:`NONE` or :data:`SILENT`. The numbers are None except with KNOWN.
    patients, total, mean, deviation
        Number of patients; sum, mean and standard deviation of their values.
    refused
        Number of refused images; only for the quantity ``images``.
    bins
        ``[low, high, patients]`` of each bin; may be empty.
    withheld_bins
        The reason why there are no bins although the numbers are known.
    """

    state: str
    patients: int | None = None
    total: float | None = None
    mean: float | None = None
    deviation: float | None = None
    refused: int | None = None
    bins: list[list[float]] = field(default_factory=list)
    withheld_bins: str | None = None


def quantity_of(record: Mapping[str, Any], site: str, name: str) -> Quantity:
    """Returns a quantity of a site, or of :data:`ALL_SITES` together.

    Parameters
    ----------
    record
        Record of the job, from :func:`fedmed_workflows.nvflare.run.simulated_statistics.statistics_record`.
    site, name
        Name of the site and name of the quantity.
    """
    numbers = {
        statistic: value
        for statistic, sites in record["statistics"].get(name, {}).items()
        for value in sites.get(site, {}).values()
    }
    if "count" not in numbers:
        return Quantity(WITHHELD if "failure_count" in numbers else NONE if _answered(record, site) else SILENT)
    bins = numbers.get("histogram", [])
    return Quantity(
        KNOWN, numbers["count"], numbers.get("sum"), numbers.get("mean"), numbers.get("stddev"),
        numbers.get("failure_count"), bins, None if bins else _no_bins(record, numbers["count"]),
    )  # fmt: skip


def rows(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields one row of the table for every site and quantity."""
    for site in record["sites"]:
        for name in record["statistics"]:
            found = asdict(quantity_of(record, site["name"], name))
            yield {"site": site["name"], "role": site["role"], "quantity": name, **found}


def withheld(record: Mapping[str, Any]) -> dict[str, list[str]]:
    """Returns the names of the withheld quantities, by site, for sites that withhold any."""
    found = {
        site["name"]: [
            name for name in record["statistics"] if quantity_of(record, site["name"], name).state == WITHHELD
        ]
        for site in record["sites"]
    }
    return {site: names for site, names in found.items() if names}


def _answered(record: Mapping[str, Any], site: str) -> bool:
    return any(site in sites for statistics in record["statistics"].values() for sites in statistics.values())


def _no_bins(record: Mapping[str, Any], patients: int) -> str:
    """Returns the reason for missing bins. NVFlare allows fewer bins than a share of the records."""
    if record["bins"] >= round(patients * record["bins_percent"] / 100):
        return f"{record['bins']} bins are not fewer than {record['bins_percent']}% of {patients} patients"
    return "not answered"
