"""Rounding within a norm: the bound holds always, the bias is small, nothing is wasted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fedrec.errors import ConfigError
from fedrec.secure import FixedPoint, bounded
from fedrec.secure.bounded import length, room, round_vectors, shorten

COARSE = {"a": FixedPoint(6, 1.0), "b": FixedPoint(8, 1.0)}
SIZES = {"a": 40, "b": 15}


def vectors(seed: int, norm: float) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    real = {name: generator.normal(size=size) for name, size in SIZES.items()}
    shorten(real, norm)
    return real


def test_room_by_hand() -> None:
    """One step s = 2 / 255, 100 elements, c = 1: r^2 + s r + 25 s^2 + 5 s^2 = 1."""
    scheme, step = {"a": FixedPoint(8, 1.0)}, 2 / 255
    left = room(scheme, {"a": 100}, 1.0)
    assert left**2 + step * left + 25 * step**2 + 5 * step**2 == pytest.approx(1.0)


def test_shortening() -> None:
    real = {"a": np.array([3.0, 0.0]), "b": np.array([4.0])}
    shorten(real, 10.0)
    assert real["b"].tolist() == [4.0]
    shorten(real, 2.5)
    assert (real["a"].tolist(), real["b"].tolist()) == ([1.5, 0.0], [2.0])


def test_the_bound_holds_for_every_rounding() -> None:
    left, lengths, raw = room(COARSE, SIZES, 1.0), [], []
    for seed in range(300):
        real = vectors(seed, left)
        lengths.append(length(round_vectors(real, 1, COARSE, 1.0), COARSE))
        raw.append(length(round_vectors(real, 1, COARSE), COARSE))
    assert max(lengths) <= 1.0
    assert max(raw) > 1.0  # without the condition some would have been longer
    assert np.mean(np.array(raw) <= 1.0) > 0.39  # few need more than two or three roundings


def test_less_is_lost_than_to_the_worst_case() -> None:
    """Every element off by a whole step would leave hardly half of the norm."""
    steps = math.sqrt(sum(COARSE[n].step ** 2 * size for n, size in SIZES.items()))
    assert room(COARSE, SIZES, 1.0) > 0.95 > 0.85 > 1.0 - steps


def test_on_average_the_vector_itself_comes_back() -> None:
    left = room(COARSE, SIZES, 1.0)
    real = vectors(1, left)
    draws = [round_vectors(real, 1, COARSE, 1.0)["a"].astype(float) - 2**5 for _ in range(3000)]
    error = np.mean(draws, 0) * COARSE["a"].step - real["a"]
    assert np.abs(error).max() < 0.1 * COARSE["a"].step  # a small bias is the price of the bound


def test_what_no_rounding_can_fit_is_cut_towards_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: steps of 2 / 63; 0.9 is 28.35 steps, -0.05 is -1.575."""
    monkeypatch.setattr(bounded, "TRIES", 0)
    out = round_vectors({"a": np.array([0.9, -0.05, 0.0])}, 1, COARSE, 0.91)
    assert (out["a"].astype(int) - 2**5).tolist() == [28, -1, 0]
    assert length(out, COARSE) <= math.hypot(0.9, 0.05)


def test_a_grid_coarser_than_the_norm_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"secure\.bits = 6 changes an update by about"):
        room(COARSE, SIZES, 0.05)
