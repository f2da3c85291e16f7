"""Before round 1: no site takes part whose DICOM files still name patients, unless its people say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedmed_transforms.patients.identifiers import describe, find_identifiers
from fedmed_workflows.federation.preparation.target import UNSEEN, Preparation
from fedmed_workflows.federation.site.site_algo import SiteAlgo
from fedmed_workflows.sites.datasets.target import NOBODY

REFUSE, ALLOW = "refuse", "allow"

ALLOWED = "DICOM files of {} hold direct identifiers, which was allowed: {}."


class IdentifierCheck:
    """Looks for direct identifiers in the DICOM files of every site and of the target.

    Listed before the preparation that releases features. It reads headers only, one millisecond a file.

    Parameters
    ----------
    sites
        The sites, whose ``images`` lists every image by site.
    identifiers
        ``refuse`` ends the run if there are any; ``allow`` notes them in the report.
    target
        The federation's target; if it is a folder, its images are looked at too.

    Raises
    ------
    ValueError
        `identifiers` is neither of the two.
    """

    def __init__(self, sites: Any, identifiers: str = REFUSE, target: str | None = None) -> None:
        if identifiers not in (REFUSE, ALLOW):
            raise ValueError(f"identifiers: expected {REFUSE!r} or {ALLOW!r}, found {identifiers!r}")
        self.sites, self.identifiers, self.target = sites, identifiers, target

    def __call__(self, unseen: SiteAlgo | None, output_dir: Path) -> Preparation:
        """No settings, and a note for each site whose identifiers were allowed.

        Raises
        ------
        ValueError
            A site's files hold identifiers, which is to be refused: the message names the site, the elements with the
            number of files, and how to allow them, and holds no path and no value. Or a file does not decode: the
            message names the site and the file.
        """
        found = {name: _described(name, images) for name, images in self._images().items()}
        left = {name: elements for name, elements in found.items() if elements}
        if left and self.identifiers == REFUSE:
            listed = "; ".join(f"{name}: {elements}" for name, elements in left.items())
            raise ValueError(
                f"expected DICOM files without direct identifiers, found at {listed}. "
                "'python -m fedmed_transforms identifiers FOLDER' names the files; "
                f"--identifiers {ALLOW} runs with them"
            )
        return Preparation({}, [ALLOWED.format(name, elements) for name, elements in left.items()])

    def _images(self) -> dict[str, list[str]]:
        """The images of each site, wherever a datalist says they lie, and of the target."""
        images = {f"site {name!r}": listed for name, listed in self.sites.images.items()}
        target = None if self.target in (UNSEEN, NOBODY) else self.target
        return {**images, "the target": [target]} if target and Path(target).is_dir() else images


def _described(name: str, images: list[str]) -> str:
    try:
        return describe(find_identifiers(images))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
