"""The feature cache: entries whole or not there, and digests that change with all that a feature depends on."""

from __future__ import annotations

import logging
import math
import operator
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Identityd, Lambdad, OneOf, RandFlipd, ScaleIntensityd, Spacingd

import fedmed_transforms
from fedmed_networks.weights import content_digest
from fedmed_transforms import ClipPreprocessd, ScaleToUnitd
from fedmed_workflows.sites.datasets import fingerprint
from fedmed_workflows.sites.datasets.fingerprint import is_random, sources_digest, transform_digest
from fedmed_workflows.sites.datasets.tensor_cache import TensorCache

KEY = "ab" * 32


def test_an_entry_comes_back(tmp_path: Path) -> None:
    cache = TensorCache(tmp_path / "new")
    assert cache.get(KEY) is None
    for features in (torch.randn(3, 4), torch.randn(8, 2).t(), torch.randn(1, 1)):
        cache.put(KEY, {"features": features})
        found = cache.get(KEY)
        assert found is not None and torch.equal(found["features"], features) and cache.get("cd" * 32) is None
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [f"{KEY}.safetensors"]


def test_no_damage_to_an_entry_passes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = TensorCache(tmp_path)
    cache.put(KEY, {"features": torch.arange(6.0).reshape(2, 3)})
    (path,) = tmp_path.rglob("*.safetensors")
    whole = path.read_bytes()
    damaged = [whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :] for place in range(len(whole))]
    damaged += [whole[:place] for place in range(len(whole))] + [whole + b"more", bytes(300)]
    with caplog.at_level(logging.WARNING, "fedmed_workflows.sites.datasets.tensor_cache"):
        for content in damaged:
            path.write_bytes(content)
            assert cache.get(KEY) is None, content
    assert caplog.text.count(f"{path}: damaged entry, computed again") == len(damaged)
    path.write_bytes(whole)
    assert cache.get(KEY) is not None


def test_content_of_a_file_and_of_a_series(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        for name in ("1.dcm", "2.dcm"):
            (tmp_path / folder / name).write_text(name)
    one, other = tmp_path / "one", tmp_path / "other"
    assert content_digest(one) == content_digest(str(other))
    assert content_digest(one / "1.dcm") == content_digest(other / "1.dcm") != content_digest(one / "2.dcm")
    seen = {content_digest(one)}
    (other / "2.dcm").write_text("3.dcm")
    seen.add(content_digest(other))
    (other / "2.dcm").rename(other / "3.dcm")
    seen.add(content_digest(other))
    (other / "1.dcm").unlink()
    seen.add(content_digest(other))
    assert len(seen) == 4


class Factor:
    """A function whose effect depends on its object."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def times(self, image: Any) -> Any:
        return image * self.factor


def multiply(factor: float) -> Callable[[Any], Any]:
    return lambda image: image * factor


@pytest.mark.parametrize(
    "build, settings",
    [
        pytest.param(lambda value: ScaleToUnitd("image", upper=value), (0.99, 0.95), id="setting"),
        pytest.param(lambda value: ClipPreprocessd(value, 224), ("image", "other"), id="key"),
        pytest.param(lambda value: ClipPreprocessd("image", 224, std=(0.5, 0.5, value)), (0.5, 0.4), id="tuple"),
        pytest.param(lambda value: Spacingd("image", value), ((1, 1, 1), (1, 1, 2)), id="array"),
        pytest.param(lambda value: value("image"), (Identityd, ScaleIntensityd), id="class"),
        pytest.param(lambda value: Compose([Identityd("image")] * value), (1, 2), id="number of steps"),
        pytest.param(lambda value: Compose([ScaleIntensityd("a"), Identityd("a")][::value]), (1, -1), id="order"),
        pytest.param(lambda value: Lambdad("image", multiply(value)), (2, 3), id="closure"),
        pytest.param(lambda value: Lambdad("image", eval(f"lambda x: x[..., 1:] * {value}")), (2, 3), id="constant"),
        pytest.param(lambda value: Lambdad("image", eval(f"lambda x: x[..., {value}:]")), (2, 3), id="slice"),
        pytest.param(lambda value: Lambdad("image", eval(f"lambda x: (lambda y: y * {value})(x)")), (2, 3), id="inner"),
        pytest.param(lambda value: Lambdad("image", eval(f"lambda x, by={value}: x * by")), (2, 3), id="default"),
        pytest.param(lambda value: Lambdad("image", partial(operator.mul, value)), (2, 3), id="partial"),
        pytest.param(lambda value: Lambdad("image", partial(np.clip, a_min=0, a_max=value)), (2, 3), id="keyword"),
        pytest.param(lambda value: Lambdad("image", Factor(value).times), (2, 3), id="method"),
        pytest.param(lambda value: Lambdad("image", np.arange(value).take), (2, 3), id="method of an array"),
        pytest.param(lambda value: Lambdad("image", value), (math.sin, math.cos), id="built-in"),
        pytest.param(lambda value: Lambdad("image", value), (torch.sin, torch.cos), id="function of torch"),
        pytest.param(lambda value: Lambdad("image", torch.tensor(value).add), (2, 3), id="tensor"),
    ],
)
def test_preprocessings_differ_in_their_digest(build: Callable[[Any], Any], settings: tuple[Any, Any]) -> None:
    one, again, other = (transform_digest(build(value)) for value in (settings[0], settings[0], settings[1]))
    assert one == again != other


def test_a_preprocessing_that_cannot_be_read_off_is_refused() -> None:
    for unreadable in (iter([1]).__next__, np.random.default_rng(0).normal):
        with pytest.raises(ValueError, match="preprocessing: cannot determine the value of"):
            transform_digest(Compose([Identityd("image"), Lambdad("image", unreadable)]))


@pytest.mark.parametrize(
    "transform, expected",
    [
        (Compose([Identityd("image"), ScaleIntensityd("image")]), False),
        (RandFlipd("image"), True),
        (Compose([Identityd("image"), Compose([RandFlipd("image")])]), True),
        (OneOf([Identityd("image"), ScaleIntensityd("image")]), True),
        (Lambdad("image", math.sin), False),
    ],
)
def test_random_preprocessings_are_known(transform: Any, expected: bool) -> None:
    assert is_random(transform) is expected


def test_a_mended_reader_in_any_room_makes_features_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "fedmed_transforms"
    for name in ("load.py", "dicom/planes.py", "dicom/pixels/frames.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("VALUE = 1\n")
    monkeypatch.setattr(fedmed_transforms, "__file__", str(package / "__init__.py"))
    chain = Compose([ScaleToUnitd("image")])

    def digest() -> str:
        sources_digest.cache_clear()
        return transform_digest(chain)

    digests = {digest()}
    for name in ("load.py", "dicom/planes.py", "dicom/pixels/frames.py"):
        (package / name).write_text("VALUE = 2\n")
        digests.add(digest())
    (package / "dicom" / "planes.py").rename(package / "planes.py")
    digests.add(digest())
    sources_digest.cache_clear()
    assert len(digests) == 5


def test_a_library_that_a_machine_lacks_is_part_of_the_digest_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's machine may be without SimpleITK, which is too large to travel there."""
    here = transform_digest(Compose([]))

    def lacking(library: str) -> str:
        if library == "simpleitk":
            raise PackageNotFoundError(library)
        return version(library)

    monkeypatch.setattr(fingerprint, "version", lacking)
    there = transform_digest(Compose([]))
    assert there != here and there == transform_digest(Compose([]))
