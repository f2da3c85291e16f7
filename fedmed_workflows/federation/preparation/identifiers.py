"""Checks the images of all sites for direct identifiers before round 1, and refuses or reports them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedmed_transforms.patients.search import describe, find_identifiers
from fedmed_workflows.federation.preparation.target import UNSEEN, Preparation
from fedmed_workflows.federation.site.site_algo import SiteAlgo
from fedmed_workflows.sites.datasets.target import NOBODY

REFUSE, ALLOW = "refuse", "allow"

ALLOWED = "Files of {} hold direct identifiers, which was allowed: {}."


class IdentifierCheck:
    """Checks the images of every site and of the target for direct identifiers.

    List this step before the step that releases features. It reads no pixels, in about one millisecond a file.

    Parameters
    ----------
    sites
        The sites. Their attribute ``images`` lists the images of each site.
    identifiers
        ``refuse`` ends the run if there are identifiers; ``allow`` reports them in a note.
    target
        The target of the federation. If it is a folder, its images are checked, too.

    Raises
    ------
    ValueError
        `identifiers` is neither ``refuse`` nor ``allow``.

    Examples
    --------
    >>> from pathlib import Path
    >>> from types import SimpleNamespace
    >>> from fedmed_workflows import IdentifierCheck
    >>> check = IdentifierCheck(SimpleNamespace(images={"hospital_a": []}))
    >>> check(unseen=None, output_dir=Path("run"))
    Preparation(settings={}, notes=[])
    """

    def __init__(self, sites: Any, identifiers: str = REFUSE, target: str | None = None) -> None:
        if identifiers not in (REFUSE, ALLOW):
            raise ValueError(f"identifiers: expected {REFUSE!r} or {ALLOW!r}, found {identifiers!r}")
        self.sites, self.identifiers, self.target = sites, identifiers, target

    def __call__(self, unseen: SiteAlgo | None, output_dir: Path) -> Preparation:
        """Runs the check; returns no settings, and a note for each site whose identifiers were allowed.

        Raises
        ------
        ValueError
            Files of a site have identifiers and `identifiers` is ``refuse``. The message names the site, the elements
            with the number of files, and the option that allows them, but no path and no value. Or a file cannot be
            read: the message names the site and the file.
        """
        found = {name: _described(name, images) for name, images in self._images().items()}
        left = {name: elements for name, elements in found.items() if elements}
        if left and self.identifiers == REFUSE:
            listed = "; ".join(f"{name}: {elements}" for name, elements in left.items())
            raise ValueError(
                f"expected files without direct identifiers, found at {listed}. "
                "'python -m fedmed_transforms identifiers FOLDER' names the files, "
                "and with '--clean COPY' writes a copy without identifiers; "
                f"--identifiers {ALLOW} runs with them"
            )
        return Preparation({}, [ALLOWED.format(name, elements) for name, elements in left.items()])

    def _images(self) -> dict[str, list[str]]:
        """Returns the paths of the images of each site, and of the target if it is a folder."""
        images = {f"site {name!r}": listed for name, listed in self.sites.images.items()}
        target = None if self.target in (UNSEEN, NOBODY) else self.target
        return {**images, "the target": [target]} if target and Path(target).is_dir() else images


def _described(name: str, images: list[str]) -> str:
    try:
        return describe(find_identifiers(images))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
