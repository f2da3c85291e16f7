"""Loading DICOM series and NIfTI volumes beside MONAI's readers, SimpleITK and dcm2niix, in one run.

Run ``python benchmarks/loading.py [--data FOLDER]`` (the extra ``benchmark``; dcm2niix where it is installed), where
FOLDER holds ``ct/head_regular_jpegls``. Medians in seconds with files in the page cache; the first, warming run of each
is reported apart. Peak memory is that of a process of its own, above what it held before, relative to the volume.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEGLSLossless, generate_uid

from fedmed_transforms import Prefetched, load_image

SIDE = 512
FILLERS = 60
"""Further elements of each header, so that it is as long as a scanner's."""

PEAK = """
from pathlib import Path
from fedmed_transforms import load_image

def held(key):
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key)]
    return int(line.split()[1]) * 1024

load_image(r"{small}")
Path("/proc/self/clear_refs").write_text("5")
before = held("VmRSS")
image = load_image(r"{path}")
print((held("VmHWM") - before) / (4 * image.numel()))
"""
"""Linux: the highest memory of a process, counted anew once a small series was loaded and all is imported."""


def slice_of(number: int) -> np.ndarray[Any, Any]:
    """A body with a skeleton of noise, as a CT of 12 bits stores it."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    body = np.hypot(x / 0.8, y / 0.6) < 1
    bone = np.hypot(x / 0.1, (y - 0.35 + number / 2000) / 0.1) < 1
    values = 24 + body * (1030 + 60 * np.sin(9 * x + number / 30)) + bone * 700 + rng.normal(0, 12, x.shape)
    return np.asarray(values.clip(0, 4095), dtype=np.uint16)


def write_series(folder: Path, slices: int, compressed: bool) -> Path:
    """An axial CT series; the files' order is not that of the slices."""
    folder.mkdir(parents=True)
    uid, study, frame = (generate_uid() for _ in range(3))
    for number in range(slices):
        dicom = Dataset()
        dicom.file_meta = FileMetaDataset()
        dicom.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dicom.SOPClassUID, dicom.SOPInstanceUID, dicom.SeriesInstanceUID = CTImageStorage, generate_uid(), uid
        dicom.StudyInstanceUID, dicom.FrameOfReferenceUID, dicom.Modality = study, frame, "CT"
        dicom.PixelSpacing, dicom.SliceThickness, dicom.InstanceNumber = [0.5, 0.5], 1.0, number + 1
        dicom.ImageOrientationPatient, dicom.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-128, -128, float(number)]
        block = dicom.private_block(0x0009, "FILLER", create=True)
        for filler in range(FILLERS):
            block.add_new(filler, "LO", f"a value of some length {filler}")
        dicom.set_pixel_data(slice_of(number), "MONOCHROME2", 12, generate_instance_uid=False)
        dicom.RescaleSlope, dicom.RescaleIntercept = 1, -1024
        if compressed:
            dicom.compress(JPEGLSLossless, generate_instance_uid=False)
        dicom.save_as(folder / f"{number * 7919 % 10007:05d}.dcm", enforce_file_format=True)
    return folder


def timed(work: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Seconds of the first run, and the median of those after it."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return {"first": round(seconds[0], 4), "median": round(statistics.median(seconds[1:]), 4)}


def monai_reader(name: str) -> Callable[[Path], Any]:
    """Returns a function that calls MONAI's reader alone, for an array of the file's own type and its metadata."""
    import monai.data

    def read(path: Path) -> Any:
        reader = getattr(monai.data, name)()
        return reader.get_data(reader.read(str(path)))

    return read


def monai_loader(name: str) -> Callable[[Path], Any]:
    """MONAI's way to what ``load_image`` gives: a float32 tensor, channel first."""
    from monai.transforms import LoadImage

    return lambda path: LoadImage(reader=name, ensure_channel_first=True)(str(path))


def simple_itk(path: Path) -> Any:
    """SimpleITK's image, of the file's own type."""
    import SimpleITK

    if path.is_file():
        return SimpleITK.ReadImage(str(path))
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
    return reader.Execute()


def dcm2niix(path: Path) -> Any:
    """dcm2niix, which writes an uncompressed NIfTI."""
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(["dcm2niix", "-z", "n", "-o", out, str(path)], check=True, capture_output=True)
        if not any(Path(out).glob("*.nii")):
            raise ValueError("dcm2niix wrote nothing")


def readers(path: Path) -> dict[str, Callable[[Path], Any]]:
    """Returns the readers that are measured on a path, by name."""
    names = ["PydicomReader"] if path.is_dir() else ["NibabelReader"]
    found: dict[str, Callable[[Path], Any]] = {"fedmed": load_image, "SimpleITK": simple_itk}
    for name in [*names, "ITKReader"]:
        found |= {f"monai.{name}": monai_reader(name), f"monai.LoadImage({name})": monai_loader(name)}
    if path.is_dir() and shutil.which("dcm2niix"):
        found["dcm2niix"] = dcm2niix
    if torch.cuda.is_available():
        found["fedmed on the GPU"] = lambda path: (load_image(path, device="cuda"), torch.cuda.synchronize())
        found["monai.LoadImage(to GPU)"] = lambda path: (monai_loader(names[0])(path).cuda(), torch.cuda.synchronize())
    return found


def peak(path: Path, small: Path) -> float:
    """Peak memory of one load, relative to the float32 volume."""
    code = PEAK.format(small=small, path=path)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return round(float(done.stdout.split()[-1]), 2)


def measure(path: Path, small: Path, repeats: int) -> dict[str, Any]:
    """Times of every reader on one path, ratios to ours, and our peak memory."""
    result: dict[str, Any] = {}
    for name, read in readers(path).items():
        try:
            result[name] = timed(lambda: read(path), repeats)
        except Exception as error:  # a reader that cannot read it is part of the finding
            result[name] = f"fails: {type(error).__name__}"
    ours = result["fedmed"]["median"]
    result["times slower than fedmed"] = {
        name: round(times["median"] / ours, 2) for name, times in result.items() if isinstance(times, dict)
    }
    result["peak memory"] = peak(path, small)
    print(path.name, json.dumps(result), flush=True)
    return result


def prefetching(path: Path, volumes: int = 6) -> dict[str, float]:
    """A loop whose step takes as long as a load, on another device (here: asleep): how long it waits for volumes."""
    load = timed(lambda: load_image(path), 2)["median"]
    waits = {}
    for name, ahead in (("in turn", False), ("prefetched", True)):
        items = (load_image(path) for _ in range(volumes))
        start = time.perf_counter()
        for _ in Prefetched(items) if ahead else items:
            time.sleep(1.5 * load)
        waits[f"{name}: waiting, share of the loop"] = round(
            1 - 1.5 * load * volumes / (time.perf_counter() - start), 3
        )
    return waits


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with ct/head_regular_jpegls")
    parser.add_argument("--slices", type=int, nargs="+", default=[28, 140, 600])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    results: dict[str, Any] = {"threads": torch.get_num_threads(), "pydicom": pydicom.__version__}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        small = write_series(root / "small", 2, compressed=False)
        for slices in options.slices:
            for kind, compressed in (("uncompressed", False), ("JPEG-LS", True)):
                series = write_series(root / f"{kind} {slices}", slices, compressed)
                results[series.name] = measure(series, small, options.repeats)
                results[series.name] |= prefetching(series) if slices == 140 and not compressed else {}
                shutil.rmtree(series)
        volume = np.stack([slice_of(number).astype(np.int16) - 1024 for number in range(300)], axis=-1)
        nib.save(nib.Nifti1Image(volume, np.diag([0.5, 0.5, 1, 1])), root / "512x512x300.nii.gz")
        results["512x512x300.nii.gz"] = measure(root / "512x512x300.nii.gz", small, options.repeats)
        if options.data:
            results["head_regular_jpegls"] = measure(
                options.data / "ct" / "head_regular_jpegls", small, options.repeats
            )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
