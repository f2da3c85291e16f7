"""Divides images into sites by metadata: one site for each value of a DICOM element or of a table column."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydicom.datadict import tag_for_keyword

from fedmed_transforms.patients.header_elements import header_elements
from fedmed_workflows.sites.federation_sites import PARTITION
from fedmed_workflows.sites.partition.division import Division
from fedmed_workflows.sites.partition.pool import Pool, Sample

IMAGE = "image"
"""The column of a table with the paths of the images, relative to the source."""


@dataclass(frozen=True)
class ByElement:
    """A site for every value of a DICOM element, such as the scanner's manufacturer.

    Attributes
    ----------
    keyword
        Keyword of the element in DICOM PS3.6, such as ``Manufacturer``, ``ManufacturerModelName`` or
        ``MagneticFieldStrength``.

    Raises
    ------
    ValueError
        DICOM has no such keyword.
    """

    name: ClassVar[str] = "metadata"

    keyword: str

    def __post_init__(self) -> None:
        if tag_for_keyword(self.keyword) is None:
            raise ValueError(f"keyword: found {self.keyword!r}, expected a DICOM keyword such as 'Manufacturer'")

    def divide(self, pool: Pool, seed: int) -> Division:
        """Divides a pool, see :meth:`fedmed_workflows.sites.partition.division.Scheme.divide`, without randomness."""
        return _by_value(pool, {sample.image: self._value(Path(sample.image)) for sample in pool.samples}, self.keyword)

    def _value(self, image: Path) -> str:
        elements = header_elements(image, [self.keyword])
        if elements is None:
            raise ValueError(f"{image}: found no DICOM file, expected one with {self.keyword}; or a table (--csv)")
        if not elements[self.keyword]:
            raise ValueError(f"{image}: found no {self.keyword}, expected one of every image")
        return elements[self.keyword]


@dataclass(frozen=True)
class ByColumn:
    """A site for every value of a column of a table.

    Attributes
    ----------
    csv
        Path of the table. It has a header, and one row for each image, whose path relative to the source is in the
        column ``image``.
    column
        Name of the column whose values become sites.
    """

    name: ClassVar[str] = "metadata"

    csv: str
    column: str

    def divide(self, pool: Pool, seed: int) -> Division:
        """Divides a pool, see :meth:`fedmed_workflows.sites.partition.division.Scheme.divide`, without randomness."""
        table = _read_table(Path(self.csv), self.column)
        values = {}
        for sample in pool.samples:
            value = table.get(pool.name_of(sample.image), "")
            if not value:
                raise ValueError(
                    f"{self.csv}: found no {self.column} of {pool.name_of(sample.image)}, expected one of every image"
                )
            values[sample.image] = value
        return _by_value(pool, values, self.column)


def _read_table(file: Path, column: str) -> dict[str, str]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows, found = list(reader), list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file}: expected a table (CSV), found {type(error).__name__}: {error}") from error
    if not {IMAGE, column} <= set(found):
        raise ValueError(f"{file}: found the columns {found}, expected {IMAGE!r} and {column!r}")
    table: dict[str, str] = {}
    for row in rows:
        name, value = (str(row[key] or "").strip() for key in (IMAGE, column))
        if table.setdefault(name, value) != value:
            raise ValueError(f"{file}: found two values of {name}, {table[name]!r} and {value!r}, expected one")
    return table


def _by_value(pool: Pool, values: dict[str, str], what: str) -> Division:
    """Makes one site for each value. A patient with several values goes to the site of most of the patient's images."""
    name_of = _site_names(sorted(set(values.values())), f"{pool.source}: {what}")
    sites: dict[str, list[Sample]] = {name: [] for name in sorted(set(name_of.values()))}
    moved = 0
    for samples in pool.by_patient.values():
        found = Counter(name_of[values[sample.image]] for sample in samples)
        home = min(found, key=lambda name: (-found[name], name))
        moved += len(samples) - found[home]
        sites[home] += samples
    sites = {name: sorted(samples, key=lambda sample: pool.name_of(sample.image)) for name, samples in sites.items()}
    empty = [name for name, samples in sites.items() if not samples]
    if len(sites) - len(empty) < 2:
        raise ValueError(f"{pool.source}: {what}: found one value of all patients, expected two or more")
    texts = {name: [value for value in name_of if name_of[value] == name] for name in sites}
    details = {"values": texts, "images_with_their_patients": moved, "without_patients": empty}
    return Division({name: samples for name, samples in sites.items() if samples}, details)


def _site_names(values: list[str], where: str) -> dict[str, str]:
    """Returns a site name for every value. Values that differ only in case or punctuation have the same name."""
    first: dict[str, str] = {}
    names = {}
    for value in values:
        name = re.sub(r"[^\w.-]+", "_", value).strip("._")
        if not name or name.casefold() == Path(PARTITION).stem:
            raise ValueError(f"{where}: found the value {value!r}, expected one that can name a site")
        names[value] = first.setdefault(name.casefold(), name)
    return names
