"""Encrypted rounds, as hospitals run them: the aggregate of plain rounds, at a server that can read none of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tenseal
import torch
from monai.bundle import create_workflow
from nvflare.app_opt.he.decomposers import CKKSVectorDecomposer
from nvflare.lighter.impl.he import HEBuilder
from safetensors.torch import load_file

from fedmed_workflows.errors import ManifestError
from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.nvflare.encryption.site import decrypted
from fedmed_workflows.nvflare.job.encrypted_job import write_encrypted_job
from fedmed_workflows.nvflare.run.production import Production
from tests.documented_policies import allow_documented, follow_documentation
from tests.hospital_network import HospitalNetwork

ROOT = Path(__file__).parents[3]
SITES = ("north", "south")

CKKS_TOLERANCE = 1e-5
"""How far encrypted rounds may be from plain ones after three rounds: CKKS computes with about 24 binary digits."""

in_a_network = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="network namespaces need root and iproute2"
)


@pytest.fixture(scope="module")
def data_dir(sites_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sites of different size, so that the mean must be weighted."""
    root = tmp_path_factory.mktemp("data")
    for site, source in zip(SITES, ("site_a", "site_b"), strict=True):
        shutil.copytree(sites_dir / source, root / site)
    for file in sorted((root / "south").glob("*/*.png"))[::2]:
        file.unlink()
    return root


@pytest.fixture(scope="module")
def hospitals(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HospitalNetwork]:
    """A server and two sites with keys in their kits, and the documented policies."""
    root = tmp_path_factory.mktemp("hospitals")
    environments = {"server": {"FEDMED_STATE_DIR": str(root / "own" / "server")}}
    for site in SITES:
        own = root / "own" / site
        shutil.copytree(ROOT / "bundles" / "facmic_classification", own / "bundles" / "facmic_classification")
        environments[site] = {
            "FEDMED_BUNDLES": str(own / "bundles"), "FEDMED_DATASET_DIR": str(data_dir),
            "FEDMED_STATE_DIR": str(own / "state"), "FEDMED_DEVICE": "cpu",
        }  # fmt: skip
    network = HospitalNetwork(root, SITES, (), environments, heart_beat_timeout=20, encrypted=True)
    for host in ("server", *SITES):
        role, place = ("server", "the server") if host == "server" else ("site", "a site")
        follow_documentation(network.kits / host, role)
        allow_documented(network.kits / host, f"classes of encrypted rounds at {place}")
    with network:
        yield network


@pytest.fixture
def entries(federated: dict[str, Any]) -> dict[str, Any]:
    facmic = {**federated["facmic"], "target": "none"}
    return {
        **federated,
        "unseen_site": None,
        "sites": list(SITES),
        "class_names": ["dots", "stripes"],
        "facmic": facmic,
    }


def production(entries: dict[str, Any], **changed: Any) -> Production:
    workflow = create_workflow(**{**entries, "dataset_dir": "none", **changed})
    return Production(workflow.parser.get_parsed_content("federation"))


def close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=CKKS_TOLERANCE, msg=name)


@pytest.mark.processes
@in_a_network
def test_encrypted_rounds_end_with_the_weights_of_plain_ones_and_the_server_cannot_read_them(
    hospitals: HospitalNetwork, entries: dict[str, Any], data_dir: Path, tmp_path: Path
) -> None:
    job = production(entries).export_encrypted(str(tmp_path / "jobs"))
    done = json.loads(hospitals.run_admin("-m", "tests.submit_job", job).splitlines()[-1])
    assert done["status"] == "FINISHED:COMPLETED", hospitals.log("server")
    (result,) = create_workflow(**{**entries, "dataset_dir": str(data_dir), "output_dir": str(tmp_path / "here")}).run()
    plain = torch.load(tmp_path / "here" / "model.pt", weights_only=True)
    for site in SITES:
        (file,) = (hospitals.folder / "own" / site / "state").rglob("model.pt")
        close(torch.load(file, weights_only=True), plain)
        assert "9 of 9 layers encrypted" in hospitals.log(site)

    left = Path(done["folder"]) / "workspace" / "fedmed"
    weights = load_file(tmp_path / "here" / "checkpoints" / "round_00003.safetensors")
    aggregate = {name: bytes(value.numpy()) for name, value in load_file(left / "aggregate.safetensors").items()}
    theirs, ours = (context(hospitals.kits / "server"), context(hospitals.kits / "north"))
    assert not theirs.is_private()
    with pytest.raises(ValueError, match="secret_key"):
        tenseal.ckks_vector_from(theirs, aggregate["attention.0.weight"]).decrypt()
    manifest = Manifest.from_json(result["manifest"])
    read = {name: tenseal.ckks_vector_from(ours, text).decrypt() for name, text in aggregate.items()}
    close(decrypted(read, manifest, "north"), weights)
    scores = json.loads((left / "scores.json").read_text())
    assert scores["north"]["images"] == result["final"]["north"]["images"] > 0


def context(kit: Path) -> tenseal.Context:
    (file,) = (kit / "startup").glob("*_context.tenseal")
    return tenseal.context_from(file.read_bytes())


def test_a_ciphertext_travels_without_the_key() -> None:
    builder = HEBuilder()
    builder.initialize(None, None)
    site = tenseal.context_from(builder.get_serialized_context(is_client=True))
    text, carried = CKKSVectorDecomposer().decompose(tenseal.ckks_vector(site, [0.25, -3.0]))
    assert site.is_private() and not tenseal.context_from(carried).is_private()
    assert tenseal.ckks_vector_from(site, text).decrypt() == pytest.approx([0.25, -3.0], abs=CKKS_TOLERANCE)


def test_whole_numbers_are_rounded_and_shapes_come_back() -> None:
    manifest = Manifest({"weight": ([2, 2], "float32"), "count": ([], "int64")}, "frozen")
    weights = decrypted({"weight": [1.0, 2.0, 3.0, 4.0], "count": [2.9999997]}, manifest, "a")
    assert torch.equal(weights["weight"], torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert torch.equal(weights["count"], torch.tensor(3))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, r"site 'a': received \[\], the manifest has \['weight'\]"),
        ({"weight": [1.0]}, r"site 'a': tensor weight: received 1 values, expected shape \[2\]"),
    ],
)
def test_an_aggregate_of_another_network_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        decrypted(values, Manifest({"weight": ([2], "float32")}, "frozen"), "a")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"unseen_site": "harbour"}, "unseen_site: found 'harbour', expected null"),
        ({"min_sites": 1}, "min_sites: found 1, expected null"),
        ({"filters": []}, r"filters: found \[\], expected null"),
    ],
)
def test_what_encrypted_rounds_do_not_have_is_refused(
    entries: dict[str, Any], tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    federation = production(entries, **changed).federation
    with pytest.raises(ValueError, match=said):
        write_encrypted_job(federation, None, "run", tmp_path / "jobs")  # type: ignore[arg-type]
    assert not (tmp_path / "jobs").exists()


def test_rounds_in_which_nothing_would_travel_are_refused(entries: dict[str, Any], tmp_path: Path) -> None:
    network = SimpleNamespace(manifest=Manifest({}, "frozen"))
    with pytest.raises(ValueError, match="rounds: expected 0, found 2: no tensor of this network is exchanged"):
        federation = production(entries, rounds=2).federation
        write_encrypted_job(federation, network, "run", tmp_path / "jobs")  # type: ignore[arg-type]
    assert not (tmp_path / "jobs").exists()
