"""The packages that configurations name: their versions in a bundle's metadata, and the notes of a run."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from fedmed_workflows.federation.bundle.needed_packages import needed_packages, package_notes, with_versions


def installed(folder: Path, module: str, name: str, number: str) -> None:
    """Writes what pip writes of an installed package."""
    (folder / module).mkdir()
    (folder / module / "__init__.py").touch()
    info = folder / f"{module}-{number}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
    (info / "top_level.txt").write_text(f"{module}\n")


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    installed(tmp_path, "an_adapter", "An.Adapter", "1.2.0+cpu")
    monkeypatch.syspath_prepend(str(tmp_path))
    targets = ["fedmed_workflows.FedProx", "torch.optim.Adam", "monai.data.DataLoader", "ignite.metrics.Accuracy",
               "types.SimpleNamespace", "Compose", "scipy.special.expit", "loose_module.losses.Term"]  # fmt: skip
    parts = [{"_target_": target} for target in targets]
    return {"network_def#_target_": "an_adapter.Network", "train": {"handlers": [parts]}, "_target_name": "none.At"}


def test_packages_besides_those_of_fedmed(configuration: dict[str, object]) -> None:
    found = needed_packages([configuration, {}])
    assert found == {"An.Adapter": "1.2.0", "loose_module": "0.0"}
    first, second = package_notes(found)
    assert first.startswith("The trained bundle needs the package An.Adapter 1.2.0: install it")
    assert second.startswith("The trained bundle needs the module loose_module, which belongs to no installed package")


def test_metadata_have_the_versions_of_this_installation() -> None:
    metadata = {"name": "A", "monai_version": "0.9", "pytorch_version": "1.0", "numpy_version": "1.0",
                "required_packages_version": {"pytorch_ignite": "0.1", "of_another_machine": "3.0"}}  # fmt: skip
    found = with_versions(metadata, {"An.Adapter": "1.2.0", "pytorch-ignite": "0.1"})
    assert found == {
        "name": "A", "monai_version": version("monai"), "numpy_version": version("numpy"),
        "pytorch_version": version("torch").partition("+")[0],
        "required_packages_version": {
            "pytorch_ignite": version("pytorch-ignite"), "of_another_machine": "3.0", "An.Adapter": "1.2.0",
        },
    }  # fmt: skip
