"""A site's secret and its noise: who may read it, what is drawn from it, and what is refused."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import kstest

from fedmed_workflows.exchange.privacy.noise_secret import NoiseSecret


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "site" / "noise.secret"


def with_secret(file: Path, content: bytes) -> NoiseSecret:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    file.chmod(0o600)
    return NoiseSecret(file, begun=True)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_the_file_is_its_owner_s_alone_and_made_once(file: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        first = NoiseSecret(file, begun=False)
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o600
    content = file.read_bytes()
    assert len(content) == 32 and len(set(content)) > 8
    again = NoiseSecret(file, begun=True)
    assert file.read_bytes() == content
    assert np.array_equal(first.normal("x", 9), again.normal("x", 9))
    assert [path.name for path in file.parent.iterdir()] == ["noise.secret"]


def test_sites_have_different_secrets(tmp_path: Path) -> None:
    one, other = (NoiseSecret(tmp_path / name / "noise.secret", begun=False) for name in ("a", "b"))
    assert not np.isclose(one.normal("x", 100), other.normal("x", 100)).any()


def test_purposes_have_different_noise(file: Path) -> None:
    secret = NoiseSecret(file, begun=False)
    values = np.stack([secret.normal(purpose, 10_000) for purpose in ("1 weight", "2 weight", "1 bias")])
    assert np.abs(np.corrcoef(values) - np.eye(3)).max() < 0.05  # five standard deviations


def test_values_are_those_of_the_stream_and_the_inverse_normal_distribution(file: Path) -> None:
    content = bytes(range(32))
    found = with_secret(file, content).normal("round 1 weight", 50)
    stream = hashlib.shake_256(content + b"round 1 weight").digest(400)
    numbers = [int.from_bytes(stream[start : start + 8], "little") // 2**12 for start in range(0, 400, 8)]
    expected = [NormalDist().inv_cdf((number + 0.5) / 2**52) for number in numbers]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_noise_is_standard_normal(file: Path) -> None:
    values = with_secret(file, b"a secret of exactly 32 bytes ...").normal("weight", 200_000)
    assert kstest(values, "norm").pvalue > 0.001
    assert values.mean() == pytest.approx(0, abs=0.01) and values.std() == pytest.approx(1, abs=0.01)


def missing(file: Path) -> str:
    file.unlink()
    return "no such file, expected the secret of the site's earlier rounds"


def shortened(file: Path) -> str:
    file.write_bytes(file.read_bytes()[:31])
    return "found 31 bytes, expected a secret of 32"


def opened(file: Path) -> str:
    file.chmod(0o640)
    return "found mode 0640, expected 0600"


@pytest.mark.parametrize("spoil", [missing, shortened, opened])
def test_a_secret_that_is_none_any_more_is_refused(file: Path, spoil: Callable[[Path], str]) -> None:
    NoiseSecret(file, begun=False)
    said = spoil(file)
    with pytest.raises(ValueError) as refused:  # noqa: PT011, the message is compared below
        NoiseSecret(file, begun=True)
    assert said in str(refused.value) and str(file) in str(refused.value)
