"""The keyed generator: known streams, the right distribution, no two draws alike."""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scipy.stats import kstest, norm

from fedrec.privacy.noise import derive, digest, fresh_key, gaussian, seeded_key, uniform, words

KEY = bytes(range(32))


def test_words_are_the_keystream_of_aes_in_counter_mode() -> None:
    """NIST SP 800-38A, F.5.5, encrypts counter blocks; here the counter starts at zero."""
    encrypt = Cipher(algorithms.AES(KEY), modes.ECB()).encryptor()
    blocks = b"".join(encrypt.update(n.to_bytes(16, "big")) for n in range(3))
    assert words(KEY, 5).tobytes() == blocks[:40]


def test_a_long_stream_is_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = words(KEY, 1000)
    monkeypatch.setattr("fedrec.privacy.noise._CHUNK", 64)
    assert (words(KEY, 1000) == whole).all()


def test_addresses_are_told_apart() -> None:
    addresses = [("a", 1), ("a", 2), ("a1",), ("a", "1", ""), ("a", b"1", b"", ""), (), ("",)]
    keys = {derive(KEY, *address) for address in addresses}
    assert len(keys) == len(addresses)
    assert derive(KEY, "a", 1) == derive(KEY, "a", "1")
    assert derive(bytes(32), "a", 1) != derive(KEY, "a", 1)


def test_secrets() -> None:
    assert len(fresh_key()) == 32
    assert fresh_key() != fresh_key()
    assert seeded_key(1) == seeded_key(1) != seeded_key(2)


def test_the_distribution_is_normal() -> None:
    draws = gaussian(KEY, (200_000,))
    assert kstest(draws, norm.cdf).pvalue > 1e-3
    assert draws.var() == pytest.approx(1.0, abs=5 * np.sqrt(2 / len(draws)))
    assert abs(draws.mean()) < 5 / np.sqrt(len(draws))
    half = len(draws) // 2
    assert abs(np.corrcoef(draws[:half], draws[half:])[0, 1]) < 5 / np.sqrt(half)
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 5 / np.sqrt(len(draws))


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 5), (2, 0)])
def test_shapes(shape: tuple[int, ...]) -> None:
    assert gaussian(KEY, shape).shape == shape
    assert np.isfinite(gaussian(KEY, shape)).all()


def test_uniform_numbers_fill_the_unit_interval() -> None:
    draws = uniform(KEY, 100_000)
    assert draws.min() >= 0
    assert draws.max() < 1
    assert kstest(draws, "uniform").pvalue > 1e-3


def test_digests_depend_on_shape_and_values() -> None:
    values = np.arange(6.0)
    made = [[values], [values.reshape(2, 3)], [values[:3], values[3:]], [values.astype("f4")]]
    assert len({digest(arrays) for arrays in made}) == len(made)
