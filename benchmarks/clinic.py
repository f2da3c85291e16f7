"""From a study to a stored DICOM SEG: seconds and peak memory by stage, cold and warm, beside MONAI Label's own path.

    python benchmarks/clinic.py --label-python .venv-label/bin/python [--size 1024] [--slices 28] [--studies 4]
    python benchmarks/clinic.py --without-label

The same phantom studies (512 x 512 pixels a slice) take three paths through the same FedMSA in random weights, in
processes of their own. "folder": the inference command, from a folder on disk to DICOM SEG and NIfTI in a folder.
"archive": the same command from an Orthanc of its own, the SEG stored there, too. "label": MONAI Label with an Orthanc
of its own, as it answers with DICOM SEG only where images come from DICOMweb; the answer is written to disk and stored
as the command stores. Writing includes storing. Cold: the first study of a process, for which MONAI Label loads the
checkpoint, too; warm: the fastest later one, and the largest peak of all later ones. The masks of all paths must be
the same, with a Dice of 1.

Orthanc is Debian's (orthanc, orthanc-dicomweb); without it, --without-label measures "folder" alone. MONAI Label's
environment is made by `make .venv-label/installed`. Memory is resident, sampled from outside; Orthanc's is left out.
The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from clinic_label import LabelServer, checked_python
from clinic_pipeline import Spans, pipeline
from resident_memory import ResidentMemory

ROOT = Path(__file__).parents[1]
BUNDLE, SEGMENT = "fedmsa_segmentation", "organ"
SIDE = 512


def write_studies(folder: Path, studies: int, slices: int) -> None:
    """A study a folder: a phantom's six slices over and over."""
    from fedmed_transforms.simulation.phantom_series import write_series
    from fedmed_transforms.simulation.scanners import SCANNERS
    from fedmed_transforms.simulation.volume_phantoms import draw_volume

    scanner = SCANNERS["harbour"]
    for number in range(studies):
        image, _ = draw_volume(scanner, SIDE, np.random.default_rng(number))
        (folder / f"{number:03d}").mkdir(parents=True)
        repeated = [image[place % len(image)] for place in range(slices)]
        write_series(folder / f"{number:03d}", f"phantom-{number}", repeated, scanner, "clinic")


def write_bundle(folder: Path, model: str, size: int) -> None:
    """The bundle as a run leaves it: its classes and sizes in its configuration, the weights in its models."""
    from fedmed_networks import FedMSA
    from fedmed_workflows.federation.bundle.checkpoint import save_network

    shutil.copytree(ROOT / "bundles" / BUNDLE / "configs", folder / "configs")
    entries = {"channels": {SEGMENT: [1]}, "model_type": model, "image_size": size}
    inference, metadata = folder / "configs" / "inference.json", folder / "configs" / "metadata.json"
    inference.write_text(json.dumps({**json.loads(inference.read_text()), **entries}))
    described = json.loads(metadata.read_text())
    described["network_data_format"]["outputs"]["pred"]["channel_def"] = {"0": "background", "1": SEGMENT}
    metadata.write_text(json.dumps(described))
    (folder / "models").mkdir()
    save_network(FedMSA(model_type=model, image_size=size), folder / "models" / "model.pt")


@contextmanager
def archive(work: Path) -> Iterator[str]:
    """The URL of an Orthanc that holds the studies and nothing else."""
    from tests.orthanc_server import OrthancServer

    with tempfile.TemporaryDirectory(dir=work) as folder, OrthancServer(Path(folder)) as server:
        server.upload(work / "studies")
        yield server.url


def uids(work: Path, keyword: str) -> list[str]:
    """Returns the value of an element in the header of every study, in order."""
    folders = sorted((work / "studies").iterdir())
    return [str(pydicom.dcmread(min(folder.iterdir()))[keyword].value) for folder in folders]


def entries(work: Path, path: str) -> dict[str, Any]:
    """Returns the entries of ``inference.json`` for a path."""
    bundle = work / BUNDLE
    return {
        "config_file": str(bundle / "configs" / "inference.json"), "bundle_root": str(bundle),
        "dataset_dir": str(work / "studies"), "output_dir": str(work / path),
    }  # fmt: skip


def from_folder(work: Path) -> dict[str, Any]:
    """The inference command on the folder."""
    return summary(*pipeline(entries(work, "folder")))


def from_archive(work: Path) -> dict[str, Any]:
    """The inference command on an archive."""
    with archive(work) as url:
        asked = {"dicomweb": url, "study": uids(work, "StudyInstanceUID")}
        return summary(*pipeline({**entries(work, "archive"), **asked}))


def from_label(work: Path, python: Path) -> dict[str, Any]:
    """MONAI Label on an archive."""
    from fedmed_transforms.studies.dicomweb.server import DicomWebServer
    from fedmed_transforms.studies.dicomweb.store import store_results
    from tests.orthanc_server import free_port

    (work / "label").mkdir()
    studies = []
    with archive(work) as url, LabelServer(python, work / BUNDLE, url, work / "server", free_port()) as label:
        store = DicomWebServer(url)
        for number, series in enumerate(uids(work, "SeriesInstanceUID")):
            begin, output = time.time(), work / "label" / f"{number}_seg.dcm"
            label.segment(series, [SEGMENT], output)
            store_results(store, [output])
            studies.append(label.spans(begin, time.time()))
    return summary({"start": label.start}, studies, label.memory)


def summary(start: Spans, studies: Sequence[Spans], memory: ResidentMemory) -> dict[str, Any]:
    """Seconds and peak megabytes by stage: of the start, of the first study, of the fastest later one."""
    named = {"start": [start], "cold": studies[:1], "warm": sorted(studies[1:], key=whole)}
    return {
        name: {
            "seconds": {stage: round(end - begin, 2) for stage, (begin, end) in of[0].items()},
            "whole": round(whole(of[0]), 2),
            "peak_mb": {stage: round(max(memory.peak(*spans[stage]) for spans in of)) for stage in of[0]},
        }
        for name, of in named.items()
    }


def whole(spans: Spans) -> float:
    """Seconds from the first stage's begin to the last one's end."""
    return sum(end - begin for begin, end in spans.values())


def masks(work: Path, path: str) -> list[np.ndarray]:
    """Reads the masks in a path's DICOM SEG files, for every study in order, on the study's own grid."""
    from fedmed_transforms import SegmentationToLabelsd, load_image

    files = {str(pydicom.dcmread(file)["StudyInstanceUID"].value): file for file in (work / path).rglob("*_seg.dcm")}
    found = []
    for folder, uid in zip(sorted((work / "studies").iterdir()), uids(work, "StudyInstanceUID"), strict=True):
        data = {"image": load_image(folder), "label": load_image(files[uid])}
        found.append(SegmentationToLabelsd("label", "image")(data)["label"].numpy() > 0)
    return found


def check_same(work: Path, paths: Sequence[str]) -> None:
    """All paths came to the same masks, which are neither empty nor full."""
    first = masks(work, paths[0])
    for path in paths:
        for one, other in zip(first, masks(work, path), strict=True):
            dice = 2 * (one & other).sum() / max(one.sum() + other.sum(), 1)
            if dice != 1 or one.all():
                raise RuntimeError(f"{path}: found Dice {dice} with {paths[0]}, expected 1, of a part of all voxels")


def compared(ours: dict[str, Any], label: dict[str, Any]) -> dict[str, float]:
    """Returns the ratios of MONAI Label's times and peak memory to those of the bundle's commands."""
    peaks = [max(size for part in path.values() for size in part["peak_mb"].values()) for path in (label, ours)]
    times = {name: round(label[name]["whole"] / ours[name]["whole"], 2) for name in ours}
    return {**times, "memory": round(peaks[0] / peaks[1], 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--label-python", type=Path)
    parser.add_argument("--without-label", action="store_true")
    parser.add_argument("--model", default="vit_b")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--slices", type=int, default=28)
    parser.add_argument("--studies", type=int, default=4)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))  # of the tests' Orthanc
    if options.studies < 2:
        parser.error(f"--studies: expected at least a cold and a warm one, found {options.studies}")
    paths: dict[str, Callable[[Path], dict[str, Any]]] = {"folder": from_folder}
    if not options.without_label:
        python = checked_python(options.label_python)
        paths |= {"archive": from_archive, "label": lambda work: from_label(work, python)}
    elif shutil.which("Orthanc"):
        paths["archive"] = from_archive
    found: dict[str, Any] = {"size": options.size, "slices": options.slices, "studies": options.studies}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_studies(work / "studies", options.studies, options.slices)
        write_bundle(work / BUNDLE, options.model, options.size)
        for path, measure in paths.items():
            found[path] = measure(work)
            print(path, found[path], flush=True)
        check_same(work, [*paths])
    if "label" in found:
        found["label_to_archive"] = compared(found["archive"], found["label"])
    print(json.dumps(found))


if __name__ == "__main__":
    main()
