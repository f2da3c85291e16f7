"""A scanner's contrast, shading, resolution and noise: values by hand, and the same for the same image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from fedmed_transforms import AcquisitionShift


def pictures(*values: list[list[float]]) -> torch.Tensor:
    return torch.tensor(values)[:, None]


def grey(*shape: int) -> torch.Tensor:
    return torch.full(shape, 0.5)


def test_contrast_is_an_exponent_between_the_extremes() -> None:
    shifted = AcquisitionShift(contrast=2)(pictures([[0.0, 0.25], [0.5, 1.0]]))
    torch.testing.assert_close(shifted, pictures([[0.0, 0.0625], [0.25, 1.0]]), atol=1e-5, rtol=0)
    shifted = AcquisitionShift(contrast=0.5)(pictures([[0.2, 0.3], [0.4, 0.6]]))  # 0.4 wide, from 0.2
    torch.testing.assert_close(shifted, pictures([[0.2, 0.4], [0.2 + 0.4 * 0.5**0.5, 0.6]]), atol=1e-5, rtol=0)


def test_resolution_averages_pixels_and_comes_back_to_the_same_size() -> None:
    checks = pictures(*([[[0.0, 1.0], [1.0, 0.0]]] * 2)).tile(1, 3, 2, 2)
    torch.testing.assert_close(AcquisitionShift(resolution=0.5)(checks), grey(2, 3, 4, 4))
    step = pictures([[0.0, 0.0, 1.0, 1.0]] * 4)  # two pixels are left, their centres at 0.5 and 2.5
    torch.testing.assert_close(AcquisitionShift(resolution=0.5)(step), pictures([[0.0, 0.25, 0.75, 1.0]] * 4))


def test_slices_do_not_mix() -> None:
    stack = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8), torch.zeros(1, 8, 8)])
    torch.testing.assert_close(AcquisitionShift(resolution=0.25)(stack), stack)


def test_noise_has_the_spread_that_was_asked_for() -> None:
    noise = AcquisitionShift(noise=0.05)(grey(2, 3, 64, 64)) - 0.5
    assert noise.std().item() == pytest.approx(0.05, rel=0.02) and abs(noise.mean().item()) < 0.002
    assert abs(np.corrcoef(noise[0].flatten(), noise[1].flatten())[0, 1]) < 0.05


@pytest.mark.parametrize(
    ("slices", "terms"),
    [
        (5, [(i, j, k) for i in range(4) for j in range(4 - i) for k in range(4 - i - j)]),
        (1, [(0, j, k) for j in range(4) for k in range(j + 1)]),
    ],
)
def test_shading_is_the_exponential_of_smooth_polynomials(slices: int, terms: list[tuple[int, int, int]]) -> None:
    """A volume's as one, a picture's by itself; every term but the constant one as large as asked for at most."""
    shaded = AcquisitionShift(bias_field=0.1)(grey(slices, 2, 12, 10))
    assert shaded.mean().item() == pytest.approx(0.5, rel=1e-5)
    logarithm = shaded.log().numpy().astype(np.float64)
    np.testing.assert_allclose(logarithm[:, 0], logarithm[:, 1], atol=1e-6)  # the channels alike
    axes = [np.linspace(-1, 1, size) for size in (slices, 12, 10)]
    values = np.polynomial.legendre.legvander3d(*np.meshgrid(*axes, indexing="ij"), [3, 3, 3])
    columns = np.stack([values.reshape(-1, 4, 4, 4)[:, i, j, k] for i, j, k in terms], axis=1)
    found, *_ = np.linalg.lstsq(columns, logarithm[:, 0].reshape(-1), rcond=None)
    np.testing.assert_allclose(columns @ found, logarithm[:, 0].reshape(-1), atol=1e-5)
    assert 0.05 < np.abs(found[1:]).max() <= 0.1 + 1e-5 and (found[1:] < 0).any() and (found[1:] > 0).any()


def test_a_black_image_stays_black() -> None:
    assert not AcquisitionShift(contrast=2, bias_field=0.3, resolution=0.5)(torch.zeros(1, 1, 16, 16)).any()


def test_values_stay_between_zero_and_one_and_metadata_stay() -> None:
    image = MetaTensor(torch.rand(1, 1, 32, 32), meta={"filename_or_obj": "scan.dcm"})
    before = image.clone()
    shifted = AcquisitionShift(0.5, 0.3, 0.5, 0.5)(image)
    assert shifted.min() == 0 and shifted.max() == 1 and shifted.dtype == torch.float32
    assert isinstance(shifted, MetaTensor) and shifted.meta["filename_or_obj"] == "scan.dcm"
    assert torch.equal(image, before)


def test_an_image_is_shifted_by_its_values_and_the_seed_alone() -> None:
    """Not by the passes before, the other images, or the state of any generator."""
    one, other = torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16)
    shift = AcquisitionShift(bias_field=0.2, noise=0.1)
    first = shift(one)
    torch.rand(7), np.random.rand(7), shift(other)
    assert torch.equal(shift(one), first) and torch.equal(AcquisitionShift(bias_field=0.2, noise=0.1)(one), first)
    assert not torch.allclose(shift(other) - other, first - one, atol=0.05)
    assert not torch.allclose(AcquisitionShift(bias_field=0.2, noise=0.1, seed=1)(one), first, atol=0.05)


def test_nothing_asked_for_changes_nothing() -> None:
    image = torch.rand(2, 3, 8, 8)
    assert torch.equal(AcquisitionShift()(image), image)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("contrast", 0), ("contrast", -1), ("contrast", float("nan")), ("bias_field", -0.1), ("resolution", 0),
        ("resolution", 1.5), ("noise", -0.1), ("noise", float("inf")),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{setting}: found {value}, expected"):
        AcquisitionShift(**{setting: value})
