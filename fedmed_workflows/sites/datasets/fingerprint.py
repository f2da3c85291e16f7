"""Digests of an image and of its preprocessing, on which a cached feature depends."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import BuiltinMethodType, CodeType, EllipsisType, FunctionType, MethodType, MethodWrapperType, ModuleType
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose
from monai.transforms.traits import RandomizableTrait

import fedmed_transforms
from fedmed_networks.weights import content_digest, file_digest
from fedmed_transforms.loading.find import files_of

LIBRARIES = (
    *("monai", "torch", "numpy", "pillow", "pydicom", "nibabel", "highdicom", "imagecodecs", "isal"),
    *("pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pyjpegls", "simpleitk", "tifffile"),
)
"""Packages whose versions are part of the digest of a preprocessing."""

PLAIN = (
    type(None), EllipsisType, bool, int, float, complex, str, bytes, slice, range, Path, torch.dtype, torch.device,
)  # fmt: skip
"""Types whose text representation is their value."""


def image_digest(image: str | Path) -> str:
    """Returns the digest of the content of an image: of its file, of its folder, or of its header and voxel files."""
    files = files_of(Path(image))
    if len(files) == 1:
        return content_digest(image)
    return hashlib.sha256(" ".join(file_digest(file) for file in files).encode()).hexdigest()


def is_random(transform: Any) -> bool:
    """Returns whether a chain of transforms is random, so that the features of an image differ from pass to pass."""
    if isinstance(transform, Compose):
        if type(transform) is not Compose:  # OneOf, SomeOf, RandomOrder choose at random
            return True
        return any(is_random(step) for step in transform.transforms)
    return isinstance(transform, RandomizableTrait)


def transform_digest(transform: Any) -> str:
    """Returns the SHA-256 digest of a chain of transforms.

    The digest includes the classes, their source files, every setting, all source files of ``fedmed_transforms`` (a
    loader calls many of these files), and the versions of the libraries.

    Raises
    ------
    ValueError
        A setting has a type whose value cannot be determined, so that the digest would not be safe.
    """
    digest = hashlib.sha256()
    for line in _describe(transform, []):
        digest.update(line.encode() + b"\n")
    digest.update(f"{sources_digest()}\n".encode())
    for library in LIBRARIES:
        digest.update(f"{library} {_version_of(library)}\n".encode())
    return digest.hexdigest()


def _version_of(library: str) -> str:
    """Returns the version of a library; a machine may lack the one that reads a format it does not have."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


@functools.lru_cache(maxsize=1)
def sources_digest() -> str:
    """Returns the SHA-256 digest of the paths and bytes of all source files of ``fedmed_transforms``."""
    digest = hashlib.sha256()
    package = Path(fedmed_transforms.__file__).parent
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package).as_posix()} {file_digest(file)}\n".encode())
    return digest.hexdigest()


def _describe(value: Any, above: list[int]) -> Iterable[str]:
    if isinstance(value, PLAIN):
        yield repr(value)
    elif isinstance(value, (np.ndarray, np.generic, torch.Tensor)):
        array = np.ascontiguousarray(value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value)
        yield f"{array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"
    elif isinstance(value, np.random.RandomState):
        yield "random state"  # a Compose always has one, also without a random step
    elif isinstance(value, type):
        yield f"{value.__module__}.{value.__qualname__} {_source_digest(value)}"
    elif isinstance(value, FunctionType):
        yield f"{value.__module__}.{value.__qualname__} {_file_digest(value.__code__.co_filename)}"
        closure = [cell.cell_contents for cell in value.__closure__ or ()]
        yield from _members([value.__code__, closure, value.__defaults__, value.__kwdefaults__], above, value)
    elif isinstance(value, CodeType):
        yield from _members([value.co_code, value.co_names, value.co_consts], above, value)
    elif isinstance(value, functools.partial):
        yield from _members([value.func, value.args, value.keywords], above, value)
    elif isinstance(value, MethodType):
        yield from _members([value.__func__, value.__self__], above, value)
    elif isinstance(value, (BuiltinMethodType, MethodWrapperType)) and not isinstance(value.__self__, ModuleType):
        yield from _members([value.__qualname__, value.__self__], above, value)
    elif isinstance(value, Mapping):
        yield from _members([item for pair in sorted(value.items(), key=repr) for item in pair], above, value)
    elif isinstance(value, (set, frozenset)):
        yield from _members(sorted(value, key=repr), above, value)
    elif isinstance(value, (list, tuple)):
        yield from _members(list(value), above, value)
    elif hasattr(value, "__dict__"):
        yield from _members([type(value), *sorted(vars(value).items())], above, value)
    elif callable(value) and hasattr(value, "__qualname__"):
        yield f"{value.__module__}.{value.__qualname__}"
    else:
        raise ValueError(f"preprocessing: cannot determine the value of {value!r} of type {type(value).__qualname__}")


def _members(members: list[Any], above: list[int], owner: Any) -> Iterable[str]:
    if id(owner) in above:  # a circular reference
        return
    yield f"{type(owner).__qualname__} of {len(members)}"
    for member in members:
        yield from _describe(member, [*above, id(owner)])


@functools.lru_cache(maxsize=None)
def _source_digest(kind: type) -> str:
    """Returns the digest of the file that defines a class, so that a changed transform computes its features again."""
    try:
        return _file_digest(inspect.getfile(kind))
    except (TypeError, OSError):
        return "built in"


@functools.lru_cache(maxsize=None)
def _file_digest(path: str) -> str:
    return file_digest(Path(path)) if Path(path).is_file() else "no file"
