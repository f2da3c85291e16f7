"""The packages that travel to a bare machine: all that setup.cfg names, less what is there in a version that fits."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.gpu import wheels
from benchmarks.gpu.results import ROOT

THERE = wheels.present(ROOT / "benchmarks" / "gpu" / "bare_machine.txt")


def needed() -> list[Requirement]:
    return wheels.requirements(ROOT / "setup.cfg")


def test_every_package_of_the_project_travels_or_is_there() -> None:
    found = wheels.carried(needed(), THERE)
    for item in needed():
        name = str(canonicalize_name(item.name))
        assert (name in found) is not (name in THERE), name
    assert {"monai", "pydicom", "imagecodecs", "open-clip-torch", "pytorch-ignite", "fire"} <= set(found)
    assert not {"torch", "numpy", "triton", "nvidia-cublas", "torchvision"} & set(found)


def test_a_new_dependency_is_not_forgotten(tmp_path: Path) -> None:
    head = "install_requires =\n"
    text = (ROOT / "setup.cfg").read_text().replace(head, f"{head}    flake8>=7\n    xdist2\n")
    (tmp_path / "setup.cfg").write_text(text.replace("    xdist2\n", "    nvflare>=2.9\n"))
    before = {item.name for item in needed()}
    assert {item.name for item in wheels.requirements(tmp_path / "setup.cfg")} == before  # those of CHECKS and SERVERS
    (tmp_path / "setup.cfg").write_text(text)
    with pytest.raises(ValueError, match=r"^xdist2: not installed here, expected an environment of \.\[test\]"):
        wheels.carried(wheels.requirements(tmp_path / "setup.cfg"), THERE)


@pytest.mark.parametrize(
    ("there", "needs", "travels"),
    [
        ({}, "packaging", True),
        ({"packaging": ""}, "packaging>=1", False),
        ({"packaging": "20.0"}, "packaging>=1", False),
        ({"packaging": "20.0"}, "packaging>=21", True),
    ],
)
def test_a_version_that_does_not_fit_travels(there: dict[str, str], needs: str, travels: bool) -> None:
    assert ("packaging" in wheels.carried([Requirement(needs)], there)) is travels


def test_extras_and_markers_are_those_of_the_machine() -> None:
    found = wheels.carried([Requirement("monai[fire]>=1.6")], {"torch": "", "numpy": "", "termcolor": ""})
    assert set(found) == {"monai", "fire"}


def test_too_much_to_travel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large.whl").write_bytes(bytes(3_000_000))
    assert wheels.check_size(tmp_path) == pytest.approx(3.0)
    refusal = r"found 3\.0 MB, expected less than 2 MB; the largest: large\.whl \(3\.0 MB\)"
    with pytest.raises(ValueError, match=refusal):
        wheels.check_size(tmp_path, largest=2)
