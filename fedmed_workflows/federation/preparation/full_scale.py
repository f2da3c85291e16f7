"""Compares the values of deep pictures with their full scale before round 1, and notes pictures that stay dark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.loading.picture_files import deep_picture_maximum
from fedmed_workflows.federation.preparation.target import Preparation
from fedmed_workflows.federation.site.site_algo import SiteAlgo

DARK = (
    "Pictures of site {site!r} hold values of at most {bits} bits (up to {bound}), {share:.0%} of the full scale "
    "{scale:g} by which they are divided; the rule full_scale={bound} in series_rules divides them by {bound}."
)

DARKEST_SHARE = 0.5
"""Share of the full scale below which a site's pictures are noted: the highest bit of no picture is set."""


class FullScaleCheck:
    """Notes each site whose pictures of more than 8 bits use less than half of their full scale.

    Scanners store 12-bit values in 16-bit files, which a division by 65535 makes nearly black. The note gives the bits
    of the largest value, and not the value itself. 8-bit pictures and other formats are not read.

    Parameters
    ----------
    sites
        The sites.
    series_rules
        The rules of the images, with the rule ``full_scale`` that a note advises.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from fedmed_workflows import FullScaleCheck
    >>> sites = SimpleNamespace(paths={"a": Path("a")}, labelled_images=lambda site: {"training": [("1.jpg", "cat")]})
    >>> FullScaleCheck(sites)(unseen=None, output_dir=Path("run"))
    Preparation(settings={}, notes=[])
    """

    def __init__(self, sites: Any, series_rules: Mapping[str, Any] | None = None) -> None:
        self.sites, self.rules = sites, SeriesRules.of(series_rules or {})

    def __call__(self, unseen: SiteAlgo | None, output_dir: Path) -> Preparation:
        """Measures the pictures of every site here; returns no settings, and a note for each site of dark pictures."""
        present = [site for site, path in self.sites.paths.items() if not getattr(self.sites, "elsewhere", False)]
        notes = [note for site in present for note in self._notes(site)]
        return Preparation({}, notes)

    def _notes(self, site: str) -> list[str]:
        images = [Path(image) for part in self.sites.labelled_images(site).values() for image, _ in part]
        measured = _maxima(images, self.rules)
        return [_note(site, *pair) for pair in sorted(measured.items()) if 0 < pair[1] < DARKEST_SHARE * pair[0]]


def _maxima(images: Iterable[Path], rules: SeriesRules) -> dict[float, float]:
    """Returns the largest value of all pictures by their full scale."""
    found: dict[float, float] = {}
    for image in images:
        measured = deep_picture_maximum(image, rules)
        if measured is not None:
            greatest, scale = measured
            found[scale] = max(found.get(scale, 0.0), greatest)
    return found


def _note(site: str, scale: float, greatest: float) -> str:
    bits = int(greatest).bit_length()
    bound = 2**bits - 1
    return DARK.format(site=site, bits=bits, bound=bound, share=bound / scale, scale=scale)
