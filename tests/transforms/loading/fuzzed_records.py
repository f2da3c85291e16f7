"""Damaged files that are no images: results and structures of DICOM, checkpoints, records of a run, datalists.

A kind is a line of ``RECORDS``: a function that gives the undamaged file, one that damages it, and its reader.
"""

from __future__ import annotations

import io
import json
import random
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
import torch
from PIL import Image
from pydicom.data import get_testdata_file
from torch import nn

from fedmed_networks import checkpoint_class_names
from fedmed_networks.clip.class_names import CLASS_NAMES, to_bytes
from fedmed_transforms import (
    LoadMedicalImaged,
    SegmentationToLabelsd,
    load_image,
    read_report,
    write_report,
    write_segmentation,
)
from fedmed_workflows.configuration_file import read_configuration
from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.weights import get_weights
from fedmed_workflows.federation.bundle.checkpoint import continued_network
from fedmed_workflows.federation.run_folder import RunFolder
from fedmed_workflows.sites.class_folders import read_site
from tests.transforms.cases.structure_sets import circle, write_ct, write_structures
from tests.transforms.loading.fuzzing import damage

Damage = Callable[[bytes, random.Random], bytes]

STRANGE = (None, True, -1, 0, 2**70, 1e308, float("inf"), float("nan"), "", "x" * 5000, "a\0b", "../x", [], {}, [[]])
"""Values that no entry of a record has."""

DEPTH = 100_000


class Record(NamedTuple):
    """A kind of file: its name, its undamaged bytes, the way to damage them, and its reader."""

    name: str
    whole: Callable[[], bytes]
    damage: Damage
    read: Callable[[Path], object]


def damage_json(content: bytes, at: random.Random) -> bytes:
    """Damages bytes, or puts a strange value in the place of an entry, or nests lists without an end."""
    if at.random() < 0.3:
        return damage(content, at)
    if at.random() < 0.05:
        return b'{"training": ' + b"[" * DEPTH + b"]" * DEPTH + b"}"
    tree = json.loads(content)
    places = list(_places(tree))
    holder, key = at.choice(places)
    change = at.randrange(3)
    if change == 0:
        del holder[key]
    elif change == 1 and isinstance(holder, dict):
        holder[str(at.choice(STRANGE))] = holder.pop(key)
    else:
        holder[key] = at.choice(STRANGE)
    return json.dumps(at.choice(STRANGE) if at.random() < 0.02 else tree).encode()


def _places(tree: Any) -> Any:
    """Yields each entry of dictionaries and lists, as its holder and its key."""
    pairs = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    for key, value in pairs:
        yield tree, key
        yield from _places(value)


def damage_dicom(content: bytes, at: random.Random) -> bytes:
    """Damages bytes behind the preamble, once or twice."""
    found = damage(content, at, 132)
    return damage(found, at, 132) if at.random() < 0.3 else found


def _written(write: Callable[[Path], object], name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name)
        return (Path(folder) / name).read_bytes()


@lru_cache
def segmentation() -> bytes:
    """A DICOM SEG of a CT slice."""
    source = get_testdata_file("CT_small.dcm")
    mask = load_image(source) > 100
    return _written(lambda path: write_segmentation(mask, source, path, ["bone"]), "f.dcm")


@lru_cache
def report() -> bytes:
    """A DICOM SR of class probabilities."""
    source = get_testdata_file("CT_small.dcm")
    return _written(lambda path: write_report({"benign": 0.75, "malignant": 0.25}, source, path), "f.dcm")


@lru_cache
def structures() -> bytes:
    """An RTSTRUCT of a circle on three slices."""
    contours = [("CLOSED_PLANAR", circle(30, 30, 20.0, slice_, 24)) for slice_ in (2, 3, 4)]
    return _written(lambda path: write_structures(path, {"GTV": contours}), "f.dcm")


@lru_cache
def enhanced() -> bytes:
    """An enhanced CT of four frames, which loads as a volume."""
    header = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    pixels = np.stack([header.pixel_array[:32, :32] + number for number in range(4)])
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = pydicom.uid.EnhancedCTImageStorage
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        del header[keyword]
    header.Rows, header.Columns, header.NumberOfFrames, header.PixelData = 32, 32, 4, pixels.tobytes()
    measures = _item(PixelSpacing=[0.5, 0.5], SliceThickness=2)
    header.SharedFunctionalGroupsSequence = [
        _item(PlaneOrientationSequence=[_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
              PixelMeasuresSequence=[measures])
    ]  # fmt: skip
    header.PerFrameFunctionalGroupsSequence = [
        _item(PlanePositionSequence=[_item(ImagePositionPatient=[0, 0, 2 * number])]) for number in range(4)
    ]
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, header)
    return buffer.getvalue()


def _item(**elements: Any) -> pydicom.Dataset:
    found = pydicom.Dataset()
    for keyword, value in elements.items():
        setattr(found, keyword, value)
    return found


def network() -> nn.Module:
    """A network of two tensors."""
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def checkpoint(**more: torch.Tensor) -> bytes:
    """A checkpoint of the network."""
    buffer = io.BytesIO()
    torch.save({"model": {**network().state_dict(), **more}}, buffer)
    return buffer.getvalue()


def last_round() -> bytes:
    """The record of a run after two rounds."""
    manifest = Manifest.of(network()).to_json()
    history = [{"round": number, "sites": {"a": {"loss": 0.5}}} for number in range(2)]
    return json.dumps({"file": "round_00001.safetensors", "history": history, "manifest": manifest}).encode()


def resume(path: Path) -> object:
    """Continues a run whose record is the file."""
    run = RunFolder(path.parent, {})
    (path.parent / "checkpoints").mkdir(exist_ok=True)
    manifest = Manifest.of(network())
    run.keep(get_weights(network()), 1)
    path.rename(path.parent / "checkpoints" / "last.json")
    assert run.rounds_done >= 0
    return run.resume(manifest)


def datalist() -> bytes:
    """A MONAI datalist of two classes."""
    items = [{"image": f"{number}.png", "label": number % 2, "patient": f"p{number}"} for number in range(4)]
    return json.dumps({"class_names": ["a", "b"], "training": items[:2], "test": items[2:]}).encode()


def read_listed(path: Path) -> object:
    """Reads a site with the datalist."""
    for number in range(4):
        Image.new("L", (2, 2)).save(path.parent / f"{number}.png")
    return read_site(path)


def draw(path: Path) -> object:
    """Draws the structures on their CT."""
    if not (path.parent / "ct").exists():
        write_ct(path.parent / "ct")
    data = LoadMedicalImaged(["image", "label"])({"image": str(path.parent / "ct"), "label": str(path)})
    return SegmentationToLabelsd("label", "image")(data)


def model_entries() -> bytes:
    """The entries that a run leaves for inference."""
    return json.dumps({"ckpt_path": "/runs/model.pt", "class_names": ["a", "b"], "channels": {"organ": [1]}}).encode()


NAMES = {CLASS_NAMES: to_bytes(["benign", "bösartig"])}

RECORDS = {
    "seg": Record("f.dcm", segmentation, damage_dicom, load_image),
    "sr": Record("f.dcm", report, damage_dicom, read_report),
    "rtstruct": Record("f.dcm", structures, damage_dicom, draw),
    "enhanced": Record("f.dcm", enhanced, damage_dicom, load_image),
    "checkpoint": Record("model.pt", checkpoint, damage, lambda path: continued_network(network(), path)),
    "class names": Record("model.pt", lambda: checkpoint(**NAMES), damage, checkpoint_class_names),
    "model.json": Record("model.json", model_entries, damage_json, read_configuration),
    "last.json": Record("last.json", last_round, damage_json, resume),
    "datalist": Record("datalist.json", datalist, damage_json, read_listed),
}


def make_record(kind: str, at: random.Random, folder: Path) -> Path:
    """Writes a damaged file of a kind into a folder; returns its path."""
    record = RECORDS[kind]
    path = folder / record.name
    path.write_bytes(record.damage(record.whole(), at))
    return path
