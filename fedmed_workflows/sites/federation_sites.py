"""The sites of a federation: its training sites and its unseen site, in one folder."""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fedmed_workflows.sites.cases import Case, CaseReader
from fedmed_workflows.sites.class_folders import check_name
from fedmed_workflows.sites.datasets.fingerprint import image_digest
from fedmed_workflows.sites.split import patients_of, relative_to_site

ALL = "all"
"""Value of `unseen_site`: each site in turn is the unseen site, in its own run."""

NOWHERE = "none"
"""Value of `dataset_dir`: the images are at the sites and not here."""

PARTITION = "partition.json"
"""The record of a partition, beside its sites. It is not the datalist of a site, though it ends in ``.json``."""

Self = TypeVar("Self", bound="FederationSites")


class FederationSites(ABC):
    """The sites of a federation: a folder or a datalist each, side by side in one folder.

    Parameters
    ----------
    dataset_dir
        Folder with ``SITE/``, ``SITE/datalist.json`` or ``SITE.json`` for each site. ``none`` if the images are at the
        sites and not here; `sites` is then required.
    sites
        Names of the sites that take part; None for all. With an unseen site the list may be empty: only the unseen
        site takes part.
    unseen_site
        Name of the site that never trains, None, or ``all``. The name need not be in `sites`.
    shifts
        Simulated shifts, by site name: settings of :class:`fedmed_transforms.SiteShiftd` for all images of the site.

    Attributes
    ----------
    folders
        Paths of the training sites, by name, in alphabetical order.
    unseen
        ``(name, path)`` of the unseen site, or None.
    in_turn
        Names of the sites that are the unseen site in turn; empty unless `unseen_site` is ``all``.
    elsewhere
        Whether the images are at the sites and not here.
    shifts
        The given shifts; empty for none.
    class_names
        The classes, in the order of the logits. This and the following attributes are set by the subclass of a task.
    images
        Paths of the files, by site.
    digest
        Digest of all files and classes, which identifies the data of a run.
    settings
        Entries of the training configuration that the sites determine.
    key_metric, chance
        The main metric of a run, and its value for a random guess, or None.

    Raises
    ------
    ValueError
        A site, or a site in `shifts`, does not exist, or no training site is left. The message names the site, what was
        found and what was expected.
    """

    folders: dict[str, Path]
    unseen: tuple[str, Path] | None
    in_turn: list[str]
    elsewhere: bool
    shifts: dict[str, Any]
    class_names: list[str]
    images: dict[str, list[str]]
    digest: str
    settings: dict[str, Any]
    key_metric: str
    chance: float | None

    def __init__(
        self,
        dataset_dir: str | None,
        sites: Sequence[str] | None = None,
        unseen_site: str | None = None,
        shifts: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        named = [sites] if isinstance(sites, str) else sites
        self.elsewhere = dataset_dir in (None, NOWHERE)
        root, present = _present(dataset_dir, named, unseen_site)
        turning = unseen_site == ALL
        if turning and ALL in present:
            raise ValueError(f"unseen site {ALL!r}: {root} holds a site of this name, expected another name for it")
        unseen = None if unseen_site is None or turning else str(unseen_site)
        training = sorted({str(site) for site in (present if named is None else named)} - {unseen})
        _check_present(root, present, training, unseen)
        self.shifts = _checked_shifts(root, present, shifts)
        alone = named is not None and not named and unseen is not None
        if len(training) < (2 if turning else 1) and not alone:
            raise ValueError(
                f"{root}: training sites {training}, unseen site {unseen_site!r}: expected at least one "
                "training site besides the unseen one"
            )
        self.folders = {site: present[site] for site in training}
        self.unseen = (unseen, present[unseen]) if unseen else None
        self.in_turn = training if turning else []

    @property
    def paths(self) -> dict[str, Path]:
        """Paths of all sites by name, the unseen site last."""
        return {**self.folders, **(dict([self.unseen]) if self.unseen else {})}

    def settings_of(self, site: str) -> dict[str, Any]:
        """Returns the entries of the training configuration that apply only to this site."""
        return {"shift": self.shifts[site]} if site in self.shifts else {}

    @abstractmethod
    def labelled_images(self, site: str) -> dict[str, list[tuple[str, str]]]:
        """Lists the images of a site by the section of its datalist: (image, class or label file).

        Raises
        ------
        ValueError
            The site has no image, or another layout than its task; the message names the folder or the file.
        """

    @abstractmethod
    def case_reader(self, settings: Mapping[str, Any]) -> CaseReader:
        """Returns the function that reads a case as the task does, with the bundle's settings."""

    def cases(self, site: str, settings: Mapping[str, Any]) -> list[Case]:
        """Lists every image of a site, of every section of its datalist.

        Parameters
        ----------
        site
            The site's name.
        settings
            Entries of the bundle: ``patient_pattern``.

        Raises
        ------
        ValueError
            As :meth:`labelled_images`.
        """
        items = [item for section in self.labelled_images(site).values() for item in section]
        patients = patients_of(self.paths[site], (image for image, _ in items), settings.get("patient_pattern"))
        return [Case(image, label, patients[image]) for image, label in items]

    def without(self: Self, unseen: str) -> Self:
        """Returns a copy in which one of the training sites is the unseen site, for the run of this site."""
        other = copy.copy(self)
        other.folders = {name: path for name, path in self.folders.items() if name != unseen}
        other.unseen, other.in_turn = (unseen, self.folders[unseen]), []
        return other


def _present(
    dataset_dir: str | None, named: Sequence[str] | None, unseen_site: str | None
) -> tuple[Path | str, dict[str, Path]]:
    """Returns the folder of the sites, or its name in error messages, and the path of each site."""
    if dataset_dir not in (None, NOWHERE):
        return Path(dataset_dir), _sites_in(Path(dataset_dir))
    if not named or unseen_site == ALL:
        raise ValueError(
            f"dataset_dir {NOWHERE!r}: the images are at the sites; found sites {named}, unseen site {unseen_site!r}, "
            "expected the names of the sites, and one unseen site or none"
        )
    return "the federation", {str(site): Path(site) for site in [*named, *([unseen_site] if unseen_site else [])]}


def _sites_in(root: Path) -> dict[str, Path]:
    if not root.is_dir():
        raise ValueError(f"dataset_dir {root}: expected a folder that holds one folder a site")
    entries = [path for path in sorted(root.iterdir()) if not path.name.startswith(".") and path.name != PARTITION]
    return {
        path.stem if path.is_file() else path.name: path for path in entries if path.is_dir() or path.suffix == ".json"
    }


def _check_present(root: Path | str, present: Mapping[str, Path], training: Sequence[str], unseen: str | None) -> None:
    roles = [("site", site) for site in training] + ([("unseen site", unseen)] if unseen else [])
    for role, site in roles:
        if site not in present:
            raise ValueError(f"{role} {site!r}: not found in {root}, which holds {sorted(present)}")
        check_name(site, f"{root}: site")


def _checked_shifts(
    root: Path | str, present: Mapping[str, Path], shifts: Mapping[str, Mapping[str, Any]] | None
) -> dict[str, Any]:
    if not isinstance(shifts or {}, Mapping):
        raise ValueError(f"shifts: found {shifts!r}, expected settings by the site's name")
    for site in shifts or {}:
        if site not in present:
            raise ValueError(f"shifts: site {site!r}: not found in {root}, which holds {sorted(present)}")
    return dict(shifts or {})


def data_digest(paths: Mapping[str, Path], items: Mapping[str, Mapping[str, Sequence[tuple[Path, Any]]]]) -> str:
    """Returns the digest of the items of all sites, which identifies the data of a run.

    Parameters
    ----------
    paths
        Paths of the sites, by name.
    items
        (image, class or label file) by section, by site. The digest includes the content of the files.
    """
    digest = hashlib.sha256()
    for site in sorted(items):
        for section, entries in items[site].items():
            for entry in entries:
                parts = " ".join(_described(part, paths[site]) for part in entry)
                digest.update(f"{site} {section} {parts}\n".encode())
    return digest.hexdigest()


def _described(part: Any, site: Path) -> str:
    if isinstance(part, Path):
        return f"{relative_to_site(str(part), site)} {image_digest(part)}"
    return str(part)
