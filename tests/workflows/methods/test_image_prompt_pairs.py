"""A training step of image-prompt pairs: the loss by hand, with gradients to both encoders, on pictures as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import Compose
from torch.nn import functional

from fedmed_networks import FineTunedCLIP
from fedmed_transforms import ClipPreprocessd, LoadMedicalImaged, ScaleToUnitd, ToPicturesd
from fedmed_workflows.methods.image_prompt_pairs import PairInferer, PairLoss
from fedmed_workflows.sites.datasets.encoded import EncodedDataset


@pytest.fixture
def network(small_clip: dict[str, Any]) -> FineTunedCLIP:
    return FineTunedCLIP(["dots", "stripes"], clip=small_clip)


def test_the_loss_of_a_step(network: FineTunedCLIP) -> None:
    """Features against the prompt of every picture's own class, both ways; pictures of one class are negatives."""
    pictures = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([1, 0, 1])
    loss = PairLoss()(PairInferer()(pictures, network), labels)
    features = functional.normalize(network.clip.encode_image(pictures), dim=1)
    prompts = functional.normalize(network.clip.encode_text(network.tokens[labels]), dim=1)
    logits = network.clip.logit_scale.exp() * features @ prompts.t()
    rows = -logits.log_softmax(dim=1).diagonal().mean()
    columns = -logits.log_softmax(dim=0).diagonal().mean()
    assert loss.item() == pytest.approx((rows + columns).item() / 2, rel=1e-5)
    loss.backward()
    for value in (network.clip.visual.proj, network.clip.text_projection, network.clip.logit_scale):
        assert value.grad is not None and value.grad.any()


@pytest.fixture
def volume(tmp_path: Path) -> str:
    values = np.random.default_rng(0).normal(size=(12, 10, 5)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 1.0, 5.0, 1.0])), tmp_path / "volume.nii.gz")
    return str(tmp_path / "volume.nii.gz")


def test_an_encoder_that_trains_gets_pictures_and_an_image_is_read_once(
    network: FineTunedCLIP, volume: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [LoadMedicalImaged("image"), ToPicturesd("image"), ScaleToUnitd("image"), ClipPreprocessd("image", 16)]
    chain = Compose(steps)
    data = [{"image": volume, "label": 1}]
    plain = EncodedDataset(data, chain, network)
    assert plain.features is None and plain.why_not_cached == "the encoder trains" and len(plain) == 5
    expected = [plain[index]["image"] for index in range(5)]
    reads = []
    load = LoadMedicalImaged.__call__
    monkeypatch.setattr(LoadMedicalImaged, "__call__", lambda self, item: reads.append(item) or load(self, item))
    for _ in range(2):  # the second dataset finds what the first one kept
        kept = EncodedDataset(data, chain, network, tmp_path / "cache")
        assert all(torch.equal(kept[index]["image"], picture) for index, picture in enumerate(expected))
        assert len(reads) == 1 and kept[4]["label"] == 1 and kept[4]["item"] == 0
    assert expected[0].shape == (3, 16, 16) and not torch.equal(expected[0], expected[1])
    network.visual.requires_grad_(False)
    assert EncodedDataset(data, chain, network, tmp_path / "cache")[0]["image"].shape == (16,)


def test_an_image_that_cannot_be_read_is_named(network: FineTunedCLIP, tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.png")
    with pytest.raises(ValueError, match="absent.png: no such file"):
        EncodedDataset([{"image": absent, "label": 0}], Compose([LoadMedicalImaged("image")]), network, tmp_path / "c")
