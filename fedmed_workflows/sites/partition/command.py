"""Divides a folder of images into the sites of a federation.

The source is a folder of class folders, a folder with images/ and labels/, or a MONAI datalist (JSON). The command
writes to the output folder a datalist SITE.json for each site, partition.json, the record of the partition, and
partition.png. No image is copied, and no patient is at two sites. The same command writes the same sites on every
machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from fedmed_workflows.sites.partition.by_metadata import ByColumn, ByElement
from fedmed_workflows.sites.partition.by_patient import ByPatient
from fedmed_workflows.sites.partition.division import Scheme
from fedmed_workflows.sites.partition.label_skew import LabelSkew
from fedmed_workflows.sites.partition.pool import read_pool
from fedmed_workflows.sites.partition.quantity_skew import QuantitySkew
from fedmed_workflows.sites.partition.site_files import write_partition

Build = Callable[[argparse.Namespace], Scheme]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fedmed_workflows partition", description=__doc__)
    by = parser.add_subparsers(required=True, metavar="SCHEME")
    drawn: list[tuple[str, str, Build]] = [
        ("label_skew", "different classes at each site (Hsu et al. 2019)", _of(LabelSkew, "alpha")),
        ("quantity_skew", "sites of different sizes", _of(QuantitySkew, "alpha")),
        ("patient", "patients at random, similar sites", _of(ByPatient)),
    ]
    for name, text, build in drawn:
        scheme = _add(by, name, text, build)
        scheme.add_argument("--sites", type=int, required=True, help="number of sites")
        if name != "patient":
            scheme.add_argument("--alpha", type=float, required=True, help="concentration: the smaller, the more skew")
        scheme.add_argument("--min-images", type=int, default=1, help="minimum number of images of a site; default: 1")
        scheme.add_argument("--seed", type=int, default=0, help="default: 0")
    scheme = _add(by, "metadata", "one site for each value of the images' metadata", _by_metadata)
    known = scheme.add_mutually_exclusive_group(required=True)
    known.add_argument("--keyword", help="a DICOM element, such as Manufacturer")
    known.add_argument("--csv", help="a table with a column 'image': paths relative to the source")
    scheme.add_argument("--column", help="the column of the table whose values become sites")
    scheme.set_defaults(seed=0)
    return parser


def _add(by: Any, name: str, text: str, build: Build) -> argparse.ArgumentParser:
    scheme: argparse.ArgumentParser = by.add_parser(name, help=text, description=text)
    scheme.add_argument("source", help="the images: a folder, or a datalist")
    scheme.add_argument("output_dir", help="folder for the sites, new or empty")
    scheme.add_argument("--patient-pattern", help="regular expression with one group: the patient in a file name")
    scheme.set_defaults(build=build)
    return scheme


def _of(kind: Callable[..., Scheme], *settings: str) -> Build:
    names = ("sites", *settings, "min_images")
    return lambda options: kind(**{name: getattr(options, name) for name in names})


def _by_metadata(options: argparse.Namespace) -> Scheme:
    if bool(options.csv) != bool(options.column):
        raise ValueError("--csv and --column: expected both or none of them")
    return ByColumn(options.csv, options.column) if options.csv else ByElement(options.keyword)


def main() -> int:
    """Runs the command line."""
    parser = _parser()
    options = parser.parse_args()
    try:
        pool = read_pool(options.source, options.patient_pattern)
        record = write_partition(pool, options.build(options), options.seed, options.output_dir)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    width = max(len(site) for site in record["sites"])
    print(f"{'site':{width}}  {'patients':>8}  {'images':>7}  classes")
    for site, entry in record["sites"].items():
        classes = ", ".join(f"{name} {count}" for name, count in entry["classes"].items())
        patients = "unknown" if entry["patients"] is None else entry["patients"]
        print(f"{site:{width}}  {patients:>8}  {entry['images']:>7}  {classes}")
    if moved := record.get("images_with_their_patients"):
        print(f"{moved} images were assigned by the other images of their patient, not by their own value")
    print(f"written: {options.output_dir}")
    return 0
