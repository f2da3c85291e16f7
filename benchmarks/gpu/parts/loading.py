"""Correctness of loading: the tests' own files load onto the device with the bits of the CPU; all transforms."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any
from unittest import mock

import torch

from benchmarks.gpu.part import PartRun, expect
from benchmarks.gpu.results import ROOT

TESTS = ROOT / "tests" / "transforms"

SMALL = ("dicom/test_transfer_syntaxes.py", "loading/test_load.py")
"""Test files whose images the run without a GPU loads."""

ALL = (*SMALL, "loading/test_shipped_nifti.py", "dicom/test_shipped_dicom.py", "dicom/test_pixel_meaning.py",
       "dicom/test_multiframe.py", "dicom/test_upload.py")  # fmt: skip
"""Test files whose images load onto the GPU: every transfer syntax, every kind of NIfTI."""

SMALL_CASES, CASES = ("cases/test_stacks.py",), ("cases",)
"""Tests of odd files and series, as they occur."""

OPTIONS = ("-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist")
"""Of pytest, which runs here and leaves nothing."""

EXACT = 2**24
"""Whole numbers up to this come from no float arithmetic that could round."""


def loading(run: PartRun) -> None:
    """Runs tests of loading; every image that they load is loaded onto the device as well, and compared."""
    _compare(run, SMALL if run.small else ALL)


def odd_files(run: PartRun) -> None:
    """Compares the images of tests of odd files likewise."""
    _compare(run, SMALL_CASES if run.small else CASES)


def _compare(run: PartRun, names: tuple[str, ...]) -> None:
    import pytest

    compared = Compared(run)
    with compared.watching():
        files, left_out = _runnable(names)
        status = pytest.main([*files, *OPTIONS, f"--basetemp={run.folder / 'tests'}"])
    run.record(**compared.figures, left_out_without_simple_itk=left_out)
    expect(status == 0, f"tests of loading ended with status {int(status)}; the log names them")
    expect(compared.figures["images"] > 5, f"{compared.figures['images']} images were loaded, expected many")


def _runnable(names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Lists the test files, and those that are left out: SimpleITK is too large to travel to a bare machine."""
    places = [TESTS / name for name in names]
    files = [file for place in places for file in (sorted(place.glob("test_*.py")) if place.is_dir() else [place])]
    needs = [file for file in files if re.search("simple_?itk", file.read_text(), re.IGNORECASE)]
    needs = [] if find_spec("SimpleITK") else needs
    return [str(file) for file in files if file not in needs], [file.name for file in needs]


class Compared:
    """Compares each loaded image with the same image on the device of a part.

    On the CPU, the way of other devices through :func:`fedmed_transforms.dicom.pixels.voxels.fill_on_device` is taken.
    """

    def __init__(self, run: PartRun) -> None:
        self.run, self.device = run, run.device
        self.figures = {"images": 0, "refusals": 0, "of_equal_bits": 0, "largest_ulp": 0}

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Loads onto the device, too, whatever is loaded within."""
        from fedmed_transforms.loading import load, load_dictionary

        original = load.load_source

        def both(source: Any, device: torch.device, *rules: Any, **options: Any) -> Any:
            try:
                image = original(source, device, *rules, **options)
            except ValueError as error:
                self._refused(partial(original, source), rules, options, error)
                raise
            if device.type == "cpu":
                self.compare(image, self._on_device(partial(original, source), rules, options))
            return image

        with mock.patch.object(load, "load_source", both), mock.patch.object(load_dictionary, "load_source", both):
            yield

    def compare(self, image: torch.Tensor, other: torch.Tensor) -> None:
        """Counts an image; refuses (AssertionError) other bits of whole numbers, and more than 1 ulp elsewhere."""
        here, there = torch.as_tensor(image).contiguous(), torch.as_tensor(other).cpu().contiguous()
        expect(other.device.type == self.device.type, f"the image lies on {other.device}, expected {self.device}")
        expect(here.shape == there.shape, f"shapes {tuple(here.shape)} and {tuple(there.shape)}")
        distance = ulps(here, there)
        self.figures["images"] += 1
        if self.figures["images"] % 50 == 0:
            self.run.record(**self.figures)
        self.figures["of_equal_bits"] += int(distance == 0)
        self.figures["largest_ulp"] = max(self.figures["largest_ulp"], distance)
        whole = bool(((here == here.round()) & (here.abs() <= EXACT)).all())
        expect(distance <= (0 if whole else 1), f"{distance} ulp between CPU and device")

    def _refused(self, load: Any, rules: Any, options: Any, error: ValueError) -> None:
        self.figures["refusals"] += 1
        try:
            self._on_device(load, rules, options)
        except ValueError as other:
            expect(str(other) == str(error), f"on the device it is refused as {other}")
        else:
            raise AssertionError("the device loads what the CPU refuses")

    def _on_device(self, load: Any, rules: Any, options: Any) -> torch.Tensor:
        from fedmed_transforms.dicom.pixels import voxels

        there = mock.patch.object(voxels, "fill_here", voxels.fill_on_device)
        with there if self.device.type == "cpu" else contextlib.nullcontext():
            loaded: torch.Tensor = load(self.device, *rules, **options)
            return loaded


def ulps(one: torch.Tensor, other: torch.Tensor) -> int:
    """Counts the float32 numbers between two tensors where they differ most; NaN is next to nothing but NaN."""
    if not one.numel():
        return 0
    places = [_place(values.view(torch.int32).long()) for values in (one, other)]
    both = torch.isnan(one) & torch.isnan(other)
    return int(torch.where(both, 0, (places[0] - places[1]).abs()).max())


def _place(bits: torch.Tensor) -> torch.Tensor:
    """Numbers all floats in their order, from their bits."""
    return torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def transforms(run: PartRun) -> None:
    """Applies every transform on the device and on the CPU."""
    from monai.data import MetaTensor

    from tests.transforms.preprocessing.test_devices import PET, TRANSFORMS

    values = torch.randint(0, 999, (1, 20, 17, 6), generator=torch.Generator().manual_seed(0)).float()
    meta = {"dicom": PET, "affine": torch.diag(torch.tensor([1.0, 1.0, 4.0, 1.0]))}
    largest = {}
    for kind, transform in TRANSFORMS.items():
        expected = torch.as_tensor(transform(MetaTensor(values, meta=dict(meta)))).double()
        found = transform(MetaTensor(values.to(run.device), meta=dict(meta)))
        expect(found.device.type == run.device.type, f"{kind.__name__}: the result lies on {found.device}")
        difference = (torch.as_tensor(found).cpu().double() - expected).abs().max()
        largest[kind.__name__] = float(difference / max(1.0, float(expected.abs().max())))
    run.record(largest_relative_difference=largest)
    expect(max(largest.values()) <= 1e-5, f"{max(largest, key=lambda name: largest[name])}: {max(largest.values())}")
